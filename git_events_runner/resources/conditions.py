"""Condition types, and the one list of reasons that conditions and Events have.

Types as kstatus reads them (https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class ConditionType(StrEnum):
    """Types of the conditions of our kinds."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """A string with its one-line meaning."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    READY = "Ready", "Always present. True: nothing prevents the next run; warnings are lines of its message."
    RECONCILING = "Reconciling", "Only while True: the controller tries again by itself."
    STALLED = "Stalled", "Only while True: something has to be changed first."
    WAITING = (
        "Waiting",
        "Only while True: a change waits for its run; the message has cause and time. It does not affect Ready.",
    )
    CLONE_FAILED = (
        "CloneFailed",
        "Only while True: a source's last Job failed because it could not clone; the reason has the cause.",
    )


class Reason(StrEnum):
    """The reason of a condition or of an Event."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """A string with its one-line meaning."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    OUTSIDE_WINDOWS = (
        "OutsideWindows",
        "A change, or a Job without a slot, waits until a window opens (`windows`).",
    )
    COOLDOWN = "Cooldown", "A change waits because the last run started less than `cooldown` ago."
    DEBOUNCE = "Debounce", "A change waits until the reference has not moved for `debounce.quiet`."
    SUCCEEDED = "Succeeded", "The last check of every source succeeded."
    FAILED = (
        "Failed",
        "Sources have problems, which the message lists; the reason of several is that of the last one reported.",
    )
    INVALID_SPEC = "InvalidSpec", "A field of the object, or of one that it names, is wrong; the message names it."
    INVALID_SCHEDULE = (
        "InvalidSchedule",
        "The interval or cron expression cannot be read, or has no future time.",
    )
    SOURCE_NOT_FOUND = "SourceNotFound", "A GitRepo or ClusterGitRepo that is named does not exist."
    ACTION_NOT_FOUND = "ActionNotFound", "The Action or ClusterAction that is named does not exist."
    SECRET_NOT_FOUND = "SecretNotFound", "A Secret that is named does not exist."
    SECRET_KEY_MISSING = "SecretKeyMissing", "A Secret that is named lacks a required key."
    SECRET_INVALID = "SecretInvalid", "A value in a Secret cannot be used for its purpose."
    SECRET_FORBIDDEN = (
        "SecretForbidden",
        "The controller may not read a Secret that is named; bind the controller's role there.",
    )
    HOST_KEY_PINNED = (
        "HostKeyPinned",
        "The host key of an SSH server was seen for the first time; no other is accepted.",
    )
    HOST_KEY_UNKNOWN = "HostKeyUnknown", "No host key is known for an SSH server, and an unknown one is not accepted."
    HOST_KEY_CHANGED = (
        "HostKeyChanged",
        (
            "An SSH server shows another host key than the known one; no request is sent to it until the new one is "
            "accepted."
        ),
    )
    HOST_KEY_NOT_CHECKED = "HostKeyNotChecked", "The runtime config accepts any host key."
    SECRET_NAMESPACE_IGNORED = (
        "SecretNamespaceIgnored",
        "A GitRepo names a namespace for a Secret; its own namespace is used.",
    )

    GIT_ERROR = "GitError", "The request to the git server failed, for a reason without a name of its own."
    UNREACHABLE = "Unreachable", "No connection to the git server, or its response was a server error."
    TIMEOUT = "Timeout", "The git server took longer than `git.deadlineSeconds`."
    TLS_FAILED = "TlsFailed", "The git server's certificate is not accepted, or the configured CA is not valid."
    AUTHENTICATION_FAILED = "AuthenticationFailed", "The git server does not accept the credential, or requires one."
    ACCESS_DENIED = "AccessDenied", "The credential is known to the git server and may not read the repository."
    REPOSITORY_NOT_FOUND = "RepositoryNotFound", "There is no such repository, or it is hidden from this credential."
    REFERENCE_NOT_FOUND = "ReferenceNotFound", "The repository has no such branch, tag or commit."
    TOO_MANY_REFERENCES = (
        "TooManyReferences",
        "`watchOn.references` selects more references than `limit`, or than are read; narrow its patterns.",
    )
    TOO_MANY_PULL_REQUESTS = (
        "TooManyPullRequests",
        "As many open pull requests have an entry as `watchOn.references.limit` allows; raise it, or set `closeAfter`.",
    )
    RATE_LIMITED = "RateLimited", "The git server throttles (429, `Retry-After`); the source is checked later."
    REPOSITORY_TOO_LARGE = "RepositoryTooLarge", "A response of the git server exceeded its limit."
    ADDRESS_REFUSED = (
        "AddressRefused",
        "The host is loopback, link-local, a metadata service, or in a network that is refused.",
    )
    REDIRECT_REFUSED = "RedirectRefused", "The git server redirects to another host or scheme."
    PROTOCOL_ERROR = "ProtocolError", "The response is not git's protocol: a login page, or a truncated stream."
    UNSUPPORTED = (
        "Unsupported",
        "That kind of address, proxy or repository cannot be used (transport or object format).",
    )

    API_UNAVAILABLE = "ApiUnavailable", "The Kubernetes API did not respond; the controller tries again."
    JOB_CREATED = "JobCreated", "The Job of a run was created."
    JOB_SUCCEEDED = (
        "JobSucceeded",
        "A run's Job is complete; the Event names source, commit and the command for its logs.",
    )
    JOB_FAILED = (
        "JobFailed",
        "A run's Job failed; the Event names source, commit, the cause and the command for its logs.",
    )
    JOB_RETRIED = "JobRetried", "A run's Job failed, and a new Job runs the same commit again (`spec.retry`)."
    JOB_CANCELLED = "JobCancelled", "A run's Job was deleted before it ended; it does not run again."
    JOB_SUSPENDED = "JobSuspended", "Another party suspended a run's Job; the controller does not resume it."
    JOB_RELABELLED = (
        "JobRelabelled",
        "Labels or annotations by which a run's Job is found had been removed or changed; they were put back.",
    )
    JOB_NAME_CONFLICT = "JobNameConflict", "Another object has the name of the run's Job."
    JOB_CREATE_FAILED = "JobCreateFailed", "The API server refused the Job; it is tried again."
    QUOTA_EXCEEDED = "QuotaExceeded", "A quota refuses the Job; it is tried again."
    SERVICE_ACCOUNT_NOT_ALLOWED = (
        "ServiceAccountNotAllowed",
        "An Action names a service account that the runtime config does not allow.",
    )
    NAMESPACE_NOT_ALLOWED = (
        "NamespaceNotAllowed",
        "A ClusterGitRepo or ClusterAction that is named does not allow the trigger's namespace.",
    )
    LABEL_NOT_ALLOWED = "LabelNotAllowed", "An Action has a label that the runtime config forbids."
    ANNOTATION_NOT_ALLOWED = "AnnotationNotAllowed", "An Action has an annotation that the runtime config forbids."
    CLONER_IMAGE_NOT_ALLOWED = (
        "ClonerImageNotAllowed",
        "An Action replaces the cloner's image where the runtime config forbids it.",
    )
    POD_SETTING_NOT_ALLOWED = (
        "PodSettingNotAllowed",
        "An Action requests a pod setting (a node's folder, privileges) that the runtime config forbids.",
    )
    INTERVAL_TOO_SHORT = "IntervalTooShort", "A schedule's times are closer together than the runtime config allows."
    NAMESPACE_LIMIT_REACHED = (
        "NamespaceLimitReached",
        "The namespace has as many unfinished runs as the runtime config allows; the run is tried again.",
    )
    CLONE_MISCONFIGURED = (
        "CloneMisconfigured",
        "The cloner cannot use its arguments, its configuration or the working directory (exit code 2).",
    )
    CLONE_CREDENTIAL_REFUSED = (
        "CloneCredentialRefused",
        "The cloner's credential is missing, unreadable or not accepted (exit code 3).",
    )
    CLONE_NOT_FOUND = "CloneNotFound", "The cloner found no such repository, reference or commit (exit code 4)."
    CLONE_UNREACHABLE = (
        "CloneUnreachable",
        "The cloner did not reach the git server: network, time-out or TLS (exit code 5).",
    )
    CLONE_FAILED = (
        "CloneFailed",
        "The cloner failed otherwise: an unsafe path in the commit, a full disk (exit code 6).",
    )
    CLONE_TOO_LARGE = (
        "CloneTooLarge",
        "The repository is larger than the runtime config lets a Job clone (exit code 7).",
    )
    EXPIRED = (
        "Expired",
        "A Job waited in the queue longer than its limit, and was deleted; never the newest run of a source.",
    )
    WAITING_FOR_SLOT = (
        "WaitingForSlot",
        "The newest run of a source has waited longer than `jobWaitingTimeoutSeconds`; it stays queued. A warning.",
    )
    JOB_NOT_STARTING = (
        "JobNotStarting",
        "A Job has had no ready pod for `startTimeoutSeconds`; its slot is free, and it is tried again. A warning.",
    )
    SUPERSEDED = (
        "Superseded",
        "A newer run of the source superseded a waiting Job, which was deleted before it started (`concurrency`).",
    )
    REPLACED = "Replaced", "A newer run of the source stopped a Job (`concurrency.policy: Replace`)."
    FORKS_NOT_ALLOWED = (
        "ForksNotAllowed",
        "Pull requests of forks may not run: the Action gives their code more than `policy.forkPullRequests` allows.",
    )
    CONCURRENCY_NOT_ALLOWED = (
        "ConcurrencyNotAllowed",
        "A trigger has `concurrency.policy: Replace` where the runtime config forbids it.",
    )
    TRIGGER_DELETED = "TriggerDeleted", "A waiting Job is deleted because its trigger was deleted; an Event on the Job."
    WEBHOOK_OPEN = (
        "WebhookOpen",
        "A webhook without `authConfig`: everyone who can connect to the port may call it. A warning.",
    )
    WEBHOOK_SECRET_SHORT = (
        "WebhookSecretShort",
        "A webhook's secret has fewer than 16 bytes and can be guessed; use a longer one. A warning.",
    )
    WEBHOOK_MISSED = (
        "WebhookMissed",
        "The schedule found a commit that no delivery announced; check the forge's list of deliveries. A warning.",
    )
    FILES_SELECT_NOTHING = (
        "FilesSelectNothing",
        "The patterns in `files` select no file of a source, so that no new commit counts as a change. A warning.",
    )
    CERTIFICATE_REJECTED = (
        "CertificateRejected",
        "A new certificate of the webhook port cannot be used; the previous one is still served.",
    )
    STATUS_REPAIRED = (
        "StatusRepaired",
        "The status had values that cannot be right (edited by hand, or a wrong clock); they were replaced. A warning.",
    )
    NAMESPACE_REFUSED = (
        "NamespaceRefused",
        "The API server refuses to show the namespace; bind the controller's roles in it. Nothing is checked there.",
    )
    NAMESPACE_NOT_SERVED = (
        "NamespaceNotServed",
        "A namespace that is to be served does not exist or cannot be read; it joins when it can be listed.",
    )
    NAMESPACE_LEFT = (
        "NamespaceLeft",
        "A namespace that was served is not any more; what is left there has to be deleted.",
    )
    REQUEST_INVALID = (
        "RequestInvalid",
        "An annotation that requests a check or a run is wrong; the Event names what to correct.",
    )
    CLOCK_SKEWED = (
        "ClockSkewed",
        "A replica's clock is off by more than 10 s; the API server's time is used. Check the node's time service.",
    )
    CLUSTER_RESTORED = (
        "ClusterRestored",
        "The API server's data was set back to an older state; the replica ended and starts from what is there.",
    )
    DELIVERED = "Delivered", "The receiver of a Notifier accepted the last message."
    DELIVERY_REFUSED = (
        "DeliveryRefused",
        "The receiver of a Notifier refused a message permanently (401, 404, 422); change what the message names.",
    )
    DELIVERY_FAILING = (
        "DeliveryFailing",
        "The receiver of a Notifier does not answer, throttles, or fails; messages wait and are sent again.",
    )
    TOO_MANY_NOTIFIERS = (
        "TooManyNotifiers",
        "A trigger is selected by more than 25 Notifiers; this one does not report it.",
    )
    RUNTIME_CONFIG_INVALID = (
        "RuntimeConfigInvalid",
        "The runtime config cannot be used; the Event has the config in use.",
    )
