"""Secrets: read when needed, remembered for a limited time, never shown."""

import asyncio
import base64

import pytest

from git_events_runner.edges.kube.secrets import Secrets
from git_events_runner.errors import ApiForbidden, ApiNotFound, ApiUnavailable, SecretUnusable
from tests.flow.virtual import virtual


class Reader:
    """Gives `answer` (an error is raised) and counts."""

    def __init__(self, answer):
        self.answer, self.reads = answer, 0

    async def get(self, ref):
        self.reads += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"data": self.answer}


@pytest.fixture
def now():
    return [0.0]


def cache(reader, now, cache_s=60.0):
    return Secrets(reader=reader, cache_s=cache_s, clock=lambda: now[0])


def encoded(**values):
    return {name: base64.b64encode(value).decode() for name, value in values.items()}


async def test_a_secret_is_read_once_within_its_time(now):
    """And anew after it: a rotated Secret counts within the cache's time."""
    reader = Reader(encoded(token=b"one"))
    secrets = cache(reader, now)
    assert (await secrets.get("n", "s", "token"))["token"] == b"one"
    reader.answer = encoded(token=b"two")
    now[0] = 59.9
    assert (await secrets.get("n", "s", "token"))["token"] == b"one"
    now[0] = 60.0
    assert (await secrets.get("n", "s", "token"))["token"] == b"two"
    assert reader.reads == 2


async def test_what_was_forgotten_is_read_anew(now):
    """A credential that a server refused may have been rotated just now."""
    reader = Reader(encoded(token=b"one"))
    secrets = cache(reader, now)
    await secrets.get("n", "s", "token")
    reader.answer = encoded(token=b"two")
    secrets.forget("n", "s")
    assert (await secrets.get("n", "s", "token"))["token"] == b"two"


async def test_many_who_need_it_at_once_share_a_read(now):
    """A thousand triggers with one credential cost one request."""
    reader = Reader(encoded(token=b"one"))
    secrets = cache(reader, now)
    await asyncio.gather(*(secrets.get("n", "s", "token") for _ in range(50)))
    assert reader.reads == 1


async def test_a_cache_time_of_zero_remembers_nothing(now):
    """As the setting says."""
    reader = Reader(encoded(token=b"one"))
    secrets = cache(reader, now, cache_s=0)
    await secrets.get("n", "s", "token")
    await secrets.get("n", "s", "token")
    assert reader.reads == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ApiNotFound("no"), "SecretNotFound"),
        (ApiForbidden("no"), "SecretForbidden"),
        ({"token": "not base64!"}, "SecretInvalid"),
        ({"token": 5}, "SecretInvalid"),
    ],
)
async def test_what_cannot_be_used_says_why_and_is_remembered_for_two_seconds(now, answer, reason):
    """A storm of requests for a missing Secret is no storm on the API server; creating it helps at once."""
    reader = Reader(answer)
    secrets = cache(reader, now)
    for _ in range(3):
        with pytest.raises(SecretUnusable, match="n/s") as caught:
            await secrets.get("n", "s", "token")
        assert caught.value.reason == reason
    assert reader.reads == 1
    now[0] = 2.0
    reader.answer = encoded(token=b"one")
    assert (await secrets.get("n", "s", "token"))["token"] == b"one"


async def test_an_api_server_that_is_away_is_not_remembered(now):
    """It says nothing about the Secret."""
    reader = Reader(ApiUnavailable("away"))
    secrets = cache(reader, now)
    with pytest.raises(ApiUnavailable):
        await secrets.get("n", "s", "token")
    reader.answer = encoded(token=b"one")
    assert (await secrets.get("n", "s", "token"))["token"] == b"one"


async def test_no_representation_shows_a_value(now):
    """Neither the cache nor what it gives."""
    secrets = cache(Reader(encoded(token=b"hush")), now)
    found = await secrets.get("n", "s", "token")
    assert "hush" not in f"{found!r} {found} {secrets!r}"


async def test_only_the_keys_asked_for_are_kept(now):
    """A file of 700 KiB in a Secret is neither decoded nor kept while nobody asks for its key."""
    reader = Reader(encoded(token=b"one", file=b"x" * 700_000) | {"broken": "not base64!"})
    secrets = cache(reader, now)
    assert await secrets.get("n", "s", "token") == {"token": b"one"}
    assert secrets.held_bytes < 2000


