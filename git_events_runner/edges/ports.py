"""What other rooms need of the API server, each interface declared once; `edges/kube` has what fulfils them.

A consumer that needs less of one, or something of its own, declares that itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from git_events_runner.resources.kinds import Kind
from git_events_runner.resources.ref import Ref


class KubeReader(Protocol):
    """Reads objects live."""

    async def get(self, ref: Ref) -> dict[str, Any]:
        """The object as it is now.

        Raises:
            ApiNotFound: There is none.
            ApiError: Any other of its classes.
        """


class KubeWriter(Protocol):
    """Writes objects; an ApiUnavailable leaves the outcome unknown."""

    async def create(
        self, kind: Kind, obj: Mapping[str, Any], *, timeout_s: float | None = None, strict: bool = False
    ) -> dict[str, Any]:
        """Create an object."""

    async def patch(
        self,
        ref: Ref,
        body: list[dict[str, Any]] | dict[str, Any],
        *,
        subresource: str | None = None,
        strict: bool = False,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Apply a JSON Patch (a list) or a merge patch."""

    async def replace(
        self,
        kind: Kind,
        obj: Mapping[str, Any],
        *,
        subresource: str | None = None,
        strict: bool = False,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Put an object with its resource version."""

    async def delete(
        self,
        ref: Ref,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "Background",
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Delete an object, if the preconditions hold."""


class KubeClient(KubeReader, KubeWriter, Protocol):
    """Reads and writes objects."""


class EventRecorder(Protocol):
    """Publishes Events."""

    def publish(self, ref: Ref, uid: str, *, kind: str, reason: str, note: str) -> None:
        """Publish one in the background; `kind` is Normal or Warning."""


class ImmediateEventRecorder(EventRecorder, Protocol):
    """Publishes Events, also some that have to be there before the next step."""

    async def record(self, ref: Ref, uid: str, *, kind: str, reason: str, note: str) -> None:
        """Publish one now; return when the API server has it."""


class SecretReader(Protocol):
    """Reads values of Secrets, remembering them for a while."""

    async def get(self, namespace: str, name: str, *keys: str, live: bool = False) -> Mapping[str, bytes]:
        """Those of the keys that a Secret has; `live`: as it is now.

        Raises:
            SecretUnusable: It is missing, or cannot be read.
            ApiError: The API server does not answer.
        """

    def forget(self, namespace: str, name: str) -> None:
        """Read it again the next time."""
