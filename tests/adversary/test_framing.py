"""Item 9: git servers of a tenant that send bytes without end which are no content."""

import pytest

from tests.adversary.conditions import problems
from tests.adversary.servers import served
from tests.cluster.plane import wait_until
from tests.edges.git import attacks
from tests.system.conftest import sources

_TRIGGERS = 8


@pytest.mark.parametrize(
    "script",
    [
        attacks.endless_continue,
        attacks.endless_hints,
        attacks.endless_extension,
        attacks.endless_trailers,
        attacks.endless_small_chunks,
    ],
)
def test_item_9_framing_without_end(estate, script):
    """Eight triggers ask such a server every second: each question ends soon in an error, and nobody else waits."""
    estate.start()
    tenant, evil = estate.tenant, estate.evil
    tenant.ours("Action", evil, "build", {"actionJob": {"command": ["true"]}})
    with served(script) as url, estate.watched(seconds=6):
        for number in range(_TRIGGERS):
            name = f"s{number}"
            tenant.ours("GitRepo", evil, name, {"repoUri": f"{url}/{number}"})
            spec = sources()
            spec["sources"]["names"] = [name]
            tenant.ours("ScheduleTrigger", evil, name, spec | {"schedule": {"interval": "1s"}})
        found = wait_until("conditions of all", lambda: problems(estate, _TRIGGERS), timeout_s=60, every_s=0.5)
    assert {reason for reason, _ in found.values()} == {"ProtocolError"}
