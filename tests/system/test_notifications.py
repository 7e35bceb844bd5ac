"""Commit statuses at a real forge, read back through its API, and webhooks with a real receiver.

The pictures of docs/how-to/notify.md: `GIT_EVENTS_RUNNER_TEST_PICTURES=docs/pictures pytest -k branch_protection`, with
`GIT_EVENTS_RUNNER_TEST_GITEA_ASSETS`, a folder with Gitea's sources and its built front end (`make frontend` there).
"""

import asyncio
import base64
import html
import http.server
import json
import os
import random
import re
import threading
import time
from pathlib import Path

import pytest

from tests.cluster.api import OURS
from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.forges import deliveries as d
from tests.forges.status_apis import operation_of
from tests.servers import browser
from tests.servers.gitea import Refused
from tests.system.conftest import sources
from tests.system.sending import secret
from tests.system.test_forge import COMMIT

CANARY = "canary-5b31568a"
PUSHES = int(os.environ.get("GIT_EVENTS_RUNNER_TEST_PUSHES", "10"))  # 50 take four minutes
PICTURES = os.environ.get("GIT_EVENTS_RUNNER_TEST_PICTURES")  # a folder
PANEL = ".pull-merge-box"


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


def triggers(api, namespace, repo, *names, **watch):
    """Webhook triggers of one repository."""
    api.ours("GitRepo", namespace, "app", {"repoUri": repo.url})
    command = ["sh", "-c", f"echo {CANARY}"]
    env = [{"name": "PASSWORD", "value": CANARY}]
    api.ours("Action", namespace, "build", {"actionJob": {"command": command, "env": env}})
    for name in names:
        api.ours("WebhookTrigger", namespace, name, sources(**watch) | {"webhook": {"multiSource": True}})


def states_of(repo, commit):
    """States by context, oldest first; those of one second are listed in any order, so by their ids."""
    found = {}
    for one in sorted(repo.statuses(commit), key=lambda status: status["id"]):
        found.setdefault(one["context"], []).append(one["status"])
    return found


