"""Deliveries to triggers that watch references: which keys are counted, in one write each."""

import json

import pytest

from git_events_runner.rules.forges import IgnoredEvent, read, selected, watched
from tests.flow.hooks import served, trigger
from tests.forges import deliveries as d

ALL = {"references": {"branches": {"include": ["main", "feature/**"]}, "tags": {"include": ["v*"]}}}
VERSIONS = {"references": {"tags": {"semver": ">=1"}}}


def event(name, ref, kind, **more):
    """A `create` or `delete` as GitHub and Gitea send it."""
    headers, body = d.gitea(event=name)
    payload = {"ref": ref, "ref_type": kind, "sha": d.AFTER, "repository": json.loads(body)["repository"]} | more
    made = json.dumps(payload).encode()
    signed = {name: d.digest(d.SECRET, made) for name in headers if name.endswith("-Signature")}
    return headers | signed | {"X-Hub-Signature-256": f"sha256={d.digest(d.SECRET, made)}"}, made


def said(headers, body):
    """What a delivery of Gitea says."""
    return read("gitea", {name.lower(): [value.encode()] for name, value in headers.items()}, body)


async def counted(kind, delivery, **watch):
    """Status of the answer, and the keys that were counted with the commits announced for them."""
    async with served(objects=[trigger("refs", kind, secret="azure" if kind == "azure" else "plain", **watch)]) as port:
        status = await port.post("/ns/refs", delivery)
        return status, [one[1] for one in port.counter.counted]


@pytest.mark.parametrize("kind", ["github", "gitea", "gitlab"])
async def test_a_push_counts_its_reference_under_its_key(kind):
    """The key of the pushed branch alone is counted, with the commit that the payload announces."""
    status, found = await counted(kind, getattr(d, kind)("refs/heads/feature/x"), **ALL)
    assert (status, found) == (202, [{"app@heads/feature/x": d.AFTER}])


@pytest.mark.parametrize("kind", ["github", "gitlab"])
async def test_a_tag_is_counted_with_its_commit(kind):
    """Of an annotated tag the commit is announced, not the tag object."""
    status, found = await counted(kind, getattr(d, kind)("refs/tags/v1"), **ALL)
    assert (status, found) == (202, [{"app@tags/v1": d.AFTER}])


@pytest.mark.parametrize("kind", ["github", "gitea", "gitlab"])
async def test_a_deletion_is_a_hint_that_makes_a_check(kind):
    """The key is counted and no commit is announced: only git says that the branch is deleted."""
    status, found = await counted(kind, getattr(d, kind)("refs/heads/feature/x", d.ZERO), **ALL)
    assert (status, found) == (202, [{"app@heads/feature/x": None}])


async def test_what_no_pattern_selects_is_ignored_with_its_name():
    """A push of another branch is answered 200, and nothing is counted."""
    assert await counted("github", d.github("refs/heads/other"), **ALL) == (200, [])


async def test_tags_of_which_the_highest_runs_are_listed():
    """Which version is the highest is for git to say: the source is counted, and its tags are listed."""
    assert await counted("github", d.github("refs/tags/v1.2.3"), **VERSIONS) == (202, [{"app": None}])
    assert await counted("github", d.github("refs/tags/nightly"), **VERSIONS) == (200, [])


async def test_a_request_without_a_payload_lists_all_references():
    """A plain POST counts the sources themselves."""
    status, found = await counted(None, ({}, b""), **ALL)
    assert (status, found) == (202, [{"app": None, "other": None}])


@pytest.mark.parametrize("name", ["create", "delete"])
async def test_a_branch_that_is_created_or_deleted_without_a_push_is_counted(name):
    """Gitea sends no push for a branch that is deleted; its own event is a hint as good."""
    announced = d.AFTER if name == "create" else None
    status, found = await counted("gitea", event(name, "feature/x", "branch"), **ALL)
    assert (status, found) == (202, [{"app@heads/feature/x": announced}])
    assert await counted("gitea", event(name, "feature/x", "branch")) == (200, [])


def test_such_an_event_says_nothing_new_of_a_single_reference():
    """It comes next to a push, which counts; what is neither branch nor tag is ignored."""
    push = said(*event("create", "main", "branch"))
    assert watched(push, "branch", "main") == IgnoredEvent(reason="event create moves no reference")
    assert isinstance(said(*event("create", "app", "repository")), IgnoredEvent)
    [tag] = selected(said(*event("delete", "v1", "tag")), lambda name: name == "refs/tags/v1")
    assert tag.deleted


def test_of_a_reference_that_moved_twice_the_last_change_counts():
    """One delivery of several references counts each once; an incomplete one is listed."""
    headers, body = d.azure()
    payload = json.loads(body)
    updates = [("refs/heads/x", "1" * 40), ("refs/heads/y", "2" * 40), ("refs/heads/x", "3" * 40)]
    payload["resource"]["refUpdates"] = [{"name": name, "newObjectId": commit} for name, commit in updates]
    lowered = {name.lower(): [value.encode()] for name, value in headers.items()}
    push = read("azure", lowered, json.dumps(payload).encode())
    found = selected(push, lambda name: name.startswith("refs/heads/"))
    assert [(one.reference[-1], one.commit[0]) for one in found] == [("x", "3"), ("y", "2")]


async def test_a_delivery_of_many_references_is_listed():
    """More than 64 references of one delivery are one request to list them all."""
    headers, body = d.azure()
    payload = json.loads(body)
    payload["resource"]["refUpdates"] = [
        {"name": f"refs/heads/feature/{number}", "newObjectId": d.AFTER} for number in range(65)
    ]
    status, found = await counted("azure", (headers, json.dumps(payload).encode()), **ALL)
    assert (status, found) == (202, [{"app": None}])
