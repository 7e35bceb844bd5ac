"""`doctor`: whether the installation is healthy, each finding with what to do."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable
from typing import Any, TypeVar

import aiohttp

from git_events_runner.errors import ApiError, ApiForbidden
from git_events_runner.resources.job import IDENTITY_LABEL
from git_events_runner.resources.kinds import GROUP, KINDS, NOTIFIERS, OURS, POD, SOURCES, TRIGGERS, Kind
from git_events_runner.resources.ref import Ref
from git_events_runner.telemetry.stdout import printed

from .diagnosis import OK, PROBLEM, UNKNOWN, WARNING, Finding, InstallationFacts, diagnose
from .installation import Installation, find_installation
from .models import FindingList, FindingOut, dumped
from .options import add_cluster, add_output
from .output import painted, plain, structured
from .session import NOT_ALLOWED, WRONG_OBJECT, Session
from .session import run as run_session

EXAMPLE = "git-events-runner doctor --webhook-url https://hooks.example.com"
_REVIEW = Kind(
    name="SelfSubjectAccessReview",
    plural="selfsubjectaccessreviews",
    group="authorization.k8s.io",
    version="v1",
    namespaced=False,
)
_RIGHTS = {
    "list triggers": {"group": GROUP, "resource": "scheduletriggers", "verb": "list"},
    "change triggers": {"group": GROUP, "resource": "scheduletriggers", "verb": "patch"},
    "list Jobs": {"group": "batch", "resource": "jobs", "verb": "list"},
    "read logs": {"group": "", "resource": "pods", "subresource": "log", "verb": "get"},
}
_WEBHOOK_S = 10
_COLORS = {OK: "good", WARNING: "warn", PROBLEM: "bad", UNKNOWN: "dim"}
_T = TypeVar("_T")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_cluster(parser)
    add_output(parser, "table", "json", "yaml")
    parser.add_argument(
        "--controller-namespace", metavar="NAMESPACE", help="where the controller runs; unset: it is searched for"
    )
    parser.add_argument(
        "--webhook-url", metavar="URL", help="send a GET request to the webhook port under this address"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; 1 if one is a problem, 3 if nothing could be read."""

    async def verb(session: Session) -> int:
        facts = await gather_installation(session, arguments.controller_namespace, arguments.webhook_url)
        return _show(diagnose(facts), arguments.output)

    return run_session(arguments, verb)


async def gather_installation(session: Session, namespace: str | None, url: str | None) -> InstallationFacts:
    """Read what `diagnose` needs: a fixed number of lists and objects."""
    unread: dict[str, str] = {}
    definitions = {kind: await _definition(session, kind, unread) for kind in OURS}
    found = await find_installation(session, namespace)
    triggers = [await _listed(session, KINDS[kind], None, None, unread) for kind in TRIGGERS]
    sources = [await _listed(session, KINDS[kind], None, None, unread) for kind in SOURCES]
    notifiers = {kind: await _listed(session, KINDS[kind], None, None, unread) for kind in NOTIFIERS}
    return InstallationFacts(
        definitions={kind: one for kind, one in definitions.items() if kind not in unread},
        rights=await _rights(session, unread),
        installation=found,
        pods=await _pods(session, found, unread),
        triggers=None if None in triggers else [one for some in triggers for one in some or ()],
        sources=[one for some in sources for one in some or ()],
        jobs=await _listed(session, KINDS["Job"], None, IDENTITY_LABEL, unread),
        notifiers=[{**one, "kind": kind} for kind, some in notifiers.items() for one in some or ()],
        webhook=await _webhook(url) if url else None,
        unread={**found.unread, **unread},
        now=session.now(),
        skew_s=session.client.clock.skew_s,
    )


async def _definition(session: Session, kind: str, unread: dict[str, str]) -> dict[str, Any] | None:
    try:
        return await session.find(Ref("CustomResourceDefinition", None, f"{KINDS[kind].plural}.{GROUP}"))
    except ApiForbidden as error:
        unread[kind] = str(error)
        return None


async def _listed(
    session: Session, kind: Kind, namespace: str | None, labels: str | None, unread: dict[str, str]
) -> list[dict[str, Any]] | None:
    return await _tried(session.all(kind, namespace=namespace, labels=labels), kind.plural, unread)


async def _tried(reading: Awaitable[_T], what: str, unread: dict[str, str]) -> _T | None:
    try:
        return await reading
    except ApiError as error:
        if not error.answered:
            raise
        unread[what] = str(error)
        return None


async def _rights(session: Session, unread: dict[str, str]) -> dict[str, bool]:
    """What the caller may do in all namespaces, as the API server reports it."""

    async def one(attributes: dict[str, str]) -> bool | None:
        body = {"apiVersion": _REVIEW.api_version, "kind": _REVIEW.name, "metadata": {}}
        review = {**body, "spec": {"resourceAttributes": attributes}}
        found = await _tried(session.client.create(_REVIEW, review), "your rights", unread)
        return None if found is None else bool((found.get("status") or {}).get("allowed"))

    allowed = await asyncio.gather(*map(one, _RIGHTS.values()))
    return {what: may for what, may in zip(_RIGHTS, allowed, strict=True) if may is not None}


async def _pods(session: Session, found: Installation, unread: dict[str, str]) -> list[dict[str, Any]] | None:
    if found.deployment is None:
        return None
    labels = (((found.deployment.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}).items()
    selector = ",".join(f"{name}={value}" for name, value in labels)
    return await _listed(session, POD, found.namespace, selector, unread)


async def _webhook(url: str) -> tuple[bool, str]:
    """Whether the controller's webhook port responds under an address: it refuses a GET request in its own words."""
    try:
        timeout = aiohttp.ClientTimeout(total=_WEBHOOK_S)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url, allow_redirects=False) as response:
            body = await response.content.read(4096)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return False, f"{url} does not respond: {error or type(error).__name__}"
    try:
        ours = json.loads(body).get("status") == "error"
    except (ValueError, AttributeError):
        ours = False
    text = f"{url} responds with {response.status}"
    return ours, text + ("" if ours else ", which is not the controller's response")


def _show(found: list[Finding], form: str) -> int:
    code = WRONG_OBJECT if any(one.level == PROBLEM for one in found) else 0
    if all(one.level == UNKNOWN or one.topic == "clock" for one in found):
        code = NOT_ALLOWED  # nothing could be read
    if form != "table":
        items = [FindingOut(level=one.level, topic=one.topic, text=one.text, remedy=one.remedy) for one in found]
        return structured(form, dumped(FindingList(items=items))) or code
    lines = []
    for one in found:
        remedy = f"; {one.remedy}" if one.remedy else ""
        lines.append(f"{painted(f'{one.level:<8}', _COLORS[one.level])}{plain(one.topic)}: {plain(one.text + remedy)}")
    return printed("\n".join(lines) + "\n") or code
