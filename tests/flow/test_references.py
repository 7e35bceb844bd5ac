"""References watched by patterns: created, moved, deleted; recorded at first, within a limit, one run for each."""

import asyncio

import pytest

from git_events_runner.edges.git.request import ReferenceList
from git_events_runner.errors import GitCutOff, GitReferenceNotFound, GitTooManyReferences
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.reference_entries import Listed, kept_keys, keys_of, watched_by
from tests.flow.program import Answer, Git, Program, annotation
from tests.flow.virtual import virtual
from tests.flow.world import A, B, Cluster

C = "c" * 40
DUE = "2026-05-06T07:00:{:02}Z"


class Repository(Git):
    """References by full name; `hidden` are left out of answers; `lists` and `asked` count requests."""

    def __init__(self, **refs):
        super().__init__()
        self.refs = {name.replace("__", "/"): commit for name, commit in refs.items()}
        self.hidden, self.lists, self.error = set(), 0, None

    def shown(self):
        return {f"refs/{name}": commit for name, commit in self.refs.items() if name not in self.hidden}

    async def commit_of(self, source, namespace, ref_type, ref_name, *, urgent, unchanged=None):
        self.asked += 1
        sent, shown = asyncio.get_running_loop().time(), self.shown()
        await asyncio.sleep(0.01)
        if self.error:
            raise self.error
        full = ref_name.startswith("refs/")
        name = ref_name if full else f"refs/{'tags' if ref_type == 'tag' else 'heads'}/{ref_name}"
        if name not in shown:
            raise GitReferenceNotFound(f"no {name}")
        return Answer(shown[name], None, sent)

    async def references_of(self, source, namespace, prefixes, *, urgent=False):
        self.lists += 1
        sent, shown = asyncio.get_running_loop().time(), self.shown()
        await asyncio.sleep(0.01)
        if self.error:
            raise self.error
        found = {name: (commit, None) for name, commit in shown.items() if name.startswith(tuple(prefixes))}
        return ReferenceList(refs=found, alive=bool(shown), sent_at=sent)


class Many(Program):
    """A program whose trigger watches references."""

    def __init__(self, refs, *, watch, spec, kind):
        cluster = Cluster()
        cluster.surroundings()
        cluster.put({"kind": "Action", "metadata": {"name": "teardown", "namespace": "n"}, "spec": {"actionJob": {}}})
        self.ref = Ref(kind, "n", "hook")
        watch_on = {"onChangeOnly": True, **watch}
        cluster.trigger(kind, sources={"names": ["app"], "watchOn": watch_on}, **spec)
        super().__init__(cluster)
        self.git = Repository(**refs)
        self.write_with(cluster, cluster.submit)
        self.second = 0

    async def poll(self):
        """A scheduled check of the source; when it is to be done again."""
        self.second += 1
        return await self.check(ref=self.ref, due=DUE.format(self.second))

    async def polls(self):
        """Scheduled checks until one has nothing left to do."""
        for _ in range(20):
            again = await self.check(ref=self.ref, due=DUE.format(self.second + 1))
            if again is None:
                self.second += 1
                return
            await asyncio.sleep(again.after_s if again.after_s is not None else 1)
        raise AssertionError("never over")

    def ran(self):
        """Key, number, commit and reason of each Job, in the order of creation."""
        jobs = sorted(self.jobs(), key=lambda job: int(job["metadata"]["resourceVersion"]))
        return [
            (
                *annotation(job, "run").split("/", 1)[1].rsplit("/", 1),
                annotation(job, "commit")[0],
                annotation(job, "reason").removeprefix("fire-"),
            )
            for job in jobs
        ]

    @property
    def status(self):
        return self.cluster.objects[self.ref].get("status") or {}

    def keys(self):
        return sorted(keys_of(self.status, "app"))


def many(*, watch=None, kind="ScheduleTrigger", first=None, **refs):
    """A program with these references."""
    spec = {"firstCheck": first} if first else {}
    return Many(refs, watch=watch or {"references": {"branches": {}}}, spec=spec, kind=kind)


