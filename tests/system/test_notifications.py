"""Commit statuses at a real forge, read back through its API, and webhooks with a real receiver."""

import base64
import http.server
import json
import threading

import pytest

from tests.cluster.api import OURS
from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.forges import deliveries as d
from tests.system.conftest import sources
from tests.system.sending import secret

CANARY = "canary-5b31568a"


def status_notifier(api, namespace, forge, *, token=None, **fields):
    """A Notifier that sets commit statuses at the forge, with a token of its own."""
    token = token or forge.token(scopes=("write:repository",))
    secret(api, namespace, "status", token)
    spec = {
        "type": "commit-status",
        "commitStatus": {"forge": "gitea", "apiUrl": forge.url},
        "secretRef": {"name": "status", "key": "token"},
    }
    api.ours("Notifier", namespace, "status", spec | fields)


def condition(api, namespace, name="status"):
    """Reason and message of the condition Ready."""
    status = api.get(f"{OURS}/namespaces/{namespace}/notifiers/{name}").get("status") or {}
    return next(((one["reason"], one["message"]) for one in status.get("conditions") or ()), None)


def triggers(api, namespace, repo, *names):
    """Webhook triggers of one repository."""
    api.ours("GitRepo", namespace, "app", {"repoUri": repo.url})
    command = ["sh", "-c", f"echo {CANARY}"]
    env = [{"name": "PASSWORD", "value": CANARY}]
    api.ours("Action", namespace, "build", {"actionJob": {"command": command, "env": env}})
    for name in names:
        api.ours("WebhookTrigger", namespace, name, sources() | {"webhook": {"multiSource": True}})


def states_of(repo, commit):
    """States by context, oldest first; those of one second are listed in any order, so by their ids."""
    found = {}
    for one in sorted(repo.statuses(commit), key=lambda status: status["id"]):
        found.setdefault(one["context"], []).append(one["status"])
    return found


@pytest.mark.timeout(280)
def test_statuses_at_gitea_are_the_final_ones_through_kills_of_the_leader(api, installation, forge, replicas):
    """Two triggers, pushes, the leader killed between them: no status stays pending, at most three writes a run."""
    repo = forge.repository()
    heads = [repo.push({"README": "zero\n"})]
    triggers(api, installation, repo, "one", "two")
    status_notifier(api, installation, forge, targetUrl="https://ci.example/{namespace}/{trigger}/{run}")
    replica = replicas(0)
    names = ("one", "two")
    contexts = [f"{installation}/{name}" for name in names]

    def call():
        return all(replica.post(f"/{installation}/{name}") == 202 for name in names)

    with Finisher(api, installation):
        for number in range(6):
            if number:
                heads.append(repo.push({"README": f"{number}\n"}))
            wait_until("the webhooks", call, timeout_s=60)
            wanted = (number + 1) * len(names)
            wait_until("the Jobs", lambda wanted=wanted: len(api.jobs(installation)) >= wanted, timeout_s=60)
            if number % 2:
                replica.kill()
                replica.restart()
                replica.wait_ready()

        def all_true():
            found = [states_of(repo, head) for head in heads]
            return all(one.get(context, [""])[-1] == "success" for one in found for context in contexts)

        wait_until("the final statuses", all_true, timeout_s=90)
    kills = 3
    writes = sum(len(states) for head in heads for states in states_of(repo, head).values())
    assert writes <= 3 * len(heads) * len(names) + kills
    newest = max(repo.statuses(heads[-1]), key=lambda status: status["id"])
    assert newest["target_url"].startswith(f"https://ci.example/{installation}/")
    assert newest["description"].startswith("succeeded")
    assert condition(api, installation)[0] == "Delivered"
    assert CANARY not in json.dumps([repo.statuses(head) for head in heads])
    assert "Traceback" not in replica.process.text()


def test_a_failed_run_is_a_failed_status_and_a_wrong_token_a_condition(api, installation, forge, replicas):
    """The condition says what to do; the corrected Notifier sends the message that was refused."""
    repo = forge.repository()
    head = repo.push({"README": "one\n"})
    triggers(api, installation, repo, "one")
    status_notifier(api, installation, forge, token="0" * 40)
    replica = replicas(0)
    with Finisher(api, installation, failing=lambda _job: True):
        wait_until("the webhook", lambda: replica.post(f"/{installation}/one") == 202)
        refused = wait_until("the condition", lambda: condition(api, installation))
        assert refused == ("DeliveryRefused", "HTTP status 401: the token is not accepted: renew it in the Secret")
        assert repo.statuses(head) == []
        good = base64.b64encode(forge.token(scopes=("write:repository",)).encode()).decode()
        api.patch(f"/api/v1/namespaces/{installation}/secrets/status", {"data": {"token": good}})
        path = f"{OURS}/namespaces/{installation}/notifiers/status"
        api.patch(path, {"spec": {"targetUrl": "https://ci.example/{run}"}})
        wait_until("the status", lambda: states_of(repo, head).get(f"{installation}/one", [""])[-1] == "failure")
    wait_until("the condition", lambda: condition(api, installation)[0] == "Delivered")


class Receiver:
    """A server that keeps what it is sent; `answers` are statuses for the next requests, else 204."""

    def __init__(self):
        self.got, self.answers = [], []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = outer.answers.pop(0) if outer.answers else 204
                outer.got.append((status, dict(self.headers), body))
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Print nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    @property
    def accepted(self):
        return [json.loads(body)["type"] for status, _, body in self.got if status == 204]


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.close()


def test_a_webhook_gets_each_end_once_and_no_secret(api, installation, forge, replicas, receiver):
    """503 is tried again with the same id; clone credential, command and environment are in no message."""
    repo = forge.repository()
    repo.push({"README": f"{CANARY}\n"})
    triggers(api, installation, repo, "one")
    secret(api, installation, "key", d.SECRET)
    spec = {"type": "webhook", "address": receiver.url, "secretRef": {"name": "key", "key": "token"}}
    api.ours("Notifier", installation, "hook", spec)
    receiver.answers = [503, 503]
    replica = replicas(0)
    with Finisher(api, installation):
        wait_until("the webhook", lambda: replica.post(f"/{installation}/one") == 202)
        wait_until("the message", lambda: receiver.accepted == ["run.succeeded"])
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1
    assert CANARY not in repr(receiver.got)
    assert d.SECRET not in repr(receiver.got)


def test_a_redirect_is_not_followed(api, installation, forge, replicas, receiver):
    """It is a condition that says what to do."""
    repo = forge.repository()
    repo.push({"README": "one\n"})
    triggers(api, installation, repo, "one")
    secret(api, installation, "key", d.SECRET)
    spec = {"type": "webhook", "address": receiver.url, "secretRef": {"name": "key", "key": "token"}}
    api.ours("Notifier", installation, "hook", spec)
    receiver.answers = [307]
    replica = replicas(0)
    with Finisher(api, installation):
        wait_until("the webhook", lambda: replica.post(f"/{installation}/one") == 202)
        found = wait_until("the condition", lambda: condition(api, installation, "hook"))
    assert found == ("DeliveryRefused", "HTTP status 307: redirects are not followed; write the final address")
    assert len(receiver.got) == 1
