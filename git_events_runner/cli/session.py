"""A verb's connection to the cluster, with the caller's kubeconfig and rights, and the errors that it may end with.

Exit code 3: the cluster is not reachable, lacks the custom resources, or does not allow it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from git_events_runner.edges.kube.client import Client
from git_events_runner.errors import (
    ApiError,
    ApiForbidden,
    ApiNotFound,
    ApiUnauthorized,
    ApiUnavailable,
    ConfigError,
    single,
)
from git_events_runner.resources.kinds import KINDS, OURS, Kind
from git_events_runner.resources.ref import Ref

from .names import kinds_and_name

WRONG_OBJECT, WRONG_USE, NOT_ALLOWED = 1, 2, 3
_DEFAULT_CONFIG = "~/.kube/config"
INSTALL = "git-events-runner crds | kubectl apply --server-side -f -"


class NoSuchTrigger(ConfigError):
    """No trigger has that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A connection, and the namespace that the caller means; None: all."""

    client: Client
    namespace: str | None

    @property
    def home(self) -> str:
        """The namespace of a single object."""
        return self.namespace or self.client.namespace or "default"

    def now(self) -> datetime:
        """The time, by the API server's clock where this machine's is wrong."""
        return self.client.clock.now()

    async def trigger(self, text: str) -> dict[str, Any]:
        """The trigger that the command line names.

        Raises:
            NoSuchTrigger: There is none; the message has those of the same name in other namespaces.
            ConfigError: The name cannot be read, or both kinds have it.
            ApiError: The cluster does not show it.
        """
        kinds, name = kinds_and_name(text)
        found = [obj for kind in kinds if (obj := await self.find(Ref(kind, self.home, name))) is not None]
        if len(found) > 1:
            names = " and ".join(f"{kind.lower()}/{name}" for kind in kinds)
            raise ConfigError(f"KIND/NAME: there are two triggers {name!r} in {self.home}; name one of {names}")
        if found:
            return found[0]
        elsewhere = await self._elsewhere(kinds, name)
        word = kinds[0] if len(kinds) == 1 else "trigger"
        hint = f"; there is one in {' and '.join(elsewhere)}: add -n {elsewhere[0]}" if elsewhere else ""
        raise NoSuchTrigger(f"there is no {word} {name!r} in the namespace {self.home}{hint or '; see status -A'}")

    async def find(self, ref: Ref) -> dict[str, Any] | None:
        """An object, or None where there is none."""
        try:
            found = await self.client.get(ref)
        except ApiNotFound:
            return None
        return {**found, "kind": ref.kind, "apiVersion": KINDS[ref.kind].api_version}

    async def all(self, kind: Kind, *, namespace: str | None = None, labels: str | None = None) -> list[dict[str, Any]]:
        """All objects of a kind, read in pages."""
        return [one async for one in self.client.list(kind, namespace=namespace, label_selector=labels)]

    async def selected(self, kind: Kind, fields: str, *, namespace: str | None = None) -> list[dict[str, Any]]:
        """The objects that fields select: the first five hundred."""
        return (await self.client.list_page(kind, namespace=namespace, field_selector=fields)).items

    async def _elsewhere(self, kinds: Sequence[str], name: str) -> list[str]:
        """Other namespaces that have a trigger of the name; none where the caller may not see them all."""
        try:
            found = [one for kind in kinds for one in await self.selected(KINDS[kind], f"metadata.name={name}")]
        except ApiForbidden:
            return []
        return sorted({one["metadata"]["namespace"] for one in found})


def run(arguments: argparse.Namespace, verb: Callable[[Session], Awaitable[int]]) -> int:
    """Run a verb with a connection; the exit code, with one line for each error."""
    try:
        return asyncio.run(_run(arguments, verb))
    except NoSuchTrigger as error:
        return _ended(WRONG_OBJECT, str(error))
    except (ApiError, _NoCluster) as error:
        return _ended(NOT_ALLOWED, _words(error))
    except BaseExceptionGroup as group:
        inner = single(group)
        if not isinstance(inner, ApiError):
            raise
        return _ended(NOT_ALLOWED, _words(inner))


class _NoCluster(Exception):
    """There is no cluster to connect to."""


async def _run(arguments: argparse.Namespace, verb: Callable[[Session], Awaitable[int]]) -> int:
    async with connected(arguments) as session:
        return await verb(session)


@asynccontextmanager
async def connected(arguments: argparse.Namespace) -> AsyncIterator[Session]:
    """A session for the options of `options.add_cluster`."""
    everywhere = getattr(arguments, "all_namespaces", False)
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(
                Client.connect(_kubeconfig(arguments.kubeconfig), context=arguments.context)
            )
        except ConfigError as error:
            raise _NoCluster(str(error)) from error
        namespace = None if everywhere else arguments.namespace or client.namespace or "default"
        yield Session(client=client, namespace=namespace)


def _kubeconfig(given: str | None) -> str | None:
    """The kubeconfig, as kubectl chooses it; None: the service account of the pod, if this is one."""
    if path := given or os.environ.get("KUBECONFIG"):
        return str(Path(path).expanduser()) if os.pathsep not in path else path
    default = Path(_DEFAULT_CONFIG).expanduser()
    return str(default) if default.exists() else None


def _ended(code: int, text: str) -> int:
    sys.stderr.write(f"git-events-runner: {' '.join(text.split())}\n")
    return code


def _words(error: Exception) -> str:
    """An error in words: what was being done, and what to do."""
    if isinstance(error, ApiForbidden):
        return f"not allowed: {error}; you need a role that allows it, see `git-events-runner doctor`"
    if isinstance(error, ApiUnauthorized):
        return f"the cluster does not accept your credential: {error}; log in again, or choose another --context"
    if isinstance(error, ApiNotFound) and any(f"listing {KINDS[kind].plural}" in str(error) for kind in OURS):
        return f"the cluster does not have the custom resources; install them with: {INSTALL}"
    if isinstance(error, ApiUnavailable):
        return f"the cluster cannot be reached: {error}; check --context and --kubeconfig"
    return str(error)