@virtual
async def test_what_exists_at_first_is_recorded_and_what_appears_later_runs():
    """The first list runs nothing; then a created branch runs, and a moved one, each under its own key."""
    made = many(heads__main=A)
    await made.polls()
    assert made.ran() == []
    made.git.refs |= {"heads/feature/x": B}
    await made.polls()
    made.git.refs |= {"heads/main": C}
    await made.polls()
    assert made.ran() == [("app@heads/feature/x", "1", "b", "first"), ("app@heads/main", "1", "c", "changed")]
    assert made.keys() == ["app@heads/feature/x", "app@heads/main"]


@virtual
async def test_with_first_check_run_all_that_exists_runs():
    """`firstCheck: Run` is a run for each reference."""
    made = many(first="Run", heads__main=A, heads__x=B)
    await made.polls()
    assert sorted(made.ran()) == [("app@heads/main", "1", "a", "first"), ("app@heads/x", "1", "b", "first")]


@virtual
async def test_a_check_that_finds_nothing_new_is_one_list_and_no_write():
    """However many references: one exchange, nothing read or written at the API server."""
    made = many(**{f"heads__b{number}": A for number in range(90)})
    await made.polls()
    made.cluster.calls.clear()
    lists, asked = made.git.lists, made.git.asked
    await made.polls()
    assert (made.git.lists - lists, made.git.asked - asked, made.cluster.calls) == (1, 0, [])


@virtual
async def test_the_job_gets_the_reference_that_ran():
    """Type and name of the reference are those of the run, not of the trigger; the source's label is its name."""
    made = many(heads__main=A)
    await made.polls()
    made.git.refs |= {"heads/feature/x": B}
    await made.polls()
    [job] = made.jobs()
    worker = job["spec"]["template"]["spec"]["containers"][0]
    given = {one["name"]: one.get("value") for one in worker["env"]}
    assert given["ACTION_JOB_TRIGGER_SOURCE_REF_TYPE"] == "branch"
    assert given["ACTION_JOB_TRIGGER_SOURCE_REF_NAME"] == "feature/x"
    assert given["ACTION_JOB_TRIGGER_SOURCE_NAME"] == "app"
    assert job["metadata"]["labels"]["git-events-runner.rs/source-name"] == "app"


@virtual
async def test_a_deleted_branch_runs_on_delete_once_and_goes_on_with_its_numbers():
    """Two complete answers without it, 15 s apart; then one run of the other action with the last known commit."""
    made = many(watch={"references": {"branches": {}}, "onDelete": {"name": "teardown"}}, heads__main=A)
    await made.polls()
    made.git.refs |= {"heads/x": B}
    await made.polls()
    del made.git.refs["heads/x"]
    again = await made.poll()
    assert again is not None
    assert not again.failed
    assert len(made.ran()) == 1
    await made.polls()
    assert made.ran()[1:] == [("app@heads/x", "2", "b", "deleted")]
    assert made.jobs()[-1] is not None
    owners = {annotation(job, "reason"): job["metadata"]["labels"] for job in made.jobs()}
    assert owners["fire-deleted"]["git-events-runner.rs/action-name"] == "teardown"
    await made.polls()
    await made.polls()
    assert len(made.ran()) == 2
    made.git.refs |= {"heads/x": B}
    await made.polls()
    assert made.ran()[2:] == [("app@heads/x", "3", "b", "first")]


@virtual
async def test_the_entry_of_a_deleted_branch_is_pruned_later_and_leaves_its_number():
    """Three minutes after it was deleted no entry is kept, and a branch of that name goes on with its numbers."""
    made = many(heads__main=A)
    await made.polls()
    made.git.refs |= {"heads/x": B}
    await made.polls()
    del made.git.refs["heads/x"]
    await made.polls()
    spec = made.cluster.objects[made.ref]["spec"]
    now = made.cluster.now()
    assert "app@heads/x" in kept_keys(made.status, ["app"], watched_by(spec), now)
    await asyncio.sleep(200)
    now = made.cluster.now()
    kept = kept_keys(made.status, ["app"], watched_by(spec), now)
    assert kept == {"app", "app@heads/main"}