async def test_a_further_key_is_read_with_the_former_ones(now):
    """Two users of a Secret with different keys cost two reads, not one at each turn."""
    reader = Reader(encoded(token=b"one", ca=b"two"))
    secrets = cache(reader, now)
    for _ in range(3):
        assert (await secrets.get("n", "s", "token"))["token"] == b"one"
        assert (await secrets.get("n", "s", "ca"))["ca"] == b"two"
    assert reader.reads == 2


async def test_a_key_that_is_not_there_is_known_to_be_missing(now):
    """A missing key is no reason to read a Secret again within its time."""
    reader = Reader(encoded(token=b"one"))
    secrets = cache(reader, now)
    for _ in range(3):
        assert await secrets.get("n", "s", "other") == {}
    assert reader.reads == 1


async def test_a_value_that_is_too_large_is_refused_by_name(now):
    """A value over 512 KiB is refused with the Secret and the key in the message."""
    secrets = cache(Reader(encoded(token=b"x" * 600_000)), now)
    with pytest.raises(SecretUnusable, match="Secret n/s: the key token has more than 524288 bytes"):
        await secrets.get("n", "s", "token")


async def test_five_hundred_large_secrets_stay_within_the_budget(now):
    """Whatever is read, no more than the budget is kept, and what is read again and again stays usable."""
    reader = Reader(encoded(token=b"x" * 100_000))
    secrets = Secrets(reader=reader, cache_s=60.0, clock=lambda: now[0], kept_bytes=2**20)
    for number in range(500):
        assert len((await secrets.get("evil", f"s{number}", "token"))["token"]) == 100_000
        assert secrets.held_bytes <= 2**20
    for number in range(500):
        secrets.forget("evil", f"s{number}")
    assert secrets.held_bytes == 0


async def test_the_large_secrets_of_a_namespace_drop_none_of_another(now):
    """What a neighbour has read is read again when its time is over, not before."""
    reader = Reader(encoded(token=b"x" * 100_000))
    secrets = Secrets(reader=reader, cache_s=60.0, clock=lambda: now[0], kept_bytes=2**20)
    for number in range(3):
        await secrets.get("good", f"s{number}", "token")
    for number in range(100):
        await secrets.get("evil", f"s{number}", "token")
    reader.reads = 0
    for number in range(3):
        await secrets.get("good", f"s{number}", "token")
    assert reader.reads == 0


async def test_as_many_secrets_are_kept_as_objects_may_name_one(now):
    """With more sources than the budget has place for, small values are read once each within their time."""
    reader = Reader(encoded(token=b"x" * 500))
    secrets = Secrets(reader=reader, cache_s=60.0, clock=lambda: now[0], kept_bytes=2**10, objects=lambda: 50)
    for _ in range(2):
        for number in range(50):
            await secrets.get("n", f"s{number}", "token")
    assert reader.reads == 50


async def test_what_is_too_old_is_dropped(now):
    """Five minutes after their time values are not held until they are requested again."""
    secrets = cache(Reader(encoded(token=b"x" * 100_000)), now)
    await secrets.get("n", "old", "token")
    now[0] = 361.0
    await secrets.get("n", "new", "token")
    assert secrets.held_bytes < 110_000


async def test_a_namespace_has_two_reads_under_way():
    """A hundred Secrets of one namespace do not delay the read of another's."""
    gate, under_way = asyncio.Event(), []

    class Slow:
        async def get(self, ref):
            under_way.append(ref.namespace)
            await gate.wait()
            return {"data": {}}

    secrets = Secrets(reader=Slow(), cache_s=60.0, clock=lambda: 0.0)
    reads = [asyncio.ensure_future(secrets.get("evil", f"s{number}", "token")) for number in range(100)]
    await asyncio.sleep(0)
    reads.append(asyncio.ensure_future(secrets.get("good", "s", "token")))
    for _ in range(5):
        await asyncio.sleep(0)
    assert sorted(under_way) == ["evil", "evil", "good"]
    gate.set()
    await asyncio.gather(*reads)


