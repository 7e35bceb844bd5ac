"""What a list of references means: checks, records, digests, versions."""

from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.resources.references import Branches, References, Tags
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.mutations import Outcome
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.reference_entries import (
    KNOWN_MOST,
    Forget,
    Listed,
    ListReferences,
    Missing,
    WatchOne,
    digest_of,
    kept_keys,
    keys_of,
)
from git_events_runner.rules.reference_plan import plan
from git_events_runner.rules.references import Watched

A, B, NOW = "a" * 40, "b" * 40, "2026-05-06T07:00:00Z"
BRANCHES = References(branches=Branches(), limit=5)


def planned(status, heads, *, references=BRANCHES, record=True):
    """The plan for these branches (or full names), by a status."""
    shown = {name if name.startswith("refs/") else f"refs/heads/{name}": (made, None) for name, made in heads.items()}
    shown = {name: head for name, head in shown.items() if Watched.of(references).matches(name)}
    entries = {key: entry_of(status, key) for key in keys_of(status, "app")}
    return plan("app", Watched.of(references), shown, entries, Listed.of(status, "app"), record=record)


def listed(status, heads, *, references=BRANCHES, record=True):
    """The status after a list whose checks ran everything, and the plan."""
    found = planned(status, heads, references=references, record=record)
    for key in found.checks:
        if key in found.shown:
            runs = entry_of(status, key).runs + 1
            entry = {"commitHash": found.shown[key], "runs": runs, "requested": 0, "handled": 0, "changed": NOW}
            status.setdefault("checkedSources", {})[key] = entry
    written = ListReferences(
        source="app",
        at=NOW,
        recorded=found.recorded,
        shown=found.shown,
        superseded=found.superseded,
        known=found.known,
        highest=found.highest,
        limit=references.limit,
    )
    return combine(status, [written])[0], found


heads_of = st.dictionaries(st.sampled_from("abcdefghij"), st.sampled_from([A, B]), max_size=10)


@given(st.lists(heads_of, min_size=1, max_size=6))
def test_each_move_and_creation_is_checked_once(history):
    """Whatever the limit: a reference is checked exactly when it shows another commit than at the list before."""
    status, before = {}, None
    for heads in history:
        status, found = listed(status, heads)
        if before is not None:
            moved = {f"app@heads/{name}" for name, made in heads.items() if before.get(name) != made}
            shown = set(found.checks) & set(found.shown)
            assert shown == moved
        else:
            assert found.checks == ()
        for key in found.checks:
            if key not in found.shown:
                status, _ = combine(status, [Forget(source=key, expected=entry_of(status, key).key, at=NOW)])
                del status["checkedSources"][key]
        assert len(keys_of(status, "app")) <= 5
        before = heads


def test_a_list_that_finds_nothing_new_writes_nothing():
    """The same list twice has one write."""
    status, _ = listed({}, {"main": A, "x": B})
    again, found = listed(status, {"main": A, "x": B})
    assert again == status
    assert (found.checks, found.recorded) == ((), {})


def test_too_many_references_to_remember_are_not_watched_and_never_run_by_mistake():
    """Beyond the digests nothing of the others is known: they are recorded when there is room again, and do not run."""
    many = {f"b{number}": A for number in range(KNOWN_MOST + 10)}
    status, found = listed({}, many)
    assert Listed.of(status, "app").known is None
    assert found.unwatched > 0
    status, found = listed(status, many | {"b0": B, "new": A})
    assert found.checks == ("app@heads/b0",)
    status, found = listed(status, {"b0": B, "b1": A, "new": A, "b4000": A})
    assert not set(found.checks) & set(found.shown)
    known = {digest_of("app@heads/new", A), digest_of("app@heads/b4000", A)}
    assert Listed.of(status, "app").known == known


def test_a_higher_version_supersedes_the_others_and_is_never_forgotten():
    """Also after its tag was deleted, no lower version runs."""
    tags = References(tags=Tags(semver=">=1"), limit=5)
    status, _ = listed({}, {"refs/tags/v1.0.0": A, "refs/tags/v0.9.0": A}, references=tags)
    assert keys_of(status, "app") == ["app@tags/v1.0.0"]
    heads = {"refs/tags/v1.0.0": A, "refs/tags/v1.2.0": B, "refs/tags/v1.1.0": B}
    status, found = listed(status, heads, references=tags)
    assert found.checks == ("app@tags/v1.2.0",)
    assert keys_of(status, "app") == ["app@tags/v1.2.0"]
    found = planned(status, {"refs/tags/v1.0.0": A, "refs/tags/v1.1.0": B}, references=tags)
    assert found.checks == ("app@tags/v1.2.0",)  # the deleted one
    assert found.highest == "1.2.0"


def test_a_digest_names_reference_and_commit():
    """It differs with either, and does not depend on the source's name."""
    assert digest_of("app@heads/x", A) == digest_of("lib@heads/x", A)
    assert len({digest_of("app@heads/x", A), digest_of("app@heads/x", B), digest_of("app@tags/x", A)}) == 3


def test_what_another_replica_recorded_meanwhile_stays():
    """Notes on a reference and its deletion are tested against the entry that they were decided on."""
    status = {"checkedSources": {"app@heads/x": {"commitHash": A, "runs": 2, "requested": 3, "handled": 1}}}
    for mutation in (
        Missing(source="app@heads/x", expected=(1, A), at=NOW),
        Forget(source="app@heads/x", expected=(2, B), at=NOW),
    ):
        assert combine(status, [mutation])[1] == [Outcome.STALE]
    found, outcomes = combine(status, [Forget(source="app@heads/x", expected=(2, A), at=NOW)])
    entry = entry_of(found, "app@heads/x")
    assert (outcomes, entry.commit, entry.runs, entry.is_open) == ([Outcome.WRITE], None, 2, False)


def test_the_entries_of_references_stay_until_a_single_one_took_over():
    """While the source's entry is that of a list, nothing of its references is pruned."""
    status, _ = listed({}, {"main": A, "x": B})
    assert kept_keys(status, ["app"], None, None) == {"app", "app@heads/main", "app@heads/x"}
    status, _ = combine(status, [WatchOne(source="app", key="app@heads/x")])
    assert entry_of(status, "app").commit == B
    assert kept_keys(status, ["app"], None, None) == {"app"}
    assert combine(status, [WatchOne(source="app", key="app@heads/x")])[1] == [Outcome.DONE]


def test_a_first_check_that_runs_what_exists_runs_at_most_the_limit():
    """Of nine branches five run, also if the list is repeated; the others run when they move."""
    heads = dict.fromkeys("abcdefghi", A)
    first = planned({}, heads, record=False)
    assert len(first.checks) == 5
    ran = {key: {"commitHash": A, "runs": 1, "requested": 0, "handled": 0, "changed": NOW} for key in first.checks}
    assert planned({"checkedSources": ran}, heads, record=False).checks == ()
    status, _ = listed({}, heads, record=False)
    assert planned(status, heads, record=False).checks == ()
    assert planned(status, heads | {"i": B}, record=False).checks == ("app@heads/i",)