@virtual
@pytest.mark.parametrize("what", ["error", "nothing", "moment"])
async def test_no_fault_of_a_server_is_a_deletion(what):
    """An error, an answer without any reference, and one that lacks a branch for a moment delete nothing."""
    made = many(watch={"references": {"branches": {}}, "onDelete": {"name": "teardown"}}, heads__main=A, heads__x=B)
    await made.polls()
    if what == "error":
        made.git.error = GitCutOff("the list of references was cut off")
        await made.poll()
        made.git.error = None
    elif what == "nothing":
        made.git.hidden = {"heads/main", "heads/x"}
        for _ in range(3):
            assert (await made.poll()).failed
            await asyncio.sleep(20)
    else:
        made.git.hidden = {"heads/x"}
        await made.poll()
    made.git.hidden = set()
    await asyncio.sleep(20)
    await made.polls()
    await made.polls()
    assert made.ran() == []
    assert made.status["checkedSources"]["app@heads/x"].get("missingSince") is None


@virtual
async def test_a_server_with_more_references_than_are_read_is_one_problem():
    """Nothing runs and nothing is recorded of them; the condition has one reason, and ends with the flood."""
    watch = {"references": {"branches": {}}, "onDelete": {"name": "teardown"}}
    made = many(watch=watch, kind="WebhookTrigger", heads__main=A, heads__x=B)
    await made.polls()
    before = made.keys()
    made.git.error = GitTooManyReferences("more than 20,000 references begin so; narrow the patterns")
    for _ in range(5):
        assert (await made.poll()).failed
        await asyncio.sleep(20)
    assert made.condition() == ("False", "TooManyReferences")
    problems = [one.get("problem") for one in made.status["checkedSources"].values() if one.get("problem")]
    assert [one["reason"] for one in problems] == ["TooManyReferences"]
    assert (made.keys(), made.ran()) == (before, [])
    made.git.error = None
    await made.polls()
    assert made.condition()[0] == "True"
    assert made.ran() == []


@virtual
async def test_only_the_highest_version_runs_as_it_rises():
    """Of 50 new tags the highest runs; lower ones and its deletion run nothing; a higher one runs again."""
    made = many(watch={"references": {"tags": {"include": ["v*"], "semver": ">=1 <2"}}}, **{"tags__v1.0.0": A})
    await made.polls()
    made.git.refs |= {f"tags/v1.{number}.0": B for number in range(1, 51)} | {"tags/v2.0.0": C, "tags/vx": C}
    await made.polls()
    assert made.ran() == [("app@tags/v1.50.0", "1", "b", "first")]
    made.git.refs |= {"tags/v1.49.1": C}
    await made.polls()
    del made.git.refs["tags/v1.50.0"]
    await made.polls()
    await made.polls()
    assert len(made.ran()) == 1
    made.git.refs |= {"tags/v1.51.0": C}
    await made.polls()
    assert made.ran()[1:] == [("app@tags/v1.51.0", made.ran()[1][1], "c", "first")]
    assert Listed.of(made.status, "app").highest == "1.51.0"


@virtual
async def test_above_the_limit_those_that_moved_last_have_an_entry():
    """The others are remembered by a digest: they run when they move, and take the place of the oldest."""
    watch = {"references": {"branches": {}, "limit": 3}}
    made = many(watch=watch, **{f"heads__b{number}": A for number in range(6)})
    await made.polls()
    assert made.keys() == ["app@heads/b0", "app@heads/b1", "app@heads/b2"]
    [warning] = made.status["warnings"]
    assert (warning["reason"], warning["source"]) == ("TooManyReferences", "app")
    await asyncio.sleep(2)
    made.git.refs |= {"heads/b5": B}
    await made.polls()
    assert made.ran() == [("app@heads/b5", "1", "b", "first")]
    assert made.keys() == ["app@heads/b1", "app@heads/b2", "app@heads/b5"]
    for _ in range(3):
        await made.polls()
    assert len(made.ran()) == 1
    for number in range(3):
        del made.git.refs[f"heads/b{number}"]
    await made.polls()
    await made.polls()
    assert len(made.ran()) == 1
    assert not made.status.get("warnings")


