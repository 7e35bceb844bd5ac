"""Payloads: what each forge's push says about the watched reference, what is ignored, what is refused."""

import contextlib
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.rules.forges import (
    BY_NAME,
    IgnoredEvent,
    MalformedPayload,
    Push,
    delivery_of,
    forge_of,
    read,
    watched,
)
from git_events_runner.rules.forges import same_repository as same
from tests.forges import deliveries as d
from tests.forges.test_signatures import headers_of

PUSHES = {
    "github": d.github,
    "gitea": d.gitea,
    "gitlab": d.gitlab,
    "bitbucket": lambda ref="refs/heads/main", after=d.AFTER: d.bitbucket_cloud(
        ("tag" if "/tags/" in ref else "branch", ref.split("/", 2)[2], None if after == d.ZERO else after)
    ),
    "bitbucket, Data Center": lambda ref="refs/heads/main", after=d.AFTER: d.bitbucket_server(
        (ref, None if after == d.ZERO else after)
    ),
    "azure": lambda ref="refs/heads/main", after=d.AFTER: d.azure((ref, None if after == d.ZERO else after)),
}


def said(name, found):
    headers, body = found
    return read(name.split(",")[0], headers_of(headers), body)


@pytest.mark.parametrize("name", PUSHES)
def test_a_push_announces_the_commit_of_the_watched_branch(name):
    """Reference, commit and repository come from where that forge has them."""
    push = said(name, PUSHES[name]())
    assert isinstance(push, Push)
    assert watched(push, "branch", "main").commit == d.AFTER
    assert watched(push, "branch", "refs/heads/main").commit == d.AFTER
    assert same("https://forge.example.com/team/app", push.repositories)
    assert not same("https://forge.example.com/team/other", push.repositories)


@pytest.mark.parametrize("name", PUSHES)
def test_a_tag_is_a_tag_and_not_a_branch(name):
    """An annotated tag announces the commit it points to, not the tag object."""
    push = said(name, PUSHES[name](ref="refs/tags/v1"))
    assert watched(push, "tag", "v1").commit == d.AFTER
    assert isinstance(watched(push, "branch", "v1"), IgnoredEvent)


@pytest.mark.parametrize("head", [None, {}, {"id": "short"}])
def test_a_tag_without_a_head_commit_announces_what_it_names(head):
    """A lightweight tag is the commit; a tag object is known from git's answer."""
    push = said("github", d.github(ref="refs/tags/v1", head_commit=head))
    assert watched(push, "tag", "v1").commit == d.TAG


@pytest.mark.parametrize("name", PUSHES)
def test_a_deletion_and_another_branch_are_ignored_with_a_reason(name):
    """Nothing to look at: said, not asked."""
    gone = watched(said(name, PUSHES[name](after=d.ZERO)), "branch", "main")
    assert gone == IgnoredEvent(reason="refs/heads/main was deleted")
    other = watched(said(name, PUSHES[name](ref="refs/heads/other")), "branch", "main")
    assert other == IgnoredEvent(reason="refs/heads/main is not among the changed references")


@pytest.mark.parametrize("name", PUSHES)
def test_a_watched_commit_may_come_with_any_push(name):
    """It announces nothing, and is looked for."""
    assert watched(said(name, PUSHES[name]()), "commit", "c" * 40).commit is None


def test_all_changes_of_a_push_are_read_not_the_first():
    """Several references in one delivery: each is found."""
    other = "b" * 40
    for push in (
        said(
            "bitbucket",
            d.bitbucket_cloud(("branch", "x", d.AFTER), ("tag", "main", d.AFTER), ("branch", "main", other)),
        ),
        said("bitbucket", d.bitbucket_server(("refs/heads/x", None), ("refs/heads/main", other))),
        said("azure", d.azure(("refs/heads/x", d.AFTER), ("refs/heads/main", other))),
    ):
        assert watched(push, "branch", "main").commit == other
    update = {"event_name": "repository_update", "project": {"git_http_url": d.HTTP}}
    update["changes"] = [{"ref": "refs/heads/x", "after": d.AFTER}, {"ref": "refs/heads/main", "after": other}]
    headers = {"Content-Type": "application/json", "X-Gitlab-Event": "System Hook"}
    push = said("gitlab", (headers, json.dumps(update).encode()))
    assert watched(push, "branch", "main").commit == other


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("github", d.github(event="ping")),
        ("github", d.github(event="issues")),
        ("gitea", d.gitea(event="create")),
        ("gitea", d.gitea(event="delete")),
        ("gitlab", d.gitlab(kind="issue")),
        ("bitbucket", d.bitbucket_cloud(event="pullrequest:created")),
        ("bitbucket", d.bitbucket_server(event="diagnostics:ping")),
        ("azure", d.azure(event="workitem.created")),
    ],
)
def test_pings_and_other_events_are_ignored_with_a_reason(name, found):
    """Only what moves a reference is a push."""
    assert isinstance(said(name, found), IgnoredEvent)


