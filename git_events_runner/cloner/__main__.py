"""The program `gitrepo-cloner`: clones one commit into a folder, in the init container of a Job or by hand.

Exit codes: 0 cloned; 2 wrong arguments, configuration or destination; 3 the credential is missing or not accepted; 4
no such repository or reference; 5 network, time-out, TLS or SSH host key; 6 anything else (an unsafe path in the
commit, a full disk, no git server); 7 larger than the limits allow.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from git_events_runner.edges.git import http_remote, lfs_client, ssh_remote
from git_events_runner.edges.git.request import Reference, shown
from git_events_runner.errors import (
    ConfigError,
    GitAuthRequired,
    GitEventsRunnerError,
    GitForbidden,
    GitHostKeyRefused,
    GitNotFound,
    GitRateLimited,
    GitReferenceNotFound,
    GitTimeout,
    GitTlsError,
    GitUnreachable,
    GitUnsupported,
    InvalidObject,
    SecretUnusable,
)
from git_events_runner.resources.clone_options import OPTIONS_VARIABLE, CloneOptions
from git_events_runner.resources.description import (
    REFERENCE_VARIABLE,
    SOURCE_VARIABLE,
    WAIT_VARIABLE,
    SourceDescription,
)

from .budget import CloneLimits, CloneTooLarge, DiskFailed
from .changes import ChangesRequest
from .clone import Cloned, CloneRequest, clone, exchange_limits
from .source import described_repository, wait_for_files

OK, USAGE, CREDENTIALS, NOT_FOUND, NETWORK, OTHER, TOO_LARGE = 0, 2, 3, 4, 5, 6, 7
_CODES: tuple[tuple[tuple[type[GitEventsRunnerError], ...], int], ...] = (
    ((ConfigError, InvalidObject, GitUnsupported), USAGE),
    ((SecretUnusable, GitAuthRequired, GitForbidden), CREDENTIALS),
    ((GitNotFound, GitReferenceNotFound), NOT_FOUND),
    ((GitUnreachable, GitTimeout, GitTlsError, GitHostKeyRefused, GitRateLimited), NETWORK),
    ((CloneTooLarge,), TOO_LARGE),
)


def exit_code(error: GitEventsRunnerError) -> int:
    """The exit code that an error means."""
    return next((code for classes, code in _CODES if isinstance(error, classes)), OTHER)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="gitrepo-cloner", description="Clones one commit of a source into a folder.")
    parser.add_argument("--kind", "-k", required=True, choices=("GitRepo", "ClusterGitRepo"), help="kind of the source")
    parser.add_argument("--source", "-s", required=True, metavar="NAME", help="name of the source")
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--branch", "-b", metavar="REF")
    wanted.add_argument("--tag", "-t", metavar="REF")
    wanted.add_argument("--commit", "-c", metavar="REF", help="full commit id")
    parser.add_argument(
        "--destination", "-d", required=True, type=Path, metavar="DIR", help="empty folder to clone into"
    )
    parser.add_argument("--preserve-git-folder", "-p", action="store_true", help="keep .git, as a shallow repository")
    parser.add_argument("--debug", action="store_true", help="log each step to stderr")
    return parser.parse_args(arguments)


def _reference(options: argparse.Namespace) -> Reference:
    if options.branch is not None:
        return Reference("branch", options.branch)
    if options.tag is not None:
        return Reference("tag", options.tag)
    return Reference("commit", options.commit)


def _found_by(options: argparse.Namespace, environment: Mapping[str, str]) -> Reference | None:
    """The branch or tag that the controller found the commit by, as it renders it into Jobs."""
    kind, _, name = environment.get(REFERENCE_VARIABLE, "").partition(" ")
    if options.commit is None or not name or kind not in {"branch", "tag"}:
        return None
    return Reference("branch" if kind == "branch" else "tag", name)


def _print_line(text: str) -> None:
    sys.stderr.write(f"gitrepo-cloner: {text}\n")
    sys.stderr.flush()


async def _run(options: argparse.Namespace, environment: Mapping[str, str]) -> Cloned:
    described = environment.get(SOURCE_VARIABLE)
    limits = CloneLimits()
    if described:
        description = SourceDescription.parse(described)
        wait = environment.get(WAIT_VARIABLE, "")
        if wait.isdecimal():
            await wait_for_files(description, float(wait[:4]))
        repository, limits = described_repository(description), CloneLimits.of(description)
    else:
        from .lookup import in_cluster, looked_up_repository

        access = in_cluster(environment)
        repository = await asyncio.to_thread(looked_up_repository, access, options.kind, options.source)
    request = CloneRequest(
        repository=repository,
        reference=_reference(options),
        destination=options.destination,
        preserve_git_folder=options.preserve_git_folder,
        owned=bool(described),
        limits=limits,
        found_by=_found_by(options, environment),
        changes=ChangesRequest.of(environment) if described else None,
        options=CloneOptions.parse(environment.get(OPTIONS_VARIABLE, "")) if described else CloneOptions(),
    )
    only_ssh = repository.scheme == "ssh" and not request.options.submodules
    remote = (ssh_remote if only_ssh else http_remote)(exchange_limits(limits))
    lfs = lfs_client(exchange_limits(limits)) if request.options.lfs else None
    try:
        return await clone(
            remote, request, warn=_print_line, debug=_print_line if options.debug else lambda _: None, lfs=lfs
        )
    finally:
        await remote.close()
        if lfs is not None:
            await lfs.close()


def _disk_failed(error: OSError, destination: Path) -> int:
    """State what is wrong with the disk; "No space left" also means that there is no room for another file."""
    problem = error.strerror or type(error).__name__
    if error.errno == errno.ENOSPC:
        problem = "no space left on the volume, or no room for more files (inodes); give it a larger size"
    _print_line(f"cannot write to {destination}: {problem}")
    return OTHER


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Clone as described and return the exit code; prints one line on stdout, problems on stderr."""
    options = parse_arguments(arguments)
    started = time.monotonic()
    try:
        cloned = asyncio.run(_run(options, environment))
    except DiskFailed as failed:
        return _disk_failed(failed.error, options.destination)
    except GitEventsRunnerError as error:
        _print_line(str(error))
        return exit_code(error)
    except OSError as error:
        return _disk_failed(error, options.destination)
    except Exception as error:  # noqa: BLE001 - the border of the program: any error from a hostile pack
        if options.debug:
            import traceback

            traceback.print_exc()
        _print_line(f"unexpected {type(error).__name__}; --debug shows where")
        return OTHER
    files = "1 file" if cloned.files == 1 else f"{cloned.files} files"
    sys.stdout.write(
        f"cloned {options.kind} {shown(options.source)} at {cloned.commit[:12]}: {files}, {cloned.size_bytes} bytes, "
        f"{time.monotonic() - started:.2f} s\n"
    )
    return OK


def main() -> None:
    """Entry point of the installed command."""
    # The first process of a container has no default reaction to SIGTERM; a half checkout is cleaned at the next start.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    if SOURCE_VARIABLE in os.environ:  # in a Job, the worker is another user of the same group
        os.umask(0o002)
    sys.exit(run(sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
