"""Fixes that can be taken out of the product, in the process of a replica alone: does the oracle find that?"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """What is taken out, and the scenarios that are to find it."""

    what: str
    take_out: Callable
    found_by: tuple


MUTANTS: dict = {}
_CRASHES = ("kill -9 before the creation of a Job", "crash loop of short lives")
_DELETED = "the deletion of a Job that waited too long"
_LOST = ("answers of writes lost", "kill -9 after the creation of a Job")


def mutant(name, what, *found_by):
    """Register a function that takes a fix out."""

    def register(function):
        MUTANTS[name] = Mutant(what=what, take_out=function, found_by=found_by)
        return function

    return register


def _replace(owner, name, by):
    assert hasattr(owner, name), f"{owner} has no {name} that could be taken out"
    setattr(owner, name, by)


@mutant("own-clock", "each replica uses its own clock, and times that lie ahead count", "clock of the leader a day off")
def own_clock():
    from git_events_runner.edges.kube.server_clock import ServerClock

    _replace(ServerClock, "wrong", property(lambda _: False))
    _no_time_lies_ahead()


def _no_time_lies_ahead():
    from git_events_runner.rules.ledger import mutations, repair, stored_times

    for module in (mutations, repair, stored_times):
        _replace(module, "lies_ahead", lambda moment, now: False)


@mutant("slow-recovery", "open requests are checked by the leader alone, after 24 s in its memory", *_CRASHES)
def slow_recovery():
    from git_events_runner.flow.checks import open_requests

    _replace(open_requests, "OPEN_S", 24.0)
    _replace(open_requests, "stored_time", lambda text, now: None)
    _replace(open_requests.OpenRequests, "resume", lambda _: None)


@mutant("no-fence", "a replica that was the leader acts on", "leader stalls while its successor fills the slots")
def no_fence():
    from git_events_runner.edges.kube.lease import Fence

    _replace(Fence, "holds", property(lambda _: True))


@mutant("trusted-status", "numbers of a status are used as they are", "status edited by hand")
def trusted_status():
    from git_events_runner.flow import reconciler
    from git_events_runner.rules.ledger import entry, mutations

    _replace(reconciler, "wrong_values", lambda status_writer, now: ())
    for module in (entry, mutations):
        module.min = lambda *numbers: numbers[0] if len(numbers) == 2 else min(*numbers)


@mutant("blocking-log", "log lines are written where they are logged", "standard output unread", "standard output full")
def blocking_log():
    import os

    from git_events_runner.telemetry.log_stream import LogStream

    def write(stream, text):
        os.write(stream._descriptor, text.encode())
        return len(text)

    _replace(LogStream, "write", write)


@mutant("secret-500", "a Secret that cannot be read now is answered with 500", "all replicas cut off")
def secret_500():
    from git_events_runner.edges.kube import secrets
    from git_events_runner.flow.webhooks import authentication

    _replace(secrets, "_STALE_S", 0.0)
    keys = authentication.Authentication._keys

    async def failing(self, trigger, auth, *, live):
        try:
            return await keys(self, trigger, auth, live=live)
        except authentication.Unproven as unproven:
            raise authentication.Unproven(500, authentication.UNREADABLE) from unproven

    _replace(authentication.Authentication, "_keys", failing)


@mutant("deleted-first", "why a Job is deleted is recorded after its deletion", f"kill -9 after {_DELETED}")
def deleted_first():
    from git_events_runner.wiring.deletions import Deletions

    expire = Deletions.expire

    async def careless(self, job, owner, message, fence):
        await self._delete(job, resource_version=str(job.version))
        await expire(self, job, owner, message, fence)

    _replace(Deletions, "expire", careless)


@mutant("trusted-watch", "a Job that leaves the watch counts as deleted", "tracking label removed from running Jobs")
def trusted_watch():
    from git_events_runner.edges.kube import store

    _replace(store, "may_exist", lambda held, last: False)
    _replace(store, "with_tracking", lambda *_: None)


@mutant("random-names", "the name of a Job does not come from its run", *_LOST)
def random_names():
    import secrets

    from git_events_runner.flow.checks import runs

    _replace(runs, "job_name", lambda trigger, key: f"{trigger}-{secrets.token_hex(8)}")


@mutant("recorded-first", "a delivery is answered before it is recorded", "kill -9 before the record of a delivery")
def recorded_first():
    from git_events_runner.flow import status_writer

    write = status_writer.GroupedStatusWriter.write

    async def careless(self, ref, uid, *mutations):
        import asyncio

        if any(type(each).__name__ == "Count" for each in mutations):
            asyncio.get_running_loop().create_task(write(self, ref, uid, *mutations))
            return [status_writer.Outcome.WRITE for _ in mutations]
        return await write(self, ref, uid, *mutations)

    _replace(status_writer.GroupedStatusWriter, "write", careless)


@mutant("restore-unnoticed", "a version that decreases means nothing", "etcd restored from an older snapshot")
def restore_unnoticed():
    from git_events_runner.edges.kube.history import History

    _replace(History, "_turn", lambda *_: None)