@pytest.mark.parametrize("name", ["github", "gitea"])
def test_forms_are_read_where_a_forge_sends_them(name):
    """GitHub and Gitea may send the JSON in a form; nobody else, and no other content type."""
    make = getattr(d, name)
    assert watched(said(name, make(form=True)), "branch", "main").commit == d.AFTER
    for given_type, forge in (("text/plain", name), ("", name), ("application/x-www-form-urlencoded", "gitlab")):
        headers, body = d.gitlab() if forge == "gitlab" else make()
        with pytest.raises(MalformedPayload) as refused:
            said(forge, (headers | {"Content-Type": given_type}, body))
        assert refused.value.media_type


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"ref":NaN}',
        b'{"ref":Infinity}',
        b'{"ref":"refs/heads/main","ref":"refs/heads/other"}',
        b'{"ref":"\\ud800"}',
        b'{"ref":"\xff"}',
        b'{"ref":' + b"1" * 10_000 + b"}",
        b'{"ref":1}',
        b'{"ref":""}',
        b'{"ref":null,"push":{"changes":{}},"changes":1,"resource":[]}',
        '{"ref":"refs/heads/main"}'.encode("utf-16"),
    ],
)
@pytest.mark.parametrize("dialect", BY_NAME)
def test_a_twisted_body_is_unreadable_and_nothing_else(dialect, body):
    """Deep, double, not a number, half a character, wrong types: told, never a crash."""
    headers = {"content-type": [b"application/json"]} | {name: [b"push"] for name in BY_NAME[dialect].events}
    if dialect == "bitbucket":
        headers["x-event-key"] = [b"repo:push"]
    with contextlib.suppress(MalformedPayload):
        assert isinstance(read(dialect, headers, body), IgnoredEvent)


@pytest.mark.parametrize("dialect", BY_NAME)
def test_an_empty_body_is_refused_as_such(dialect):
    """A sender that was set to send no payload learns what is missing."""
    headers = {"content-type": [b"application/json"]} | {name: [b"push"] for name in BY_NAME[dialect].events}
    with pytest.raises(MalformedPayload, match="the body is empty; it must be the event's JSON payload"):
        read(dialect, headers, b" \n")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from([d.AFTER, d.ZERO, "refs/heads/main"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "ref",
                    "after",
                    "repository",
                    "clone_url",
                    "project",
                    "object_kind",
                    "push",
                    "changes",
                    "new",
                    "name",
                    "type",
                    "target",
                    "hash",
                    "refId",
                    "toHash",
                    "links",
                    "clone",
                    "href",
                    "resource",
                    "refUpdates",
                    "eventType",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@given(st.sampled_from(sorted(BY_NAME)), st.sampled_from(["push", "repo:push", "repo:refs_changed", "x"]), JSON)
def test_no_json_makes_an_error(dialect, event, payload):
    """Whatever a verified sender says, it is a push, ignored, or unreadable."""
    headers = {"content-type": [b"application/json"]} | {name: [event.encode()] for name in BY_NAME[dialect].events}
    for more in ({}, {"eventType": "git.push", "object_kind": "push"}):
        given_payload = payload | more if isinstance(payload, dict) else payload
        try:
            found = read(dialect, headers, json.dumps(given_payload).encode())
        except MalformedPayload:
            continue
        if isinstance(found, Push):
            watched(found, "branch", "main")
            same("https://forge.example.com/team/app", found.repositories)


def test_large_addresses_are_compared_and_not_kept():
    """Whoever may send can send a thousand of them; only short ones are remembered."""
    path = "x" * 1000
    tracemalloc.start()
    for number in range(1500):
        assert same(f"https://example.com/{path}{number}", [f"https://example.com/{path.upper()}{number}.git"])
        assert not same("https://example.com/team/app", [f"https://example.com/{'y' * 100_000}{number}"])
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("https://example.com/team/app", "https://example.com/Team/App.git", True),
        ("https://example.com/team/app", "https://EXAMPLE.com:443/team/app/", True),
        ("http://example.com/team/app", "https://example.com/team/app", True),
        ("git@example.com:team/app.git", "https://example.com/team/app", True),
        ("git@example.com:team/app", "ssh://git@example.com:22/team/app.git", True),
        ("git@example.com:team/app", "ssh://git@example.com:2222/team/app.git", False),
        ("ssh://git@example.com:2222/team/app", "http://example.com:3000/team/app", True),
        ("https://example.com:8443/team/app", "https://example.com/team/app", False),
        ("https://example.com/team/app", "https://example.org/team/app", False),
        ("https://example.com/team/app", "https://example.com/team/app2", False),
        ("https://example.com/a%20b/c", "https://example.com/a b/c", True),
        ("git@ssh.dev.azure.com:v3/org/proj/repo", "https://org@dev.azure.com/org/proj/_git/repo", True),
        ("ssh://git@bb.example.com:7999/team/app.git", "https://bb.example.com/scm/TEAM/app.git", True),
        ("git@ssh.github.com:team/app", "https://github.com/team/app", True),
        ("ssh://git@altssh.gitlab.com:443/team/app.git", "https://gitlab.com/team/app", True),
        ("https://org.visualstudio.com/proj/_git/repo", "https://dev.azure.com/org/proj/_git/repo", True),
        (
            "https://org.visualstudio.com/DefaultCollection/proj/_git/repo",
            "https://dev.azure.com/org/proj/_git/repo",
            True,
        ),
        ("org@vs-ssh.visualstudio.com:v3/org/proj/repo", "https://org@dev.azure.com/org/proj/_git/repo", True),
        ("https://dev.azure.com/org/_git/repo", "git@ssh.dev.azure.com:v3/org/repo/repo", True),
        ("https://other.visualstudio.com/proj/_git/repo", "https://dev.azure.com/org/proj/_git/repo", False),
        ("https://bb.example.com/bitbucket/scm/team/app.git", "ssh://git@bb.example.com:7999/team/app.git", True),
        ("https://bb.example.com/projects/TEAM/repos/app/browse", "https://bb.example.com/scm/team/app.git", True),
        ("https://bb.example.com/users/bob/repos/app", "ssh://git@bb.example.com:7999/~bob/app.git", True),
        ("https://example.com/projects/app", "https://example.com/app", False),
        ("https://example.com/team/app", "", False),
        ("https://example.com/team/app", "no address", False),
    ],
)
def test_addresses_of_one_repository_are_recognised(one, other, expected):
    """http, ssh and scp forms, `.git`, case, ports; both ways."""
    assert same(one, [other]) is expected
    assert same(other, [one]) is expected


