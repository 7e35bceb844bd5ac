"""The pages' data, without a server: counts, order, filters, pages, states, durations."""

from datetime import timedelta

import pytest

from git_events_runner.flow.ui import Decision, views
from git_events_runner.flow.ui.estate import Estate
from git_events_runner.flow.ui.rows import State, Tone
from git_events_runner.flow.ui.trigger_view import RESULTS, trigger
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.check_result import CheckResult
from tests.flow.ui.samples import NOW, Company, at, company, sha


async def rows_of(made):
    return await Estate(store=made.store, version=lambda: 0).rows()


def page_of(made, rows, ref, **query):
    return trigger(rows.triggers[ref], rows.runs_of[ref], made.store.get, made.decisions, query, NOW)


async def test_the_overview_counts_and_puts_what_fails_first():
    """States, slots, results of a day and git servers of the sample company."""
    made = company()
    page = views.overview(await rows_of(made), made.facts, NOW)
    assert page["headline"] == "2 of 12 triggers need attention"
    assert [(each.row.ref.name, each.row.state.words) for each in page["attention"]] == [
        ("ledger", "Retrying"),
        ("billing", "Last run failed"),
    ]
    assert {each["state"].value: each["count"] for each in page["segments"]} == {
        "retrying": 1,
        "failed": 1,
        "running": 3,
        "queued": 2,
        "suspended": 1,
        "idle": 4,
    }
    assert sum(each["width"] for each in page["segments"]) == pytest.approx(100, abs=0.1)
    assert (page["running"], page["queued"], page["used_share"]) == (3, 2, 18.75)
    assert [each["host"] for each in page["backing_off"]] == ["gitlab.com"]
    assert [each.host for each in page["failing"]] == ["code.acme.example:2222"]
    ended = [run for run in (await rows_of(made)).runs if run.ended_at and NOW - run.ended_at < timedelta(hours=24)]
    assert (page["succeeded"], page["failed"]) == (
        sum(run.phase == "Succeeded" for run in ended),
        sum(run.phase == "Failed" for run in ended),
    )


async def test_an_empty_installation_has_a_page():
    """Nothing is divided by nothing, and the page has the next step."""
    made = Company()
    page = views.overview(await rows_of(made), made.facts, NOW)
    assert (page["headline"], page["segments"], page["latest"]) == ("No triggers yet", [], [])


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"state": "attention"}, ["ledger", "billing"]),
        ({"state": "running", "sort": "name"}, ["checkout", "mobile-api", "search"]),
        ({"namespace": "data", "sort": "name"}, ["billing", "ledger", "terraform-network"]),
        ({"q": "SHOP store"}, ["storefront"]),
        ({"q": "no such"}, []),
        ({"sort": "latest", "namespace": "payments"}, ["data-pipeline", "checkout", "mailer"]),
    ],
)
async def test_triggers_are_filtered_and_sorted(query, names):
    """By namespace, state and words of the name, sources and action."""
    page = views.triggers(await rows_of(company()), query, NOW)
    assert [each.row.ref.name for each in page["triggers"]] == names
    assert page["total"] == 12


async def test_runs_are_filtered_by_result_namespace_and_text():
    """The latest first; a commit is found by its beginning."""
    made = company()
    rows = await rows_of(made)
    failed = views.runs(rows, {"result": "failed", "namespace": "data"}, NOW)
    assert {run.row.phase for run in failed["runs"]} == {"Failed"}
    assert {run.row.trigger.namespace for run in failed["runs"]} == {"data"}
    [found] = views.runs(rows, {"q": sha("checkout22")[:12]}, NOW)["runs"]
    assert (found.row.trigger.name, found.row.number) == ("checkout", 22)
    every = [run.row.order for run in views.runs(rows, {}, NOW)["runs"]]
    assert every == sorted(every, reverse=True)


async def test_lists_have_pages():
    """Fifty rows a page; a number that is none, or too high, is the nearest page."""
    rows = await rows_of(company())
    first = views.runs(rows, {"q": "e"}, NOW)["page"]
    assert (first.first, first.last, first.before, first.after) == (1, 50, None, "?q=e&page=2")
    for text, at_row in (("2", 51), ("0", 1), ("x", 1), ("9" * 50, 1), ("99", first.total - first.total % 50 + 1)):
        assert views.runs(rows, {"q": "e", "page": text}, NOW)["page"].first == at_row