async def test_a_value_read_before_is_used_for_five_minutes_while_the_api_server_is_away(now):
    """Beyond its time it is used only then, and only as long; a read is tried every five seconds."""
    reader = Reader(encoded(token=b"one"))
    secrets = cache(reader, now)
    await secrets.get("n", "s", "token")
    reader.answer = ApiUnavailable("away")
    for now[0] in (60.0, 61.0, 64.9, 65.0, 359.9):
        assert (await secrets.get("n", "s", "token"))["token"] == b"one"
    assert reader.reads == 4
    now[0] = 360.0
    with pytest.raises(ApiUnavailable):
        await secrets.get("n", "s", "token")


async def test_the_first_answer_after_an_outage_counts(now):
    """A Secret that was rotated or deleted meanwhile is not used any longer."""
    reader = Reader(encoded(token=b"one"))
    secrets = cache(reader, now)
    await secrets.get("n", "s", "token")
    reader.answer, now[0] = ApiUnavailable("away"), 100.0
    await secrets.get("n", "s", "token")
    reader.answer, now[0] = encoded(token=b"two"), 106.0
    assert (await secrets.get("n", "s", "token"))["token"] == b"two"
    reader.answer, now[0] = ApiNotFound("no"), 200.0
    with pytest.raises(SecretUnusable):
        await secrets.get("n", "s", "token")
    reader.answer, now[0] = ApiUnavailable("away"), 203.0
    with pytest.raises(ApiUnavailable):
        await secrets.get("n", "s", "token")


async def test_a_live_value_is_never_an_old_one(now):
    """It is read whatever is known, and an API server that is away is an error."""
    reader = Reader(encoded(token=b"one"))
    secrets = cache(reader, now)
    await secrets.get("n", "s", "token")
    reader.answer = encoded(token=b"two")
    assert (await secrets.get("n", "s", "token", live=True))["token"] == b"two"
    reader.answer = ApiUnavailable("away")
    with pytest.raises(ApiUnavailable):
        await secrets.get("n", "s", "token", live=True)
    assert (await secrets.get("n", "s", "token"))["token"] == b"two"


async def test_a_hundred_that_wait_share_one_failed_read(now):
    """They fail together after one read, not one after another; the next caller reads again."""
    reader = Reader(ApiUnavailable("away"))
    secrets = cache(reader, now)
    found = await asyncio.gather(*(secrets.get("n", "s", "token") for _ in range(100)), return_exceptions=True)
    assert {type(one) for one in found} == {ApiUnavailable}
    assert reader.reads == 1
    reader.answer = encoded(token=b"one")
    assert (await secrets.get("n", "s", "token"))["token"] == b"one"


class Silent:
    """Gives an answer until `silent`; then takes ten seconds to fail."""

    def __init__(self):
        self.silent, self.reads = False, 0

    async def get(self, ref):
        self.reads += 1
        if self.silent:
            await asyncio.sleep(10)
            raise ApiUnavailable("time-out")
        return {"data": encoded(token=b"one")}


@virtual
async def test_a_silent_api_server_delays_a_known_secret_by_two_seconds():
    """A forge waits ten seconds for its answer."""
    reader, clock = Silent(), asyncio.get_running_loop().time
    secrets = Secrets(reader=reader, cache_s=60.0, clock=clock)
    await secrets.get("n", "s", "token")
    reader.silent = True
    await asyncio.sleep(60)
    began_at = clock()
    assert (await secrets.get("n", "s", "token"))["token"] == b"one"
    assert clock() - began_at == pytest.approx(2.0)
    await secrets.get("n", "s", "token")
    assert clock() - began_at == pytest.approx(2.0)


@virtual
async def test_secrets_that_wait_for_their_turn_fail_with_those_before_them():
    """A hundred Secrets of a namespace, two reads at a time of ten seconds each: all have an answer after ten."""
    reader, clock = Silent(), asyncio.get_running_loop().time
    reader.silent = True
    secrets = Secrets(reader=reader, cache_s=60.0, clock=clock)
    wanted = (secrets.get("n", f"s{number}", "token") for number in range(100))
    found = await asyncio.gather(*wanted, return_exceptions=True)
    assert {type(one) for one in found} == {ApiUnavailable}
    assert clock() == pytest.approx(10.0)
    assert reader.reads == 2
