"""`run`: the controller."""

from __future__ import annotations

import argparse
import os

EXAMPLE = "git-events-runner run --json-logs --config-map-name git-events-runner-config"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options, which are read from the settings."""
    from git_events_runner.settings.options import OPTIONS

    for option in OPTIONS:
        flags = [f"--{option.name}"] if option.short is None else [f"-{option.short}", f"--{option.name}"]
        default = f" (default: {option.default})" if option.default else ""
        parser.add_argument(*flags, dest=option.field, metavar=option.form, help=option.help + default)
    parser.add_argument("-j", "--json-logs", action="store_true", help="write logs as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run until a signal; the exit code."""
    from git_events_runner.settings import Settings

    settings = Settings.of(vars(arguments), os.environ, json_logs=arguments.json_logs)
    from git_events_runner import process

    return process.main(settings)
