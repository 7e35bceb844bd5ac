"""Objects that use every option of every kind; `test_4_options.py` applies them to the running installation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.images import REGISTRY
from tests.forges import deliveries as d
from tests.forges.pulls import pull

TENANT, VAULT = "options", "vault"
LABELS = {"tier": "gold", "zone": "a"}
_PRINT = ["/bin/sh", "-c", "cat README; env | sort"]
# Keys of the Secrets `login` (of sources), `proxy` and `hooks`.
LOGIN = {"who": "user", "word": "pass", "value": "Bearer sesame"}
PROXY = {"username": "through", "password": "the-wall"}
HOOKS = {"secret": d.SECRET, "signing": d.SIGNING, "azure": "bob:pass word"}


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where repositories and proxies are; the repository that is `open` has these commits."""

    open: str = "http://forge/open.git"
    basic: str = "http://forge/basic.git"
    token: str = "http://forge/token.git"
    ssh: str = "ssh://forge/open.git"
    tls: str = "https://forge/open.git"
    moving: str = "http://forge/moving.git"
    called: str = "http://forge/called.git"
    http_proxy: str = "http://proxy:3128"
    socks_proxy: str = "socks5h://proxy:1080"
    dev: str = "d" * 40
    main: str = "a" * 40
    basic_main: str = "b" * 40
    token_main: str = "c" * 40
    called_main: str = "e" * 40


@dataclass(frozen=True, kw_only=True)
class Row:
    """A trigger with its source and action, and how it is called: path below the tenant, headers and body."""

    source: tuple[str, str]
    action: tuple[str, str]
    spec: dict[str, Any]
    watch: dict[str, Any] = field(default_factory=dict)
    call: Callable[[Places], tuple[dict[str, str], bytes]] = lambda _: ({}, b"")
    path: str = "/{name}"

    @property
    def kind(self):
        """The trigger's kind."""
        return "WebhookTrigger" if "webhook" in self.spec else "ScheduleTrigger"

    @property
    def trigger(self):
        """The trigger's spec."""
        sources = {"kind": self.source[0], "names": [self.source[1]]}
        if self.watch:
            sources["watchOn"] = {"onChangeOnly": True, **self.watch}
        return {"sources": sources, "action": {"kind": self.action[0], "name": self.action[1]}, **self.spec}


def sources(at):
    """(kind, name) → spec. The Secrets of a GitRepo are in its own namespace, whatever it says."""
    found = {}
    for kind in ("GitRepo", "ClusterGitRepo"):
        cluster = kind == "ClusterGitRepo"
        place = {"namespace": VAULT if cluster else "nowhere"}
        login, proxy = {"name": "login", **place}, {"name": "proxy", **place}
        keys = {"username": "who", "password": "word", "token": "value", "privateKey": "key"}
        auth = lambda name, login=login, keys=keys: {"type": name, "secretRef": login, "keys": keys}  # noqa: E731
        specs = {
            "open": {"repoUri": at.open, "tlsConfig": None, "authConfig": None, "proxy": None},
            "basic": {"repoUri": at.basic, "authConfig": auth("basic")},
            "token": {
                "repoUri": at.token,
                "authConfig": auth("token"),
                "proxy": {"url": at.socks_proxy if cluster else at.http_proxy, "secretRef": proxy},
            },
            "ssh": {"repoUri": at.ssh, "authConfig": auth("ssh")},
            "ca": {
                "repoUri": at.tls,
                "tlsConfig": {"noVerifySsl": False, "caCert": {"secretRef": login, "key": "bundle"}},
            },
            "lax": {"repoUri": at.tls, "tlsConfig": {"noVerifySsl": True}},
            "untrusted": {"repoUri": at.tls},
            "moving": {"repoUri": at.moving},
            "called": {"repoUri": at.called},
        }
        if cluster:
            expressions = [
                {"key": "zone", "operator": "In", "values": ["a", "b"]},
                {"key": "zone", "operator": "NotIn", "values": ["c"]},
                {"key": "tier", "operator": "Exists"},
                {"key": "closed", "operator": "DoesNotExist"},
            ]
            specs["basic"]["allowedNamespaces"] = {"names": [TENANT]}
            specs["token"]["allowedNamespaces"] = {"selector": {"matchLabels": {"tier": "gold"}}}
            specs["ssh"]["allowedNamespaces"] = {"selector": {"matchExpressions": expressions}}
            specs["closed"] = {"repoUri": at.open, "allowedNamespaces": {"names": ["somebody-else"]}}
        found |= {(kind, name): spec for name, spec in specs.items()}
    return found


