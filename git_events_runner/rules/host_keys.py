"""What the status of a source reports about its host key: a pinned key, or why the server's is not accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from git_events_runner.resources.ref import Ref
from git_events_runner.resources.ssh import HostKeyPolicy, SshAddress, host_keys

from .derived_conditions import conditions_of

CHANGED, UNKNOWN, PINNED, NOT_CHECKED = "HostKeyChanged", "HostKeyUnknown", "HostKeyPinned", "HostKeyNotChecked"
_REFUSED = frozenset({CHANGED, UNKNOWN})
_SUCCEEDED = "Succeeded"
_MESSAGE_CHARS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKeyVerdict:
    """The result for a source's host key; `pin` are the lines to accept from now on, None does not change them."""

    reason: str
    message: str
    pin: tuple[str, ...] | None = None

    @property
    def refused(self) -> bool:
        """Whether a person has to act."""
        return self.reason in _REFUSED

    def applied(self, status: Mapping[str, Any], *, generation: int, now: str) -> dict[str, Any] | None:
        """The status that reports it; None if it does already."""
        before = conditions_of(status)
        message = self.message[:_MESSAGE_CHARS]
        ready = before.get("Ready") or {}
        same = ready.get("reason") == self.reason and ready.get("message") == message
        if same and (self.pin is None or tuple(status.get("hostKeys") or ()) == self.pin):
            return None
        after = {name: condition for name, condition in before.items() if name not in {"Ready", "Stalled"}}
        wanted = {"Ready": "False" if self.refused else "True"} | ({"Stalled": "True"} if self.refused else {})
        for name, value in wanted.items():
            old = before.get(name) or {}
            since = old.get("lastTransitionTime") if old.get("status") == value else None
            after[name] = {
                "type": name,
                "status": value,
                "reason": self.reason,
                "message": message,
                "observedGeneration": generation,
                "lastTransitionTime": since or now,
            }
        changed: dict[str, Any] = {"conditions": [after[name] for name in sorted(after)]}
        if self.pin is not None:
            changed["hostKeys"] = list(self.pin)
        return {**changed, "observedGeneration": generation}


def accepted(status: Mapping[str, Any], policy: HostKeyPolicy, *, own: bool) -> HostKeyVerdict | None:
    """After a response over SSH: what the status has to report now; None if it does not change.

    `own`: the source's Secret holds known hosts.
    """
    reason = (conditions_of(status).get("Ready") or {}).get("reason")
    if policy.insecure and not own:
        if reason == NOT_CHECKED:
            return None
        return HostKeyVerdict(
            reason=NOT_CHECKED, message="git.hostKeys is insecure: the SSH server's host key is not checked"
        )
    if reason in _REFUSED or reason == NOT_CHECKED:
        return HostKeyVerdict(reason=_SUCCEEDED, message="the SSH server's host key is accepted")
    return None


def advice(source: Ref, address: SshAddress, policy: HostKeyPolicy, *, own: bool, reason: str) -> str:
    """How a person who has verified the key accepts it."""
    if own:
        return "if it is the right one, put it under the key known_hosts of the source's Secret"
    if reason == UNKNOWN or host_keys(policy.known_hosts.splitlines(), address):
        place = "git.knownHosts of the runtime config, or under the key known_hosts of the source's Secret"
        return f"if it is the right one, put it into {place}"
    place = f"-n {source.namespace} " if source.namespace else ""
    return (
        f"if it is the right one, accept it: kubectl {place}patch {source.kind.lower()} {source.name} "
        """--subresource=status --type=merge -p '{"status":{"hostKeys":null}}'"""
    )
