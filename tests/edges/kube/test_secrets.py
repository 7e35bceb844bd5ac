"""Secrets: read when needed, remembered for a limited time, never shown."""

import asyncio
import base64

import pytest

from git_events_runner.edges.kube.secrets import Secrets
from git_events_runner.errors import ApiForbidden, ApiNotFound, ApiUnavailable, SecretUnusable


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
    assert (await secrets.get("n", "s"))["token"] == b"one"
    reader.answer = encoded(token=b"two")
    now[0] = 59.9
    assert (await secrets.get("n", "s"))["token"] == b"one"
    now[0] = 60.0
    assert (await secrets.get("n", "s"))["token"] == b"two"
    assert reader.reads == 2


async def test_what_was_forgotten_is_read_anew(now):
    """A credential that a server refused may have been rotated just now."""
    reader = Reader(encoded(token=b"one"))
    secrets = cache(reader, now)
    await secrets.get("n", "s")
    reader.answer = encoded(token=b"two")
    secrets.forget("n", "s")
    assert (await secrets.get("n", "s"))["token"] == b"two"


async def test_many_who_need_it_at_once_share_a_read(now):
    """A thousand triggers with one credential cost one request."""
    reader = Reader(encoded(token=b"one"))
    secrets = cache(reader, now)
    await asyncio.gather(*(secrets.get("n", "s") for _ in range(50)))
    assert reader.reads == 1


async def test_a_cache_time_of_zero_remembers_nothing(now):
    """As the setting says."""
    reader = Reader(encoded(token=b"one"))
    secrets = cache(reader, now, cache_s=0)
    await secrets.get("n", "s")
    await secrets.get("n", "s")
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
            await secrets.get("n", "s")
        assert caught.value.reason == reason
    assert reader.reads == 1
    now[0] = 2.0
    reader.answer = encoded(token=b"one")
    assert (await secrets.get("n", "s"))["token"] == b"one"


async def test_an_api_server_that_is_away_is_not_remembered(now):
    """It says nothing about the Secret."""
    reader = Reader(ApiUnavailable("away"))
    secrets = cache(reader, now)
    with pytest.raises(ApiUnavailable):
        await secrets.get("n", "s")
    reader.answer = encoded(token=b"one")
    assert (await secrets.get("n", "s"))["token"] == b"one"


async def test_no_representation_shows_a_value(now):
    """Neither the cache nor what it gives."""
    secrets = cache(Reader(encoded(token=b"hush")), now)
    found = await secrets.get("n", "s")
    assert "hush" not in f"{found!r} {found} {secrets!r}"