SETTINGS = {
    "workdir": "/work",
    "clonerImage": f"{REGISTRY}/another-cloner:2",
    "actionImage": f"{REGISTRY}/another-worker:2",
    "command": ["/bin/sh", "-c"],
    "args": [
        """pwd; ls -d .git; cat /config/file; echo "$STAGE|$FROM_SECRET"; id -G
test -s /run/secrets/*/*/token && echo token; touch /x 2>/dev/null || echo read-only; env | sort"""
    ],
    "serviceAccount": "robot",
    "labels": {"team": "blue"},
    "annotations": {"example.com/note": "noted"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "example.com/none", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node1"]}]}
                ]
            }
        }
    },
    "env": [{"name": "STAGE", "value": "blue"}],
    "envFrom": [{"secretRef": {"name": "settings"}}],
    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "96Mi"}},
    "volumes": [{"name": "config", "configMap": {"name": "settings"}}],
    "volumeMounts": [{"name": "config", "mountPath": "/config"}],
    "imagePullSecrets": [{"name": "settings"}],
    "imagePullPolicy": "Never",
    "priorityClassName": "options",
    "runtimeClassName": "options",
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "podSecurityContext": {"fsGroup": 4321},
    "securityContext": {"readOnlyRootFilesystem": True},
    "ttlSecondsAfterFinished": 901,
    "activeDeadlineSeconds": 121,
    "jobWaitingTimeoutSeconds": 601,
    "startTimeoutSeconds": 602,
    "enableClonerDebug": True,
    "preserveGitFolder": True,
    "clone": {
        "depth": 0,
        "tags": True,
        "filter": "blob:none",
        "sparse": ["*"],
        "submodules": True,
        "submoduleHosts": ["elsewhere.example"],
        "lfs": True,
    },
}
_ON_42 = {"containerName": "action-worker", "operator": "In", "values": [42]}


def actions(at):
    """(kind, name) → spec."""
    found = {}
    for kind in ("Action", "ClusterAction"):
        plain = {"command": _PRINT, "imagePullPolicy": "IfNotPresent"}
        specs = {
            "nothing": {"actionJob": None},
            "print": {
                "actionJob": plain
                | {
                    "enableClonerDebug": False,
                    "preserveGitFolder": False,
                    "clone": {"tags": False, "submodules": False, "lfs": False, "filter": "none"},
                },
                "sourceOverride": None,
            },
            "settings": {"actionJob": SETTINGS},
            "late": {
                "actionJob": {"imagePullPolicy": "Always", "activeDeadlineSeconds": 15, "ttlSecondsAfterFinished": 1}
            },
            "again": {"actionJob": {"command": ["/bin/sh", "-c", "exit 1"], "backoffLimit": 1}},
            "hopeless": {
                "actionJob": {
                    "command": ["/bin/sh", "-c", "exit 42"],
                    "backoffLimit": 3,
                    "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": _ON_42}]},
                }
            },
        }
        named = "GitRepo" if kind == "Action" else "ClusterGitRepo"
        for name, source, reference in (
            ("branch", named, {"branch": "dev"}),
            ("tag", "ClusterGitRepo", {"tag": "v1"}),
            ("commit", named, {"commit": at.main}),
        ):
            override = {"kind": source, "name": "open", "reference": reference}
            specs[f"over-{name}"] = {"actionJob": plain, "sourceOverride": override}
        if kind == "ClusterAction":
            labels = {"tier": "gold"}
            expressions = [
                {"key": "zone", "operator": "In", "values": ["a"]},
                {"key": "zone", "operator": "NotIn", "values": ["b"]},
                {"key": "zone", "operator": "Exists"},
                {"key": "closed", "operator": "DoesNotExist"},
            ]
            selector = {"matchLabels": labels, "matchExpressions": expressions}
            specs["settings"]["allowedNamespaces"] = {"names": ["somebody-else"], "selector": selector}
            specs["closed"] = {"actionJob": plain, "allowedNamespaces": {"names": ["somebody-else"]}}
        found |= {(kind, name): spec for name, spec in specs.items()}
    return found


