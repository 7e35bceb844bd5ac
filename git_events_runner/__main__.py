"""The command line: `git-events-runner crds | config | run | next | files | probe | local`."""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence

from git_events_runner.errors import ConfigError, bug_report, single
from git_events_runner.stdout import discard, printed
from git_events_runner.usage import Parser

PROGRAM = "git-events-runner"
_FAILED = 1
_WRONG_USE = 2
_INTERRUPTED = 130
_TRACEBACK = "GIT_EVENTS_RUNNER_TRACEBACK"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit code: 0 done, 1 failed, 2 used or configured wrongly."""
    words = sys.argv[1:] if argv is None else argv
    parser = _parser(run_options="run" in words)
    if not words:
        parser.print_help(sys.stderr)
        return _WRONG_USE
    arguments = parser.read(words)
    try:
        return arguments.command(arguments)  # type: ignore[no-any-return]  # set_defaults below
    except ConfigError as error:
        for problem in error.problems:
            sys.stderr.write(f"{PROGRAM}: {problem}\n")
        return _WRONG_USE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # `git-events-runner probe … | true`
        discard()
        return 0
    except Exception as error:  # noqa: BLE001  the border of the program: a bug is one line, its traceback is there for who asks
        sys.stderr.write(f"{PROGRAM}: {bug_report(error)}\n")
        if os.environ.get(_TRACEBACK):
            traceback.print_exception(single(error))
        return _FAILED


class _Version(argparse.Action):
    """`-V`, without reading the installed version when nobody asks."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from git_events_runner.settings import VERSION

        parser.exit(printed(f"{PROGRAM} {VERSION}\n"))


def _parser(*, run_options: bool) -> Parser:
    parser = Parser(prog=PROGRAM, description="Runs Kubernetes Jobs when git repositories change.")
    parser.add_argument("-V", "--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(required=True, dest="verb", metavar="COMMAND", title="commands")
    parser.commands = commands

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        made.set_defaults(command=run)
        return made

    command("crds", _crds, "print the custom resource definitions as YAML")
    config = command("config", _config, "print the default runtime config as YAML")
    config.add_argument("-t", "--helm-template", action="store_true", help="as the values of the Helm chart have it")
    run = command("run", _run, "run the controller")
    if run_options:  # they are read from the settings, which nobody else needs
        _add_run(run)
    due = command("next", _next, "print the next scheduled times of a schedule, in RFC 3339, one per line")
    due.add_argument(
        "schedule",
        metavar="SCHEDULE",
        help="an interval (`1h 15m`) or a cron expression (`0 8 * * 1-5`, `TZ=Europe/Berlin` may come before); "
        "an interval counts from the first time on, in a cluster each repository has its own offset",
    )
    due.add_argument("--after", metavar="RFC3339", help="the time to start from; unset: now")
    due.add_argument("-n", dest="count", metavar="COUNT", type=_count, default=5, help="how many (default: 5)")
    files = command("files", _files, "read paths from stdin, one per line, and print those that file patterns select")
    files.add_argument("--pattern", metavar="P", action="append", required=True, help="a pattern; may be repeated")
    probe = command(
        "probe", _probe, "send requests to an HTTP server until it responds as expected; exit code 1 if it does not"
    )
    probe.add_argument("url", metavar="URL", type=_url, help="http or https")
    probe.add_argument("--method", metavar="METHOD", type=_method, default="GET", help="default: GET")
    probe.add_argument("--status", metavar="CODE", type=_status, default=200, help="expected; default: 200")
    probe.add_argument("--wait", metavar="SECONDS", type=_count, default=1, help="how long to try (default: 1)")
    probe.add_argument("--insecure", action="store_true", help="accept any certificate")
    local = command("local", _local, "run the controller without a cluster, on manifests")
    local.add_argument("paths", metavar="PATH", nargs="+", help="YAML or JSON file, folder, or - for standard input")
    local.add_argument(
        "--secret",
        metavar="NAME/KEY=VARIABLE",
        action="append",
        help="a Secret's key that is kept elsewhere: its value is in a variable of the environment, or in @FILE; "
        "a namespace may be put before the name; may be repeated",
    )
    local.add_argument(
        "--webhooks-port", metavar="PORT", type=_port, default=8080, help="default: 8080; 0: any free one"
    )
    local.add_argument(
        "--utility-port", metavar="PORT", type=_port, default=3000, help="default: 3000; 0: any free one"
    )
    local.add_argument(
        "--once",
        action="store_true",
        help="check every trigger with a schedule once, then end; 1 if a check or a run failed",
    )
    local.add_argument("--keep", action="store_true", help="keep the working directories")
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    from git_events_runner.settings.options import OPTIONS

    for option in OPTIONS:
        flags = [f"--{option.name}"] if option.short is None else [f"-{option.short}", f"--{option.name}"]
        default = f" (default: {option.default})" if option.default else ""
        parser.add_argument(*flags, dest=option.field, metavar=option.form, help=option.help + default)
    parser.add_argument("-j", "--json-logs", action="store_true", help="write logs as JSON")


def _number(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or not least <= int(text[:9]) <= most:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, found {text!r}")
    return int(text)


def _count(text: str) -> int:
    return _number(text, 1, 10_000)


def _port(text: str) -> int:
    return _number(text, 0, 65_535)


def _status(text: str) -> int:
    return _number(text, 100, 599)


def _url(text: str) -> str:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text) if re.fullmatch(r"https?://[^/?#\s@]+([/?#][!-~]*)?", text) else None
        known = parts is not None and bool(parts.hostname) and parts.port != 0  # the port of a URL is read here
    except ValueError:
        known = False
    if not known:
        raise argparse.ArgumentTypeError(f"must be an http or https URL, found {text!r}")
    return text


def _method(text: str) -> str:
    if not re.fullmatch(r"[!#-'*+.^-z|~0-9A-Z-]{1,32}", text):
        raise argparse.ArgumentTypeError(f"must be an HTTP method, as GET or POST, found {text!r}")
    return text


def _crds(_: argparse.Namespace) -> int:
    from git_events_runner.resources.crds import crds_yaml

    return printed(crds_yaml())


def _config(arguments: argparse.Namespace) -> int:
    from git_events_runner.settings import default_runtime_config_yaml

    return printed(default_runtime_config_yaml(helm_template=arguments.helm_template))


def _run(arguments: argparse.Namespace) -> int:
    from git_events_runner.settings import Settings

    settings = Settings.of(vars(arguments), os.environ, json_logs=arguments.json_logs)
    from git_events_runner import process

    return process.main(settings)


def _next(arguments: argparse.Namespace) -> int:
    from git_events_runner import commands

    return commands.next_times(arguments.schedule, arguments.after, arguments.count)


def _files(arguments: argparse.Namespace) -> int:
    from git_events_runner import commands

    return commands.files(arguments.pattern)


def _probe(arguments: argparse.Namespace) -> int:
    from git_events_runner.probe import probe

    return probe(
        arguments.url,
        method=arguments.method,
        status=arguments.status,
        wait_s=arguments.wait,
        insecure=arguments.insecure,
    )


def _local(arguments: argparse.Namespace) -> int:
    from git_events_runner.local import command

    return command.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
