"""Options that verbs share: which cluster and namespace (as kubectl has them), and the form of the output."""

from __future__ import annotations

import argparse

FORMS = ("table", "wide", "json", "yaml")
TEXT_FORMS = ("text", "json", "yaml")


def add_cluster(parser: argparse.ArgumentParser, *, everywhere: bool = False) -> None:
    """Add `-n`, `--context`, `--kubeconfig`, and with `everywhere` also `-A`."""
    parser.add_argument("-n", "--namespace", metavar="NAMESPACE", help="unset: that of the kubeconfig's context")
    if everywhere:
        parser.add_argument("-A", "--all-namespaces", action="store_true", help="all namespaces")
    parser.add_argument("--context", metavar="CONTEXT", help="context of the kubeconfig; unset: the current one")
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="unset: KUBECONFIG, else ~/.kube/config, else the pod's service account"
    )


def add_output(parser: argparse.ArgumentParser, *forms: str) -> None:
    """Add `-o`; the first form is the default."""
    chosen = forms or FORMS
    parser.add_argument(
        "-o",
        "--output",
        metavar="FORM",
        choices=chosen,
        default=chosen[0],
        help=f"{', '.join(chosen)}; default: {chosen[0]}",
    )


def add_trigger(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add the argument that names a trigger."""
    parser.add_argument(
        "name",
        metavar="KIND/NAME",
        nargs="?" if optional else None,
        help="a trigger, as scheduletrigger/nightly or wt/hook; a name alone is searched for in both kinds",
    )