async def test_the_queue_shows_the_oldest_first():
    """Runs that hold a slot, and runs that wait, each from the oldest on."""
    made = company()
    page = views.queue(await rows_of(made), made.facts, {}, NOW)
    assert [run.row.trigger.name for run in page["waiting"]] == ["storefront", "data-pipeline"]
    assert page["running_count"] == 3
    assert {each["name"]: (each["running"], each["waiting"]) for each in page["namespaces"]} == {
        "payments": (1, 1),
        "platform": (2, 0),
        "shop": (0, 1),
    }


async def test_git_servers_with_problems_come_first():
    """Throttled, failing, then the others; those that no request went to are named by their sources."""
    made = company()
    made.add("GitRepo", "shop", "quiet", spec={"repoUri": "https://quiet.example/x"})
    page = views.hosts(made.facts, made.store.all, {}, NOW)
    assert [(host.name, host.rank) for host in page["hosts"]] == [
        ("gitlab.com", 0),
        ("code.acme.example:2222", 1),
        ("git.acme.example", 2),
        ("github.com", 2),
        ("quiet.example", 2),
    ]
    assert page["hosts"][-1].facts is None


async def test_the_page_of_a_trigger():
    """Sources with commits linked to their forge, runs, the strip, decisions and the next check."""
    made = company()
    rows = await rows_of(made)
    page = page_of(made, rows, Ref("ScheduleTrigger", "shop", "storefront"))
    [source] = page["sources"]
    assert source.commit_url == f"https://github.com/acme/storefront/commit/{sha('storefront20')}"
    assert [(each.words, each.count) for each in source.decisions] == [("Nothing new", 40)]
    assert page["strip"].summary.startswith("The last 15 runs: ")
    assert page["next"].text.startswith("in ")
    assert page["yaml"] is None
    shown = page_of(made, rows, Ref("ScheduleTrigger", "shop", "storefront"), yaml="1")["yaml"]
    assert shown.startswith("apiVersion: git-events-runner.rs/v1alpha1\nkind: ScheduleTrigger\n")
    ledger = page_of(made, rows, Ref("WebhookTrigger", "data", "ledger"))
    assert ledger["sources"][0].decisions[0].until.text == "in 2 min"
    assert ledger["trigger"].declared.reason == "Unreachable"


async def test_runs_come_from_jobs_and_from_the_history_once_each():
    """A run whose Job is deleted stays by the status's history, with its times; one with a Job is shown once."""
    made = Company()
    made.add("GitRepo", "shop", "app", spec={"repoUri": "https://git.example/app"})
    trigger_object = made.trigger("shop", "hook", sources=["app"])
    job = made.run(trigger_object, 2, ago_s=60)
    record = {"source": "app", "commit": sha("a")[:10], "reason": "fire-changed", "phase": "Failed"}
    times = {"queued": at(hours=2), "started": at(hours=2), "finished": at(hours=1), "exitCode": 3}
    history = [
        record | {"number": 2, "job": job["metadata"]["name"]},
        record | {"number": 1, "job": "hook-gone"} | times,
    ]
    made.trigger("shop", "hook", sources=["app"], status={"history": history})
    rows = await rows_of(made)
    found = [(run.number, run.phase, run.exit_code) for run in rows.runs]
    assert found == [(2, "Succeeded", None), (1, "Failed", 3)]


async def test_references_of_a_source_are_listed_with_their_commits():
    """Those that moved last first, twenty at most; the run of a reference names it."""
    made = Company()
    made.add("GitRepo", "shop", "app", spec={"repoUri": "https://github.com/acme/app"})
    entries = {f"app@heads/b{each}": {"commitHash": sha(each), "changed": at(hours=each)} for each in range(1, 25)}
    history = [{"number": 1, "source": "app@heads/b1", "job": "x", "phase": "Succeeded"}]
    made.trigger("shop", "hook", sources=["app"], status={"checkedSources": entries, "history": history})
    rows = await rows_of(made)
    [uid] = [row.declared.uid for row in rows.triggers.values()]
    made.decisions.note(uid, "app@heads/b2", Decision(result="skip-same", at=NOW, since=NOW))
    [source] = page_of(made, rows, Ref("ScheduleTrigger", "shop", "hook"))["sources"]
    assert [each.decision and each.decision.words for each in source.references[:3]] == [None, "Nothing new", None]
    assert [each.name for each in source.references] == [f"b{each}" for each in range(1, 21)]
    assert source.more_references == 4
    assert source.references[0].commit_url == f"https://github.com/acme/app/commit/{sha(1)}"
    assert [(run.source, run.reference) for run in rows.runs] == [("app", "b1")]