@virtual
async def test_files_are_compared_for_each_reference_by_itself():
    """A new commit without a selected file is recorded for its branch, and runs nothing."""
    made = many(watch={"references": {"branches": {}}, "files": ["docs/**"]}, heads__main=A, heads__x=A)
    await made.polls()
    made.git.refs |= {"heads/x": B}
    await made.polls()
    assert made.ran() == []
    entries = made.status["checkedSources"]
    assert (entries["app@heads/main"]["commitHash"], entries["app@heads/x"]["commitHash"]) == (A, B)


@virtual
async def test_a_run_that_is_refused_is_tried_again_and_the_time_stays_open():
    """What cannot run now is listed again; nothing is recorded of it."""
    made = many(heads__main=A)
    await made.polls()
    made.cluster.drop(Ref("Action", "n", "build"))
    made.git.refs |= {"heads/x": B}
    assert await made.poll() is not None
    assert made.ran() == []
    made.cluster.surroundings()
    await made.polls()
    assert made.ran() == [("app@heads/x", "1", "b", "first")]


@virtual
async def test_switching_to_patterns_and_back_keeps_what_is_known_of_a_branch():
    """A branch at the recorded commit does not run when patterns select it, nor when it is watched alone again."""
    made = many(watch={"reference": {"branch": "main"}}, heads__main=A)
    assert await made.poll() is None
    assert made.ran() == [("app", "1", "a", "first")]
    names = {"names": ["app"]}
    patterns = names | {"watchOn": {"onChangeOnly": True, "references": {"branches": {}}}}
    made.cluster.change(made.ref, spec={"sources": patterns, "firstCheck": "Run"})
    await made.polls()
    made.git.refs |= {"heads/main": B}
    await made.polls()
    assert made.ran()[1:] == [("app@heads/main", "1", "b", "changed")]
    single = names | {"watchOn": {"onChangeOnly": True, "reference": {"branch": "main"}}}
    made.cluster.change(made.ref, spec={"sources": single})
    await made.polls()
    assert len(made.ran()) == 2
    made.git.refs |= {"heads/main": C}
    await made.polls()
    assert made.ran()[2:] == [("app", "2", "c", "changed")]


@virtual
async def test_two_replicas_that_list_at_once_make_one_job_for_each_reference():
    """The run's name is derived from its key, so that both create the same Jobs."""
    made = many(heads__main=A)
    await made.polls()
    made.git.refs |= {f"heads/b{number}": B for number in range(20)}
    made.second += 1
    due = DUE.format(made.second)
    await asyncio.gather(made.check(ref=made.ref, due=due), made.check(ref=made.ref, due=due))
    await made.polls()
    assert sorted(made.ran()) == sorted((f"app@heads/b{number}", "1", "b", "first") for number in range(20))


@virtual
async def test_a_single_reference_is_recorded_as_before():
    """The entry of a single reference has no field of lists, and its check sends no list."""
    made = many(watch={"reference": {"branch": "main"}}, heads__main=A)
    await made.poll()
    [entry] = made.status["checkedSources"].values()
    assert not {"listedAt", "missingSince", "knownReferences", "highestVersion"} & set(entry)
    assert (made.git.lists, made.git.asked) == (0, 1)


@virtual
async def test_debounce_applies_to_each_reference_by_itself():
    """A branch that keeps moving waits until it rests, and holds up no other one."""
    made = many(heads__main=A, heads__x=A)
    await made.polls()
    made.cluster.change(made.ref, spec={"debounce": {"quiet": "10s"}})
    made.git.refs |= {"heads/x": B}
    await made.poll()
    await asyncio.sleep(8)
    made.git.refs |= {"heads/main": B}
    await made.poll()
    assert made.ran() == []
    await asyncio.sleep(3)
    await made.poll()
    assert made.ran() == [("app@heads/x", "1", "b", "changed")]
    await asyncio.sleep(11)
    await made.poll()
    assert sorted(made.ran()) == [("app@heads/main", "1", "b", "changed"), ("app@heads/x", "1", "b", "changed")]
