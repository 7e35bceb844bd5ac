"""Every value of the original's chart, in a running installation: seen where it works, with pods that are ready."""

import contextlib

import pytest

from tests.cluster.plane import wait_until
from tests.e2e import values as v
from tests.e2e.custom import SECRET, Custom
from tests.e2e.effects import FIRST, HOOK, SECOND, THIRD
from tests.e2e.node import ADDRESS
from tests.telemetry.collector import collecting

_TENANT = v.TENANTS[0]


def test_no_value_is_left_out():
    """Each leaf of the original's file is looked at below, and so are TLS from a Secret and what has an opposite."""
    told = {*FIRST, *SECOND, *THIRD}
    assert set(v.leaves(v.ORIGINAL)) - told == set()
    given = set(v.leaves(v.first(""))) | set(v.leaves(v.second(""))) | set(v.leaves(v.third("")))
    assert {path for path in told if not any(each.startswith(path) for each in given)} == set()


@pytest.fixture(scope="module")
def custom(cluster, release):
    """The first values; and a Job that ran under them."""
    with collecting(ADDRESS) as collector:
        made = Custom(cluster, collector)
        made.prepare()
        made.trigger("run")
        made.install(v.first(made.endpoint))
        try:
            made.jobs = [_run(made, v.BALANCER)]
            yield made
        finally:
            made.close()


def _run(custom, host, number=1):
    """Push, and call the webhook; its Job, which succeeds."""
    custom.repository.push({"README": "one\n", "n": f"{number}\n"})

    def taken():
        with contextlib.suppress(OSError):  # the node's rules for the address follow the Service a moment later
            return custom.call(HOOK, SECRET, host)[0] == 202

    wait_until("the call is taken", taken, timeout_s=90, every_s=0.5)
    return _succeeded(custom, "run", number)


def _succeeded(custom, name, number=1):
    job, condition = custom.cluster.finished(_TENANT, name, number)
    assert condition["type"] == "Complete", f"{condition}\n{custom.cluster.told(_TENANT)}"
    return job


@pytest.mark.parametrize("path", FIRST)
def test_a_value_of_the_first_installation(custom, path):
    """It is seen in the cluster, in the process or in an answer."""
    seen, wanted = FIRST[path](custom)
    assert seen == wanted


@pytest.fixture(scope="module")
def second(custom):
    """The release upgraded to the other values; a Job that ran under them, and two that wanted to run at once."""
    custom.account(v.NAMESPACE, "own")
    for name in ("slow-1", "slow-2"):
        custom.trigger(name, "slow")
    custom.upgrade(v.second(custom.endpoint))
    host = custom.service["clusterIP"]
    custom.jobs.append(_run(custom, host, 2))
    for name in ("slow-1", "slow-2"):
        assert custom.call(f"/{_TENANT}/{name}", SECRET, host)[0] == 202
    custom.slow = [_succeeded(custom, name)["status"] for name in ("slow-1", "slow-2")]
    return custom


@pytest.mark.parametrize("path", SECOND)
def test_a_value_of_the_second_installation(second, path):
    """As of the first, most of them the other way."""
    seen, wanted = SECOND[path](second)
    assert seen == wanted


@pytest.fixture(scope="module")
def third(second):
    """Without roles of ours: the account has one from somebody else. A Job runs all the same."""
    second.allow_everything("own")
    second.upgrade(v.third(second.endpoint))
    second.jobs.append(_run(second, second.service["clusterIP"], 3))
    return second


@pytest.mark.parametrize("path", THIRD)
def test_a_value_of_the_third_installation(third, path):
    """What the other two have is not there."""
    seen, wanted = THIRD[path](third)
    assert seen == wanted


def test_the_namespace_goes_with_the_release(third):
    """`createNamespace`: what Helm has made, Helm removes."""
    third.close()
    gone = lambda: not third.exists("/api/v1/namespaces", v.NAMESPACE)  # noqa: E731
    wait_until("the namespace is gone", gone, timeout_s=60)