@pytest.mark.parametrize(
    ("status", "spec", "state"),
    [
        ({}, {}, State.NEW),
        ({"conditions": [{"type": "Ready", "status": "True"}]}, {}, State.IDLE),
        ({"conditions": [{"type": "Ready", "status": "True"}]}, {"suspend": True}, State.SUSPENDED),
        ({"conditions": [{"type": "Ready", "status": "False", "message": "x"}]}, {}, State.RETRYING),
        ({"conditions": [{"type": "Stalled", "status": "True", "message": "x"}]}, {}, State.STALLED),
        (
            {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Waiting", "status": "True"}]},
            {},
            State.WAITING,
        ),
        ({"conditions": "strange", "checkedSources": 7, "history": {}}, {}, State.NEW),
        ({"conditions": [], "history": ["strange", {"phase": 7, "number": "x"}]}, {}, State.NEW),
        ({}, {"sources": {"names": []}, "action": 7}, State.STALLED),
    ],
)
async def test_the_state_of_a_trigger(status, spec, state):
    """What needs a change wins; a strange status or an invalid spec still has a page."""
    made = Company()
    made.trigger("shop", "hook", sources=["app"], status=status, spec=spec)
    rows = await rows_of(made)
    [row] = rows.triggers.values()
    assert row.state is state
    assert page_of(made, rows, row.ref)["trigger"] is row


async def test_only_what_has_changed_is_read_again():
    """A second reading reuses the rows of objects that are the same, and drops those of deleted ones."""
    made, version = company(), [0]
    estate = Estate(store=made.store, version=lambda: version[0])
    before = await estate.rows()
    assert (await estate.rows()) is before
    version[0] += 1
    made.trigger("shop", "storefront", status={"conditions": []})
    job = next(job for job in made.store.all("Job") if job.model.trigger_name == "checkout")
    made.writers["Job"].remove({"metadata": {**job.raw["metadata"], "resourceVersion": "99999"}, "kind": "Job"})
    after = await estate.rows()
    old = {id(run) for run in before.runs}
    assert {run.trigger.name for run in after.runs if id(run) not in old} == {"storefront"}
    assert len(after.runs) == len(before.runs) - 1
    same = {ref for ref, row in after.triggers.items() if row.declared is before.triggers[ref].declared}
    assert after.triggers.keys() - same == {Ref("ScheduleTrigger", "shop", "storefront")}
    estate.drop()
    assert len((await estate.rows()).runs) == len(after.runs)


async def test_every_result_of_a_check_has_words():
    """One that is added to the list of results is added to the page."""
    assert {*CheckResult} == {*RESULTS}


async def test_a_retry_shows_which_attempt_it_is():
    """From the Job and from the history alike."""
    made = Company()
    made.add("GitRepo", "shop", "app", spec={"repoUri": "https://git.example/app"})
    history = [{"number": 1, "source": "app", "job": "x", "phase": "Failed", "attempt": "2/4", "reason": "retry"}]
    made.trigger("shop", "hook", sources=["app"], status={"history": history})
    rows = await rows_of(made)
    assert [(run.attempt, run.reason) for run in rows.runs] == [("2/4", "retry of a failed run")]


async def test_what_is_watched_is_in_words():
    """A branch, or patterns of branches and tags."""
    made = Company()
    references = {"branches": {"include": ["main", "release/*"]}, "tags": {"semver": ">=1.2 <2"}}
    made.trigger("shop", "hook", sources=["app"])
    watch = {"onChangeOnly": True, "references": references}
    made.trigger("shop", "all", spec={"sources": {"names": ["app"], "watchOn": watch}})
    rows = await rows_of(made)
    assert {row.ref.name: row.declared.reference for row in rows.triggers.values()} == {
        "hook": "branch main",
        "all": "branches main, release/* and tags ** >=1.2 <2",
    }


async def test_tones_have_words():
    """No state is shown by colour alone."""
    assert all(state.words and state.tone in Tone for state in State)
