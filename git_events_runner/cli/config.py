"""`config`: the default runtime config."""

from __future__ import annotations

import argparse

from git_events_runner.telemetry.stdout import printed

EXAMPLE = "git-events-runner config > runtime-config.yaml"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("-t", "--helm-template", action="store_true", help="as the values of the Helm chart have it")


def run(arguments: argparse.Namespace) -> int:
    """Print it as YAML; the exit code."""
    from git_events_runner.settings import default_runtime_config_yaml

    return printed(default_runtime_config_yaml(helm_template=arguments.helm_template))
