"""`crds`: the custom resource definitions."""

from __future__ import annotations

import argparse

from git_events_runner.telemetry.stdout import printed

EXAMPLE = "git-events-runner crds | kubectl apply --server-side -f -"


def add(_: argparse.ArgumentParser) -> None:
    """There are no options."""


def run(_: argparse.Namespace) -> int:
    """Print the eight definitions as one YAML stream; the exit code."""
    from git_events_runner.resources.crds import crds_yaml

    return printed(crds_yaml())
