"""What to do about each reason of a condition, for a person who reads `explain`."""

from __future__ import annotations

_CREDENTIAL = "put a valid credential with read access into the Secret that the source names"
_LATER = "the controller tries again with a growing back-off, and a delivery or `trigger` requests a check now"
REMEDIES: dict[str, str] = {
    "InvalidSpec": "correct the field; `check FILE` shows the line in a manifest",
    "InvalidSchedule": "correct spec.schedule; `next` shows the times of a schedule",
    "SourceNotFound": "create it in the trigger's namespace, or name another one in spec.sources",
    "ActionNotFound": "create it in the trigger's namespace, or name another one in spec.action",
    "SecretNotFound": "create the Secret",
    "SecretKeyMissing": "add the key to the Secret, or name another key",
    "SecretInvalid": "correct the value in the Secret",
    "SecretForbidden": "bind the controller's role for Secrets in that namespace",
    "HostKeyUnknown": "add the host key to known_hosts in the Secret, or to git.knownHosts of the runtime config",
    "HostKeyChanged": "compare the new key with the server's administrator, then remove the pinned one (docs/ssh.md)",
    "Unreachable": f"check name, network and firewall between the controller and the git server; {_LATER}",
    "Timeout": f"check the load of the git server; {_LATER}",
    "TlsFailed": "add the CA of the git server to spec.tlsConfig.caCert of the source",
    "AuthenticationFailed": _CREDENTIAL,
    "AccessDenied": "grant the credential read access to the repository",
    "RepositoryNotFound": "correct spec.repoUri of the source, or grant its credential access",
    "ReferenceNotFound": "push the reference, or correct spec.sources.watchOn.reference",
    "RateLimited": f"the git server throttles: check less often, or use a credential with a higher limit; {_LATER}",
    "AddressRefused": "use another address, or allow its network in the runtime config",
    "RedirectRefused": "write the address to which the server redirects into spec.repoUri",
    "GitError": _LATER,
    "QuotaExceeded": "raise the namespace's ResourceQuota, or delete finished Jobs; the run is tried again",
    "JobCreateFailed": "correct what the API server refuses; the run is tried again",
    "ServiceAccountNotAllowed": "use an allowed service account",
    "NamespaceNotAllowed": "add the namespace to spec.allowedNamespaces of that object",
    "IntervalTooShort": "use a longer interval, or lower policy.minimumIntervalSeconds of the runtime config",
    "NamespaceLimitReached": "wait for runs of the namespace to end, or raise policy.unfinishedRunsPerNamespace",
    "NamespaceRefused": "bind the controller's roles in the namespace",
    "CloneCredentialRefused": _CREDENTIAL,
    "CloneNotFound": "correct spec.repoUri or the reference; a force-push may have removed the commit",
    "CloneUnreachable": "check the network between the Job's pods and the git server (NetworkPolicy)",
    "CloneTooLarge": "raise action.containers.cloner.maxBytes of the runtime config",
    "CloneMisconfigured": "see the log of the init container: `logs --cloner`",
    "CloneFailed": "see the log of the init container: `logs --cloner`",
    "FilesSelectNothing": "correct spec.sources.watchOn.files; `git-events-runner files` tests patterns",
    "WebhookSecretShort": "use a secret of at least 16 random bytes",
    "WaitingForSlot": "raise action.maxRunningJobs of the runtime config, or stop Jobs that hold slots",
    "JobNotStarting": "see `kubectl describe job` and the Events of its pods: image, quota, node",
}


def remedy_of(reason: str) -> str:
    """What to do about a reason; empty where its message has all."""
    return REMEDIES.get(reason, "")
