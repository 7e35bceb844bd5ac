"""What to do about each reason of a condition, for a person who reads `explain`."""

from __future__ import annotations

from git_events_runner.resources.conditions import Reason

_CREDENTIAL = "put a valid credential with read access into the Secret that the source names"
_NAMED = "KIND/NAME"
_LATER = f"it is tried again with a growing back-off, or now: git-events-runner trigger {_NAMED}"
_WAIT = f"it starts then by itself; to run it now: git-events-runner trigger {_NAMED} --run"
_LOG = f"see the log of the init container: git-events-runner logs {_NAMED} --cloner"
REMEDIES: dict[str, str] = {
    Reason.OUTSIDE_WINDOWS: _WAIT,
    Reason.COOLDOWN: _WAIT,
    Reason.DEBOUNCE: _WAIT,
    Reason.INVALID_SPEC: "correct the field; git-events-runner check FILE shows the line in a manifest",
    Reason.INVALID_SCHEDULE: "correct spec.schedule; git-events-runner next SCHEDULE shows its times",
    Reason.SOURCE_NOT_FOUND: "create it in the trigger's namespace, or name another one in spec.sources",
    Reason.ACTION_NOT_FOUND: "create it in the trigger's namespace, or name another one in spec.action",
    Reason.SECRET_NOT_FOUND: "create the Secret",
    Reason.SECRET_KEY_MISSING: "add the key to the Secret, or name another key",
    Reason.SECRET_INVALID: "correct the value in the Secret",
    Reason.SECRET_FORBIDDEN: "bind the controller's role for Secrets in that namespace",
    Reason.HOST_KEY_UNKNOWN: "add the key to known_hosts in the Secret, or to git.knownHosts of the runtime config",
    Reason.HOST_KEY_CHANGED: (
        "compare the new key with the server's administrator, then remove the pinned one (docs/ssh.md)"
    ),
    Reason.UNREACHABLE: "check name, network and firewall between the controller and the git server",
    Reason.TIMEOUT: "check the load of the git server",
    Reason.TLS_FAILED: "add the CA of the git server to spec.tlsConfig.caCert of the source",
    Reason.AUTHENTICATION_FAILED: _CREDENTIAL,
    Reason.ACCESS_DENIED: "grant the credential read access to the repository",
    Reason.REPOSITORY_NOT_FOUND: "correct spec.repoUri of the source, or grant its credential access",
    Reason.REFERENCE_NOT_FOUND: "push the reference, or correct spec.sources.watchOn.reference",
    Reason.RATE_LIMITED: "it is tried again by itself; check less often, or use a credential with more quota",
    Reason.ADDRESS_REFUSED: "use another address, or allow its network in the runtime config",
    Reason.REDIRECT_REFUSED: "write the address to which the server redirects into spec.repoUri",
    Reason.QUOTA_EXCEEDED: "raise the namespace's ResourceQuota, or delete finished Jobs",
    Reason.JOB_CREATE_FAILED: "correct what the API server refuses",
    Reason.SERVICE_ACCOUNT_NOT_ALLOWED: "use an allowed service account",
    Reason.NAMESPACE_NOT_ALLOWED: "add the namespace to spec.allowedNamespaces of that object",
    Reason.INTERVAL_TOO_SHORT: "use a longer interval, or lower policy.minimumIntervalSeconds of the runtime config",
    Reason.NAMESPACE_LIMIT_REACHED: "wait for runs of the namespace to end, or raise policy.unfinishedRunsPerNamespace",
    Reason.NAMESPACE_REFUSED: "bind the controller's roles in the namespace",
    Reason.CLONE_CREDENTIAL_REFUSED: _CREDENTIAL,
    Reason.CLONE_NOT_FOUND: "correct spec.repoUri or the reference; a force-push may have removed the commit",
    Reason.CLONE_UNREACHABLE: "check the network between the Job's pods and the git server (NetworkPolicy)",
    Reason.CLONE_TOO_LARGE: "raise action.containers.cloner.maxBytes of the runtime config",
    Reason.CLONE_MISCONFIGURED: _LOG,
    Reason.CLONE_FAILED: _LOG,
    Reason.FILES_SELECT_NOTHING: "correct spec.sources.watchOn.files; `git-events-runner files` tests patterns",
    Reason.WEBHOOK_SECRET_SHORT: "use a secret of at least 16 random bytes",
    Reason.WAITING_FOR_SLOT: "raise action.maxRunningJobs of the runtime config, or stop Jobs that hold slots",
    Reason.JOB_NOT_STARTING: "see `kubectl describe job` and the Events of its pods: image, quota, node",
}


_TRIED_AGAIN = frozenset((Reason.UNREACHABLE, Reason.TIMEOUT, Reason.GIT_ERROR))
# Their messages may have a semicolon that no advice follows.
_ALWAYS = frozenset(
    (
        Reason.QUOTA_EXCEEDED,
        Reason.JOB_CREATE_FAILED,
        Reason.NAMESPACE_LIMIT_REACHED,
        Reason.SECRET_INVALID,
    )
)


def remedy_of(reason: str, message: str = "", *, trigger: str = _NAMED) -> str:
    """What to do about a reason; a message that has advice of its own, after a semicolon, gets no second one.

    `trigger` is its name as the command line takes it.

    >>> remedy_of("TlsFailed"), remedy_of("TlsFailed", "no TLS at this port; is it http://?")
    ('add the CA of the git server to spec.tlsConfig.caCert of the source', '')
    """
    said = "; " in message and reason not in _ALWAYS
    parts = ("" if said else REMEDIES.get(reason, ""), _LATER if reason in _TRIED_AGAIN else "")
    return "; ".join(part for part in parts if part).replace(_NAMED, trigger)
