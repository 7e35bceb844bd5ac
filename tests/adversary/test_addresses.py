"""Item 23: sources and proxies of a tenant that lead to this machine and into the cluster; what conditions tell."""

import itertools
import socket
from contextlib import closing

from tests.cluster.api import OURS, Refused
from tests.cluster.plane import wait_until
from tests.system.conftest import sources

# The neighbour's git server is on 127.0.0.1, all else of the machine is what a source must not reach.
CONFIG = """
git: {allowedNetworks: [127.0.0.1/32], clusterNetworks: [10.96.0.0/12]}
"""
HOSTS = ("127.0.0.2", "[::1]", "2130706434", "[::ffff:127.0.0.2]", "10.96.0.1", "169.254.169.254")


def specs(port):
    """GitRepos that lead to a port of each host: over HTTP, SSH, and through a proxy there."""
    for host in HOSTS:
        if not host.isdigit():
            yield {"repoUri": f"http://{host}:{port}/x.git"}
            yield {"repoUri": f"ssh://git@{host}:{port}/a/b"}
        yield {"repoUri": "http://git.invalid/x.git", "proxy": {"url": f"http://{host}:{port}"}}
        yield {"repoUri": "http://git.invalid/x.git", "proxy": {"url": f"socks5://{host}:{port}"}}


def test_item_23_no_source_of_a_tenant_leads_into_the_machine(estate):
    """Open, closed and foreign ports have one condition, nothing is connected to, and the neighbour notices nothing."""
    with closing(socket.create_server(("127.0.0.2", 0))) as opened, closing(_listener6()) as opened6:
        ports = (opened.getsockname()[1], opened6.getsockname()[1], 1)
        estate.configure(CONFIG)
        estate.start(loopback=False)
        names = []
        for spec in itertools.chain.from_iterable(specs(port) for port in ports):
            name = f"s{len(names)}"
            if _created(estate, name, spec):
                names.append(name)
        assert len(names) > 40
        estate.api.ours("Action", estate.evil, "build", {"actionJob": {"command": ["true"]}})
        spec = sources(onChangeOnly=False)
        with estate.watched(seconds=6):
            for name in names:
                spec["sources"] = spec["sources"] | {"names": [name]}
                estate.tenant.ours("ScheduleTrigger", estate.evil, name, spec | {"schedule": {"interval": "5s"}})
            found = wait_until("conditions of all", lambda: _problems(estate, names), timeout_s=90, every_s=0.5)
        assert {reason for reason, _ in found.values()} == {"AddressRefused"}
        texts = {text.partition(": ")[2] for _, text in found.values()}  # after the source's name
        assert len(texts) == 1, texts
        for listener in (opened, opened6):
            listener.setblocking(False)
            assert _nobody_came(listener)


def _listener6():
    return socket.create_server(("::1", 0), family=socket.AF_INET6)


def _nobody_came(listener):
    try:
        listener.accept()
    except BlockingIOError:
        return True
    return False


def _created(estate, name, spec):
    """Whether the API server takes the source; the few forms that the CRD's pattern refuses are no question."""
    try:
        estate.tenant.ours("GitRepo", estate.evil, name, spec)
    except Refused:
        return False
    return True


def _problems(estate, names):
    """Reason and message of what hinders each trigger, once something hinders all; None: not yet."""
    found = {}
    for trigger in estate.api.items(f"{OURS}/namespaces/{estate.evil}/scheduletriggers"):
        conditions = (trigger.get("status") or {}).get("conditions") or ()
        for condition in conditions:
            if condition["type"] in {"Stalled", "Reconciling"} and condition["status"] == "True":
                found[trigger["metadata"]["name"]] = (condition["reason"], condition["message"])
    return found if set(found) == set(names) else None