@pytest.mark.parametrize(
    ("address", "other", "expected"),
    [
        ("https://old.example.com/team/app", "https://new.example.com/team/app.git", True),
        ("git@git.example.com:team/app", "https://new.example.com/team/app", True),
        ("ssh://git@git.example.com:2222/team/app", "ssh://git@new.example.com/team/app", True),
        ("https://old.example.com/team/app", "https://new.example.com/team/other", False),
        ("https://other.example.com/team/app", "https://new.example.com/team/app", False),
    ],
)
def test_a_host_may_have_several_names(address, other, expected):
    """An old domain and a host of its own for ssh match, where the runtime config names them; both ways."""
    aliases = {"old.example.com": "new.example.com", "git.example.com": "new.example.com"}
    assert same(address, [other], aliases=aliases) is expected
    assert same(other, [address], aliases=aliases) is expected
    assert not same(address, [other])


def test_a_port_is_compared_with_one_of_the_same_protocol():
    """The payload's http address decides about an http repository, though its ssh address has the same host."""
    named = ["http://example.com:3000/team/app.git", "ssh://git@example.com:2222/team/app.git"]
    assert same("http://example.com:3000/team/app", named)
    assert not same("http://example.com:4000/team/app", named)


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_address_makes_an_error(one, other):
    """Addresses of a payload are anybody's text."""
    same(one, [other, f"https://{other}/x", f"git@{other}:x"])


def test_the_delivery_id_is_what_stays_the_same_when_it_comes_again():
    """Each forge has its header; Azure's stands in the body."""
    for name, make in PUSHES.items():
        headers, body = make()
        kind = name.split(",")[0]
        found = delivery_of(headers_of(headers), kind, body)
        assert found
        assert found == delivery_of(headers_of(headers), kind, body)
    headers, body = d.gitlab(signed=d.SIGNING)
    assert delivery_of(headers_of(headers), "gitlab", body) == headers["Idempotency-Key"]
    assert delivery_of({}, "header", b"{}") is None


def test_a_dialect_is_recognised_where_the_type_names_none():
    """Gitea sends GitHub's headers too, and is still known."""
    for name, make in PUSHES.items():
        assert forge_of("hmac", headers_of(make()[0])) == name.split(",")[0]


HALF = "\ud83d"


@pytest.mark.parametrize("name", PUSHES)
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_what_forges_send_is_read_in_every_size(name, large):
    """A byte order mark, half a character in a comment, and megabytes of commits change nothing of what is read."""
    headers, body = PUSHES[name]()
    payload = json.loads(body)
    more = {"commits": [{"message": f'half {HALF} \\ " ]}}', "added": [f"f{n}" for n in range(20)]}] * 5000 * large}
    text = json.dumps({"comment": HALF} | payload | more | {"last": [[{}], HALF]}).encode()
    assert (len(text) > 500_000) is large
    kind, known = name.split(",")[0], headers_of(headers)
    assert read(kind, known, b"\xef\xbb\xbf" + text) == read(kind, known, body)
    assert delivery_of(known, kind, b"\xef\xbb\xbf" + text) == delivery_of(known, kind, body)
