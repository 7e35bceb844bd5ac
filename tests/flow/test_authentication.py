"""Whether a request may speak for a trigger when its Secret, or the API server, cannot tell."""

import base64
import time
from types import SimpleNamespace

import pytest

from git_events_runner.edges.kube.secrets import Secrets
from git_events_runner.errors import ApiTooManyRequests, ApiUnavailable
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.ledger.report import Report
from git_events_runner.rules.problems import WEBHOOK, Problem
from git_events_runner.rules.rate_limit import Rate
from tests.flow.hooks import served, trigger
from tests.forges import deliveries as d


def raw(path, delivery):
    """The bytes of one request."""
    headers, body = delivery
    lines = [f"POST {path} HTTP/1.1", "Host: hooks", "Connection: close", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items())]).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize("failure", [ApiUnavailable("time-out"), ApiTooManyRequests("later")])
async def test_a_secret_that_cannot_be_read_now_is_answered_with_503(failure):
    """With Retry-After, as nothing is wrong with the Secret; a Secret that does not exist stays a 500."""
    async with served() as port:
        port.secrets.failure = failure
        answer = await port.raw(raw("/ns/github", d.github()))
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"\r\nretry-after: 2\r\n" in answer.lower()
        port.secrets.failure = None
        assert await port.post("/ns/broken", d.github()) == 500
        assert await port.post("/ns/github", d.github()) == 202


async def test_signed_times_are_compared_with_the_corrected_clock():
    """Where this machine's clock is an hour behind the API server's, what a forge signs now is not of the future."""
    async with served(ahead_s=3600.0) as port:
        assert await port.post("/ns/standard-webhooks", d.standard(at=time.time() + 3600)) == 202
        assert await port.post("/ns/standard-webhooks", d.standard()) == 401


async def test_an_outage_uses_up_no_failures():
    """The forge's first delivery after the outage is accepted, not refused with 429."""
    rates = {"address": Rate(burst=2, seconds=1000), "trigger": Rate(burst=2, seconds=1000)}
    async with served(rates=rates) as port:
        port.secrets.failure = ApiUnavailable("time-out")
        assert [await port.post("/ns/github", d.github()) for _ in range(5)] == [503] * 5
        port.secrets.failure = None
        assert await port.post("/ns/github", d.github()) == 202


async def test_a_hook_of_a_namespace_is_sent_again_when_one_trigger_could_not_tell():
    """The triggers that could take it have it; the sender gets 503 so that the others get it, too."""
    objects = [trigger(name, "github", secret=name, match=True) for name in ("known", "unread")]
    async with served(objects=objects) as port:
        port.secrets.unread = {"unread"}
        assert await port.post("/ns", d.github()) == 503
        assert [one[0] for one in port.counter.counted] == ["known"]
        port.secrets.unread = set()
        assert await port.post("/ns", d.github()) == 202
        assert sorted({one[0] for one in port.counter.counted}) == ["known", "unread"]


async def test_uniform_refusals_do_not_show_by_an_outage_which_triggers_exist():
    """A trigger that cannot tell is answered as one that does not exist."""
    async with served(uniform=True) as port:
        port.secrets.failure = ApiUnavailable("time-out")
        assert await port.post("/ns/github", d.github()) == await port.post("/ns/none", d.github()) == 404


async def test_a_delivery_that_finds_the_secret_unusable_has_it_checked():
    """Once in five seconds, whatever arrives; an API server that is away is no finding."""
    async with served() as port:
        for _ in range(5):
            assert await port.post("/ns/broken", d.github()) == 500
        assert [ref.name for ref in port.rechecked] == ["broken"]
        port.secrets.failure = ApiUnavailable("time-out")
        assert await port.post("/ns/github", d.github()) == 503
        assert [ref.name for ref in port.rechecked] == ["broken"]


async def test_a_delivery_that_is_proved_ends_the_report_of_an_unusable_secret():
    """The condition does not wait for the next check."""
    made = trigger("mended", "github", secret="known")
    problem = Problem(reason="SecretNotFound", message="m")
    report = Report(source=None, part=WEBHOOK, problem=problem, generation=1, now="")
    made["status"] = combine({}, [report])[0]
    async with served(objects=[made]) as port:
        assert await port.post("/ns/mended", d.github(secret="wrong")) == 403
        assert port.rechecked == []
        assert await port.post("/ns/mended", d.github()) == 202
        assert [ref.name for ref in port.rechecked] == ["mended"]


@pytest.mark.parametrize("value", [b"", b"x" * 2000, None])
async def test_a_secret_that_was_corrected_is_used_by_the_next_delivery(value):
    """What was read before does not count where it cannot be used: the Secret is read again."""
    data = {} if value is None else {"token": base64.b64encode(value).decode()}
    reader = SimpleNamespace(data=data)

    async def get(_):
        return {"data": reader.data}

    reader.get = get
    secrets = Secrets(reader=reader, cache_s=60.0, clock=lambda: 0.0)
    await secrets.get("ns", "known", "token")
    reader.data = {"token": base64.b64encode(d.SECRET.encode()).decode()}
    async with served(objects=[trigger("late", "github", secret="known")], secrets=secrets) as port:
        assert await port.post("/ns/late", d.github()) == 202
