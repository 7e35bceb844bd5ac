"""Manifests that can never work are refused with words that say what to write; what v0.4 or we take is taken.

The table runs on both API servers: the in-process one gives the same verdicts.
"""

from __future__ import annotations

from typing import Any

from git_events_runner.errors import ApiInvalid

from .conftest import World

INT32, INT64 = 2**31, 2**63
SHA1, SHA256 = "0123456789abcdefABCDEF0123456789abcdef01", "a" * 64


def schedule(value: dict[str, Any]) -> dict[str, Any]:
    """A trigger with that schedule."""
    spec = {"sources": {"names": ["app"]}, "action": {"kind": "Action", "name": "deploy"}, "schedule": value}
    return {"kind": "ScheduleTrigger", "spec": spec}


def watching(reference: dict[str, Any]) -> dict[str, Any]:
    """A trigger that watches that reference."""
    watch = {"onChangeOnly": True, "reference": reference}
    sources = {"names": ["app"], "watchOn": watch}
    action = {"kind": "Action", "name": "deploy"}
    return {"kind": "WebhookTrigger", "spec": {"sources": sources, "action": action, "webhook": {"multiSource": True}}}


def patterns(references: dict[str, Any] | None, **watch: Any) -> dict[str, Any]:
    """A trigger that watches references by patterns."""
    made = watching({})
    given = {"references": references} if references is not None else {}
    made["spec"]["sources"]["watchOn"] = {"onChangeOnly": True, **given, **watch}
    return made


def pulls(auth: str | None = "github", scheduled: str | None = None, **given: Any) -> dict[str, Any]:
    """A trigger that watches pull requests."""
    branches = given.pop("branches", None)
    made = patterns({"pullRequests": given} | ({"branches": branches} if branches is not None else {}))
    if auth is not None:
        made["spec"]["webhook"]["authConfig"] = {"type": auth, "secretRef": {"name": "x"}, "key": "k"}
    if scheduled is not None:
        made["spec"]["schedule"] = {"interval": scheduled}
    return made


def scheduled_pulls() -> dict[str, Any]:
    """A trigger without deliveries that watches pull requests."""
    made = schedule({"interval": "1m"})
    made["spec"]["sources"]["watchOn"] = {"onChangeOnly": True, "references": {"pullRequests": {}}}
    return made


def job(value: dict[str, Any], kind: str = "Action") -> dict[str, Any]:
    """An Action with that Job."""
    return {"kind": kind, "spec": {"actionJob": value}}