_RETRY = {"limit": 1, "backoff": "1m", "on": ["Failed", "CloneFailed"]}
_WITH_TRUE = {"limit": 1, "backoff": "1m", "true": ["Failed", "CloneFailed"]}
_TOP = ("schedule", "suspend", "firstCheck", "historyLimit", "concurrency", "retry")
_TOP += ("windows", "debounce", "cooldown", "ignore")
# Always open, but for a second in a leap year.
_OPEN = {"allow": "0 0 * * *", "duration": "25h", "timeZone": "Europe/Kyiv"}
_WAITS = {"windows": [_OPEN, {"deny": "0 0 29 2 *", "duration": "1s"}], "debounce": {"quiet": "1s", "max": "5s"}}
_WAITS |= {"cooldown": "1s", "ignore": {"authors": ["no?one*"], "messages": ["*[nothing]*"], "skipCi": True}}


def _hook(source, action, watch=None, **webhook):
    call, path = webhook.pop("call", lambda _: ({}, b"")), webhook.pop("path", "/{name}")
    top = {name: webhook.pop(name) for name in _TOP if name in webhook}
    return Row(
        source=source,
        action=action,
        watch=watch or {},
        spec={"webhook": {"multiSource": True, **webhook}, **top},
        call=call,
        path=path,
    )


def _auth(kind, key="secret", **more):
    return {"type": kind, "secretRef": {"name": "hooks"}, "key": key, **more}


