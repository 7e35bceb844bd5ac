"""What to do about each reason of a condition, for a person who reads `explain`."""

from __future__ import annotations

from git_events_runner.resources.conditions import Reason

_CREDENTIAL = "put a valid credential with read access into the Secret that the source names"
_LATER = "the controller tries again with a growing back-off, and a delivery or `trigger` requests a check now"
_WAIT = "it starts then by itself; `trigger KIND/NAME --run` requests a run that does not wait"
REMEDIES: dict[str, str] = {
    Reason.OUTSIDE_WINDOWS: _WAIT,
    Reason.COOLDOWN: _WAIT,
    Reason.DEBOUNCE: _WAIT,
    Reason.INVALID_SPEC: "correct the field; `check FILE` shows the line in a manifest",
    Reason.INVALID_SCHEDULE: "correct spec.schedule; `next` shows the times of a schedule",
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
    Reason.UNREACHABLE: f"check name, network and firewall between the controller and the git server; {_LATER}",
    Reason.TIMEOUT: f"check the load of the git server; {_LATER}",
    Reason.TLS_FAILED: "add the CA of the git server to spec.tlsConfig.caCert of the source",
    Reason.AUTHENTICATION_FAILED: _CREDENTIAL,
    Reason.ACCESS_DENIED: "grant the credential read access to the repository",
    Reason.REPOSITORY_NOT_FOUND: "correct spec.repoUri of the source, or grant its credential access",
    Reason.REFERENCE_NOT_FOUND: "push the reference, or correct spec.sources.watchOn.reference",
    Reason.RATE_LIMITED: f"the git server throttles: check less often, or use a credential with more quota; {_LATER}",
    Reason.ADDRESS_REFUSED: "use another address, or allow its network in the runtime config",
    Reason.REDIRECT_REFUSED: "write the address to which the server redirects into spec.repoUri",
    Reason.GIT_ERROR: _LATER,
    Reason.QUOTA_EXCEEDED: "raise the namespace's ResourceQuota, or delete finished Jobs; the run is tried again",
    Reason.JOB_CREATE_FAILED: "correct what the API server refuses; the run is tried again",
    Reason.SERVICE_ACCOUNT_NOT_ALLOWED: "use an allowed service account",
    Reason.NAMESPACE_NOT_ALLOWED: "add the namespace to spec.allowedNamespaces of that object",
    Reason.INTERVAL_TOO_SHORT: "use a longer interval, or lower policy.minimumIntervalSeconds of the runtime config",
    Reason.NAMESPACE_LIMIT_REACHED: "wait for runs of the namespace to end, or raise policy.unfinishedRunsPerNamespace",
    Reason.NAMESPACE_REFUSED: "bind the controller's roles in the namespace",
    Reason.CLONE_CREDENTIAL_REFUSED: _CREDENTIAL,
    Reason.CLONE_NOT_FOUND: "correct spec.repoUri or the reference; a force-push may have removed the commit",
    Reason.CLONE_UNREACHABLE: "check the network between the Job's pods and the git server (NetworkPolicy)",
    Reason.CLONE_TOO_LARGE: "raise action.containers.cloner.maxBytes of the runtime config",
    Reason.CLONE_MISCONFIGURED: "see the log of the init container: `logs --cloner`",
    Reason.CLONE_FAILED: "see the log of the init container: `logs --cloner`",
    Reason.FILES_SELECT_NOTHING: "correct spec.sources.watchOn.files; `git-events-runner files` tests patterns",
    Reason.WEBHOOK_SECRET_SHORT: "use a secret of at least 16 random bytes",
    Reason.WAITING_FOR_SLOT: "raise action.maxRunningJobs of the runtime config, or stop Jobs that hold slots",
    Reason.JOB_NOT_STARTING: "see `kubectl describe job` and the Events of its pods: image, quota, node",
}


def remedy_of(reason: str) -> str:
    """What to do about a reason; empty where its message has all."""
    return REMEDIES.get(reason, "")