@pytest.mark.timeout(300 + 20 * PUSHES)
def test_statuses_at_gitea_are_the_final_ones_through_kills_of_the_leader(api, installation, forge, replicas):
    """Pushes, two triggers, the leader killed at random: final and true statuses, at most three writes a run."""
    repo = forge.repository()
    heads = [repo.push({"README": "zero\n"})]
    triggers(api, installation, repo, "every", "latest")
    latest = f"{OURS}/namespaces/{installation}/webhooktriggers/latest"
    api.patch(latest, {"spec": {"concurrency": {"policy": "QueueLatest"}}})
    status_notifier(api, installation, forge, targetUrl="https://ci.example/{namespace}/{trigger}/{run}")
    replica = replicas(0)
    names, ran, kills, chance = ("every", "latest"), {}, 0, random.Random(5)
    kill_before = {chance.randrange(2, PUSHES) for _ in range(max(2, PUSHES // 10))}

    def call():
        return all(replica.post(f"/{installation}/{name}") == 202 for name in names)

    def note():
        """What ran: Jobs may be deleted by the time of the comparison."""
        for name in names:
            for job in api.jobs(installation, name):
                ran[job["metadata"]["name"]] = (f"{installation}/{name}", job["metadata"]["annotations"][COMMIT])

    with Finisher(api, installation, run_s=6.0):
        for number in range(PUSHES):
            if number:
                heads.append(repo.push({"README": f"{number}\n"}))
            wait_until("the webhooks", call, timeout_s=60)
            note()
            if number in kill_before:
                kills += 1
                replica.kill()
                replica.restart()
                replica.wait_ready()

        def all_run():
            note()
            return {(f"{installation}/{name}", heads[-1]) for name in names} <= set(ran.values())

        wait_until("the last Jobs", all_run, timeout_s=60 + 2 * PUSHES)

        def all_ended():
            jobs = [job for name in names for job in api.jobs(installation, name)]
            return all((job.get("status") or {}).get("conditions") for job in jobs)

        wait_until("the ends of the Jobs", all_ended, timeout_s=60 + 8 * PUSHES)
        ended_at = time.monotonic()

        def true():
            """The state that each context of each head has to have, by the Jobs that exist at the end."""
            kept = {job["metadata"]["name"] for name in names for job in api.jobs(installation, name)}
            return {of: "success" if job in kept else "error" for job, of in ran.items()}

        def shown():
            found = {head: states_of(repo, head) for head in heads}
            return {(context, head): states[-1] for head, of in found.items() for context, states in of.items()}

        def is_true():
            """A run that was superseded before it was noted is an error too."""
            found = shown()
            return found == dict.fromkeys(found, "error") | true()

        wait_until("the final statuses", is_true, timeout_s=60, every_s=1.0)
        print(f"final statuses {time.monotonic() - ended_at:.1f} s after the last run, {kills} kills")
    writes = [states for head in heads for states in states_of(repo, head).values()]
    assert sum(map(len, writes)) <= 3 * len(writes) + kills
    newest = max(repo.statuses(heads[-1]), key=lambda status: status["id"])
    assert newest["target_url"].startswith(f"https://ci.example/{installation}/")
    assert newest["description"].startswith("succeeded")
    assert condition(api, installation)[0] == "Delivered"
    assert not any("pending" in states[-1:] for states in writes)
    assert CANARY not in json.dumps([repo.statuses(head) for head in heads])
    assert "Traceback" not in replica.process.text()


def merge(forge, repo, number):
    """The forge's answer to a request to merge a pull request: 200, or 405 if a status is missing."""
    try:
        forge.api("POST", f"{repo.api_path}/pulls/{number}/merge", {"Do": "merge"})
    except Refused as refused:
        return refused.status
    return 200


def shown(forge, repo, number, name):
    """What people see of the statuses on the page of a pull request; a picture of it where one is wanted."""
    path = f"/{repo.full_name}/pulls/{number}"
    if PICTURES:
        target = Path(PICTURES) / f"pull-request-{name}.png"
        asyncio.run(browser.picture(f"{forge.url}{path}", target, PANEL, login=forge.log_in))
    page = forge.page(path)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


def test_a_branch_protection_that_requires_the_status_merges_only_what_succeeded(api, installation, forge, replicas):
    """Refused without a run and after a failed one; merged after the corrected commit has run."""
    repo = forge.repository()
    repo.push({"README": "one\n"})
    repo.git("branch", "change", "main")
    repo.push({"README": "two\n"}, branch="change")
    rule = {"rule_name": "main", "enable_status_check": True, "status_check_contexts": [f"{installation}/one"]}
    forge.api("POST", f"{repo.api_path}/branch_protections", rule)
    number = repo.pull_request("change")
    triggers(api, installation, repo, "one", reference={"branch": "change"})
    status_notifier(api, installation, forge)
    assert merge(forge, repo, number) == 405
    replica = replicas(0)
    outcome = {"failing": True, "held": True}
    state = lambda head: states_of(repo, head).get(f"{installation}/one", [""])[-1]  # noqa: E731

    class Held(Finisher):
        def finish(self, job):
            if not outcome["held"]:
                super().finish(job)

    with Held(api, installation, failing=lambda _job: outcome["failing"]):
        wait_until("the webhook", lambda: replica.post(f"/{installation}/one") == 202)
        head = repo.head("change")
        wait_until("the first status", lambda: state(head) == "pending", timeout_s=60)
        assert merge(forge, repo, number) == 405
        assert f"{installation}/one" in shown(forge, repo, number, "pending")
        outcome["held"] = False
        wait_until("the failed status", lambda: state(head) == "failure", timeout_s=60)
        assert merge(forge, repo, number) == 405
        assert re.search(rf"{installation}/one\W+failed after", shown(forge, repo, number, "failed"))
        outcome["failing"] = False
        head = repo.push({"README": "three\n"}, branch="change")
        wait_until("the webhook", lambda: replica.post(f"/{installation}/one") == 202)
        wait_until("the status", lambda: state(head) == "success", timeout_s=60)
        assert re.search(rf"{installation}/one\W+succeeded in", shown(forge, repo, number, "succeeded"))
    wait_until("the merge", lambda: merge(forge, repo, number) == 200)


def test_the_description_of_the_running_forge_is_the_one_of_the_tests(forge):
    """What Gitea publishes of its API has the same path, fields and states as tests/forges/apis/gitea.yaml."""
    published = json.loads(forge.page("/swagger.v1.json"))
    operation = operation_of("gitea")
    found = published["paths"][operation.path]["post"]
    assert {one["name"] for one in found["parameters"] if one["in"] == "path"} == {
        one["name"] for one in operation.parameters
    }
    [body] = [one for one in found["parameters"] if one["in"] == "body"]
    fields = published["definitions"][body["schema"]["$ref"].rpartition("/")[2]]["properties"]
    assert set(fields) == set(operation.body["properties"])
    assert set(fields["state"]["enum"]) == set(operation.body["properties"]["state"]["enum"])
    assert published["basePath"] == "/api/v1"


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