_MAIN = "refs/heads/main"
_PRINTS = ("Action", "print")
_CLUSTER_PRINTS = ("ClusterAction", "print")
# Each of these has a Job that succeeds.
ROWS = {
    # sources, and how a webhook is proven
    "basic": _hook(
        ("GitRepo", "basic"),
        ("Action", "settings"),
        authConfig=_auth("header", header="x-own"),
        call=lambda _: d.plain(header="x-own"),
    ),
    "token": _hook(
        ("GitRepo", "token"),
        _PRINTS,
        authConfig=_auth("github"),
        matchRepository=True,
        call=lambda at: d.github(_MAIN, at.token_main, url=at.token),
        path="",
    ),
    "ssh": _hook(
        ("GitRepo", "ssh"), _PRINTS, authConfig=_auth("gitlab"), call=lambda at: d.gitlab(_MAIN, at.main, url=at.ssh)
    ),
    "ca": _hook(
        ("GitRepo", "ca"), _PRINTS, authConfig=_auth("gitea"), call=lambda at: d.gitea(_MAIN, at.main, url=at.tls)
    ),
    "lax": _hook(
        ("GitRepo", "lax"),
        _PRINTS,
        authConfig=_auth("bitbucket"),
        call=lambda at: d.bitbucket_server((_MAIN, at.main), url=at.tls),
    ),
    "cluster-basic": _hook(
        ("ClusterGitRepo", "basic"),
        ("ClusterAction", "settings"),
        authConfig=_auth("azure", "azure"),
        call=lambda at: d.azure((_MAIN, at.basic_main), url=at.basic),
    ),
    "cluster-token": _hook(
        ("ClusterGitRepo", "token"),
        _CLUSTER_PRINTS,
        authConfig=_auth("standard-webhooks", "signing"),
        call=lambda _: d.standard(),
    ),
    "cluster-ssh": _hook(
        ("ClusterGitRepo", "ssh"),
        _CLUSTER_PRINTS,
        authConfig=_auth("hmac", algorithm="sha256"),
        call=lambda _: d.plain_hmac(),
    ),
    "cluster-ca": _hook(
        ("ClusterGitRepo", "ca"),
        _CLUSTER_PRINTS,
        authConfig=_auth("hmac", algorithm="sha512", header="x-mac"),
        call=lambda _: d.plain_hmac(algorithm="sha512", header="x-mac"),
    ),
    "cluster-lax": _hook(
        ("ClusterGitRepo", "lax"), ("ClusterAction", "nothing"), authConfig=None, schedule={"interval": "1h"}
    ),
    # what is watched, and what is cloned
    "one-source": _hook(
        ("GitRepo", "open"),
        ("Action", "over-branch"),
        {"reference": {"tag": "v1"}},
        multiSource=False,
        matchRepository=False,
        path="/{name}/open",
    ),
    "cron-too": _hook(
        ("ClusterGitRepo", "open"),
        ("ClusterAction", "over-branch"),
        {"reference": {"branch": "dev"}},
        schedule={"cron": "0 0 1 1 *"},
    ),
    "cloned-tag": Row(
        source=("GitRepo", "open"),
        action=("Action", "over-tag"),
        watch={"reference": {"tag": "v1"}},
        spec={"schedule": {"interval": "1h 15m"}},
    ),
    "cluster-cloned-tag": Row(
        source=("ClusterGitRepo", "open"),
        action=("ClusterAction", "over-tag"),
        watch={"reference": {"branch": "dev"}, "files": None},
        spec={"schedule": {"cron": "TZ=Europe/Kyiv 0 30 4 ? JAN MON#1 2099"}},
    ),
    "nothing": Row(
        source=("GitRepo", "open"),
        action=("Action", "nothing"),
        spec={"schedule": {"interval": "1h"}, "suspend": False, "firstCheck": "Run", "historyLimit": 3}
        | {"retry": _WITH_TRUE, **_WAITS},
    ),
    "hook-run": _hook(
        ("GitRepo", "open"),
        ("Action", "nothing"),
        suspend=False,
        firstCheck="Run",
        historyLimit=3,
        retry=_WITH_TRUE,
        **_WAITS,
    ),
    **{
        f"{name}-{concurrency['policy'].lower()}": row
        for concurrency in (
            {"policy": "Allow", "limit": 3, "scope": "Source"},
            {"policy": "Queue", "scope": "Trigger"},
            {"policy": "QueueLatest", "group": "terraform", "limit": 2},
            {"policy": "Replace", "scope": "Source"},
        )
        for name, row in {
            "every": Row(
                source=("GitRepo", "open"),
                action=("Action", "nothing"),
                spec={"schedule": {"interval": "1h"}, "concurrency": concurrency},
            ),
            "hook": _hook(("GitRepo", "open"), ("Action", "nothing"), concurrency=concurrency),
        }.items()
    },
}
# These run nothing by themselves.
_BRANCHES = {
    "references": {"branches": {"include": ["release/*"], "exclude": ["**/wip"]}, "limit": 50},
    "onDelete": {"kind": "Action", "name": "print"},
}
_TAGS = {
    "references": {"tags": {"include": ["v*"], "exclude": ["v0*"], "semver": ">=1.2 <2"}},
    "onDelete": {"kind": "ClusterAction", "name": "print"},
}
SUSPENDED = {
    "suspended": Row(
        source=("GitRepo", "open"),
        action=_PRINTS,
        spec={"schedule": {"interval": "1s"}, "suspend": True, "retry": _RETRY},
    ),
    "hook-suspended": _hook(("GitRepo", "open"), _PRINTS, suspend=True, retry=_RETRY),
}
# These run when a reference that they select appears, and when it is deleted.
REFERENCES = {
    "branches": Row(
        source=("GitRepo", "moving"),
        action=_PRINTS,
        watch=_BRANCHES,
        spec={"schedule": {"interval": "1s"}, "retry": _RETRY, "ignore": {"skipCi": False}},
    ),
    "versions": Row(
        source=("GitRepo", "moving"),
        action=_PRINTS,
        watch=_TAGS,
        spec={"schedule": {"interval": "1s"}, "retry": _RETRY},
    ),
    "hook-branches": _hook(
        ("GitRepo", "called"), _PRINTS, _BRANCHES, schedule={"interval": "1s"}, ignore={"skipCi": False}
    ),
    "hook-versions": _hook(("GitRepo", "called"), _PRINTS, _TAGS, schedule={"interval": "1s"}),
}
# Each runs for an opened pull request, and once more when it is closed.
_CLOSES = {"onDelete": {"kind": "Action", "name": "print"}}
PULLS = {
    "hook-pulls": _hook(
        ("GitRepo", "called"),
        _PRINTS,
        {"references": {"pullRequests": {"from": "SameRepository", "checkout": "Head", "closeAfter": "30d"}}} | _CLOSES,
        authConfig=_auth("gitea"),
        call=lambda at: pull("gitea", "opened", url=at.called, commit=at.called_main, secret=HOOKS["secret"]),
    ),
    "hook-forks": _hook(
        ("GitRepo", "called"),
        _PRINTS,
        {"references": {"pullRequests": {"from": "Any", "checkout": "Merge"}}} | _CLOSES,
        authConfig=_auth("github"),
        call=lambda at: pull(
            "github", "opened", fork=True, url=at.called, commit=at.called_main, secret=HOOKS["secret"]
        ),
    ),
}
RECORDING = {
    "recording": Row(
        source=("GitRepo", "moving"),
        action=_PRINTS,
        spec={"schedule": {"interval": "1s"}, "firstCheck": "Record"},
    ),
    "hook-recording": _hook(("GitRepo", "called"), _PRINTS, schedule={"interval": "1s"}, firstCheck="Record"),
}
# These have more than one Job, or one only after a second look; each is told by a test of its own.
MOVING = {
    "files": Row(
        source=("GitRepo", "moving"),
        action=_PRINTS,
        watch={"files": ["src/", "!src/notes"]},
        spec={"schedule": {"interval": "1s"}},
    ),
    "moved-tag": Row(
        source=("ClusterGitRepo", "moving"),
        action=_CLUSTER_PRINTS,
        watch={"reference": {"tag": "v1"}},
        spec={"schedule": {"cron": "* * * * * *"}},
    ),
    "always": Row(
        source=("GitRepo", "open"),
        action=("ClusterAction", "over-commit"),
        watch={"onChangeOnly": False},
        spec={"schedule": {"interval": "4s"}},
    ),
    "hook-files": _hook(("GitRepo", "called"), _PRINTS, {"files": ["src/", "!src/notes"]}),
    "hook-always": _hook(("GitRepo", "open"), ("Action", "over-commit"), {"onChangeOnly": False, "files": None}),
}
# These watch a commit, which never changes.
FIXED = {
    "fixed": Row(source=("GitRepo", "open"), action=_PRINTS, spec={"schedule": {"interval": "1h"}}),
    "hook-fixed": _hook(("ClusterGitRepo", "open"), _CLUSTER_PRINTS),
}
# Jobs that fail, and why.
FAILING = {
    "again": (_hook(("GitRepo", "open"), ("Action", "again")), "BackoffLimitExceeded", 2),
    "cluster-again": (_hook(("GitRepo", "open"), ("ClusterAction", "again")), "BackoffLimitExceeded", 2),
    "hopeless": (_hook(("GitRepo", "open"), ("Action", "hopeless")), "PodFailurePolicy", 1),
    "cluster-hopeless": (_hook(("GitRepo", "open"), ("ClusterAction", "hopeless")), "PodFailurePolicy", 1),
}
LATE = {kind: _hook(("GitRepo", "open"), (kind, "late")) for kind in ("Action", "ClusterAction")}
# Triggers without a Job, and the reason in their condition.
REFUSED = {
    "untrusted": (_hook(("GitRepo", "untrusted"), _PRINTS), "TlsFailed"),
    "cluster-untrusted": (_hook(("ClusterGitRepo", "untrusted"), _PRINTS), "TlsFailed"),
    "closed-source": (_hook(("ClusterGitRepo", "closed"), _PRINTS), "NamespaceNotAllowed"),
    "closed-action": (_hook(("GitRepo", "open"), ("ClusterAction", "closed")), "NamespaceNotAllowed"),
}


def triggers(at):
    """Name → row, of all."""
    fixed = {
        name: Row(source=row.source, action=row.action, spec=row.spec, watch={"reference": {"commit": at.main}})
        for name, row in FIXED.items()
    }
    told = {name: row for name, (row, *_) in (FAILING | REFUSED).items()}
    return (
        ROWS
        | MOVING
        | SUSPENDED
        | REFERENCES
        | PULLS
        | RECORDING
        | fixed
        | told
        | {f"late-{kind.lower()}": row for kind, row in LATE.items()}
    )


def applied(at):
    """Every object: (kind, spec)."""
    yield from ((kind, spec) for (kind, _), spec in (sources(at) | actions(at)).items())
    yield from ((row.kind, row.trigger) for row in triggers(at).values())