MINUTE, HOUR, DAY = "minute: 0 to 59", "hour: 0 to 23", "day of month: 1 to 31"
UNITS, SHAPE = "write numbers with units, as 30s", "write 5 fields"
REFUSED: list[tuple[dict[str, Any], str]] = [
    *((schedule({"interval": text}), UNITS) for text in ("5 parsecs", "10", "h", "1.h", "-1h", "1h,2m", "")),
    *((schedule({"cron": text}), SHAPE) for text in ("", "* *", "0 0 1 1 * ? 2026 7", "@reboot", "@every 5m")),
    *((schedule({"cron": text}), MINUTE) for text in ("99 * * * *", "x * * * *", "0 60 * * * *", "*/0 * * * *")),
    *((schedule({"cron": text}), HOUR) for text in ("0 24 * * *", "TZ=Europe/Kyiv 0 1-24 * * *", "0 R * * *")),
    *((schedule({"cron": text}), DAY) for text in ("0 0 0 * *", "0 0 32 * *", "0 0 LW * *", "0 0 1W-3 * *")),
    (schedule({"cron": "61 0 0 1 1 *"}), "second: 0 to 59"),
    (schedule({"cron": "0 0 1 13 *"}), "month: 1 to 12 or JAN to DEC"),
    *((schedule({"cron": text}), "day of week: 0 to 7") for text in ("0 0 * * 8", "0 0 * * L5", "0 0 * * fry")),
    (schedule({"cron": "0 0 0 1 1 ? 1960"}), "year: 1970 to 2099"),
    *((watching({"branch": name}), "patterns go into references") for name in ("release/*", "v?", "v[12]")),
    (watching({"tag": "v*"}), "patterns go into references.branches and references.tags"),
    (patterns({}), "at least one of branches, tags and pullRequests"),
    *((pulls(auth), "pullRequests needs a WebhookTrigger with authConfig.type") for auth in (None, "header", "hmac")),
    (scheduled_pulls(), "pullRequests needs a WebhookTrigger with authConfig.type"),
    *((pulls(auth, checkout="Merge"), "checkout: Merge needs") for auth in ("gitlab", "gitea", "bitbucket")),
    (pulls(scheduled="1m"), "pull requests are never polled"),
    (patterns({"branches": {}}, reference={"branch": "main"}), "exactly one of reference and references"),
    (patterns({"branches": {}}, onChangeOnly=False), "onChangeOnly: false needs a single reference"),
    (patterns(None, onDelete={"name": "x"}), "onDelete needs references"),
    *(
        (patterns({"branches": {"include": [text]}}), "with * and ? for characters")
        for text in ("", "refs/heads/x", "a b", "a**", "[ab]", "/x", "a//b")
    ),
    *((patterns({"tags": {"semver": text}}), "write comparators") for text in ("", "new", ">= 1", "1.2.3.4", "1,2")),
    *((patterns({"branches": {}, "limit": n}), "limit in body ") for n in (0, 1001)),
    *((watching({"tag": name}), "as git takes it") for name in ("", "a b", "a..b", "/a", "a/", "a:b", "x.lock", "a\n")),
    *(
        (watching({"commit": text}), "full commit id")
        for text in ("0123abc", "main", SHA1[1:], SHA1 + "0", SHA1 + "\n")
    ),
    *((job({"ttlSecondsAfterFinished": n}), "ttlSecondsAfterFinished in body ") for n in (-1, INT32, INT64 - 1)),
    *((job({"activeDeadlineSeconds": n}), "activeDeadlineSeconds in body ") for n in (-1, 10**10)),
    *((job({"jobWaitingTimeoutSeconds": n}), "jobWaitingTimeoutSeconds in body ") for n in (-1, 2**53)),
    *((job({"backoffLimit": n}, "ClusterAction"), "backoffLimit in body ") for n in (-1, INT32)),
    *((job({"backoffLimit": n}), "backoffLimit in body ") for n in ("2", 1.5, True)),
]
TAKEN: list[dict[str, Any]] = [
    *(
        schedule({"interval": text})
        for text in ("30s", "1h 15m", " 1h15m ", "1.5h", "1 5m", "2days\u00a03 hours", "5µs")
    ),
    *(schedule({"cron": text}) for text in ("*/5 * * * *", "0 0 * * 5L", "0 0 0 ? * FRIL", "0 0 1,15W * *")),
    *(schedule({"cron": text}) for text in ("0 0 L,10W * ?", "0 0 ? * MON#1,5L", "0 0 * * 1#2#3", "00 +5 * * SUN")),
    *(schedule({"cron": text}) for text in ("59 59 23 31 12 ? 2099", "0 0 9 1 jan-Mar ? 2026/2", "10-50/+5 * * * *")),
    *(schedule({"cron": text}) for text in ("@daily", "@HOURLY", "tz=Europe/Kyiv @weekly", "CRON_TZ=UTC 0 0 * * *")),
    *(schedule({"cron": text}) for text in ("  0  0 * * 7 ", "0 0 30 2 *", "TZ=No/Where 0 0 * * *", "0 0 1 1 1")),
    *(watching({"branch": name}) for name in ("main", "feature/a-b", "a.b", "ünïcode", "HEAD")),
    *(watching({"tag": name}) for name in ("v1.2.3", "a@b", "x.lockx", "a+b", "refs/tags/v1", "a{b}", "-x")),
    *(watching({"commit": text}) for text in (SHA1, SHA256)),
    patterns({"branches": {"include": ["main", "release/*", "**/x", "a?/**"], "exclude": ["**/wip"]}, "limit": 1000}),
    patterns({"branches": {}, "tags": {}}, onDelete={"name": "x"}, files=["docs/"]),
    *(patterns({"tags": {"semver": text}}) for text in (">=1.2 <2", "^1 || ~2.1.3-rc.1", "1.x", "*")),
    patterns(None),
    *(pulls(auth) for auth in ("github", "gitlab", "gitea", "bitbucket", "azure")),
    *(pulls(auth, checkout="Merge", **{"from": "Any"}) for auth in ("github", "azure")),
    pulls(scheduled="1m", branches={}),
    *(job({"ttlSecondsAfterFinished": n}) for n in (0, INT32 - 1)),
    *(job({"activeDeadlineSeconds": n}, "ClusterAction") for n in (0, INT32, 9_223_372_036)),
    *(job({"jobWaitingTimeoutSeconds": n}) for n in (0, 10**12)),
    job({"backoffLimit": INT32 - 1}),
    job({"backoffLimit": None, "ttlSecondsAfterFinished": None}),
]


async def test_what_can_never_work_is_refused_with_words(world: World):
    """Each manifest of the table is 422, its message says what to write, and says it once."""
    wrong = []
    for number, (manifest, words) in enumerate(REFUSED):
        try:
            await world.create({**manifest, "metadata": {"name": f"{world.namespace}-r{number}"}})
        except ApiInvalid as refused:
            if str(refused).count(words) != 1 or refused.status != 422:
                wrong.append((manifest["spec"], str(refused)))
        else:
            wrong.append((manifest["spec"], "taken"))
    assert not wrong, "\n".join(map(str, wrong))


async def test_what_works_is_taken(world: World):
    """Each manifest of the table is stored with the spec that was given, defaults aside."""
    for number, manifest in enumerate(TAKEN):
        name = f"{world.namespace}-t{number}"
        made = await world.create({**manifest, "metadata": {"name": name}})
        assert made["spec"].get("schedule") == manifest["spec"].get("schedule")
        given = manifest["spec"].get("actionJob", {})
        assert {name: made["spec"]["actionJob"][name] for name in given} == given
        await world.client.delete(world.ref(manifest["kind"], name))
