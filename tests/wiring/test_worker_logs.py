"""Last lines of the log of a failed run in messages: read from the cluster, masked, or a reason why there are none."""

import base64
import contextlib
import json
from types import SimpleNamespace

import pytest

from git_events_runner.errors import ApiForbidden, ApiInvalid, ApiNotFound, ApiUnavailable
from git_events_runner.rules.notifications.chat import chat_message
from git_events_runner.rules.notifications.request import Accepted
from git_events_runner.rules.notifications.webhook import payload_of
from git_events_runner.settings.runtime import GitConfig
from git_events_runner.wiring.messenger import Messenger
from git_events_runner.wiring.worker_logs import WorkerLogs
from tests.rules.notifications.samples import START, run
from tests.servers.receiver import Receiver
from tests.wiring.test_message_types import Secrets, notifier_of, spec_of

CANARY = "canary-5b31568a"


def pod_of(uid="job-uid", **spec):
    """A pod of the Job."""
    worker = {"name": "action-worker", "env": [{"name": "ACTION_JOB_X", "value": "workdir"}]}
    metadata = {"name": "build-abc-x", "ownerReferences": [{"uid": uid, "controller": True}]}
    return {"metadata": metadata, "spec": {"containers": [worker | spec.pop("worker", {})], **spec}}


class Pods:
    """The API server with one pod, its log, and Secrets; an error in place of any of them is raised."""

    def __init__(self, pod=None, log=b"", secrets=()):
        self.pods = [pod_of() if pod is None else pod] if pod is not False else []
        self._log, self.secrets, self.asked = log, dict(secrets), []

    async def list_page(self, kind, *, namespace, label_selector, limit):
        self.asked.append((kind.name, namespace, label_selector))
        if isinstance(self.pods, list):
            return SimpleNamespace(items=self.pods)
        raise self.pods

    @contextlib.asynccontextmanager
    async def log(self, namespace, pod, container, *, follow, bounds):
        self.asked.append((pod, container, bounds["tailLines"]))
        limit_bytes = int(bounds["limitBytes"])
        if isinstance(self._log, Exception):
            raise self._log

        async def pieces():
            for at in range(0, min(len(self._log), limit_bytes), 4096):
                yield self._log[at : min(at + 4096, limit_bytes)]

        yield pieces()

    async def get(self, ref):
        found = self.secrets.get(ref.name, ApiNotFound(f"{ref} does not exist"))
        if isinstance(found, Exception):
            raise found
        if isinstance(found, dict):
            return found
        return {"data": {"key": base64.b64encode(found.encode()).decode()}}


async def read(pods, count=3):
    return await WorkerLogs(pods, variables_prefix=lambda: "ACTION_JOB_").read(run("Failed"), count)


NAMED = {"worker": {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "one", "key": "key"}}}]}}


async def test_the_last_lines_are_read_of_the_pod_of_that_job_and_masked():
    """Values of Secrets and of variables; those of our own variables are no secrets."""
    pod = pod_of(worker={"env": [*NAMED["worker"]["env"], {"name": "ACTION_JOB_WORKDIR", "value": "workdir"}]})
    pod["spec"]["containers"][0]["env"].append({"name": "B", "value": "literal-value"})
    pods = Pods(pod, b"first\ncd workdir\n" + CANARY.encode() + b" literal-value\nexit 3\n", {"one": CANARY})
    found = await read(pods)
    assert (found.lines, found.problem) == (("cd workdir", "*** ***", "exit 3"), None)
    assert pods.asked == [("Pod", "team", "job-name=build-abc"), ("build-abc-x", "action-worker", "6")]


class Tailed(Pods):
    """As `Pods`, with the last lines that are asked for, which are cut off at their end."""

    @contextlib.asynccontextmanager
    async def log(self, namespace, pod, container, *, follow, bounds):
        self.asked.append((pod, container, bounds["tailLines"]))
        lines = self._log if isinstance(self._log, list) else self._log.splitlines(keepends=True)
        tail = b"".join(lines[-int(bounds["tailLines"]) :])

        async def pieces():
            yield tail[: int(bounds["limitBytes"])]

        yield pieces()


@pytest.mark.parametrize("count", [3, 50])
async def test_the_last_lines_are_read_where_lines_are_long(count):
    """The API server cuts off the end of what it is asked for, which has the reason of a failure."""
    log = b"".join(b"%d %s\n" % (number, b"x" * 9000) for number in range(200)) + b"exit 3\n"
    pods = Tailed(log=log)
    found = await read(pods, count)
    assert (found.lines[-1], found.problem) == ("exit 3", None)
    assert len(pods.asked) <= 8
    assert len(found.lines) >= 2


async def test_lines_before_one_that_is_too_long_are_read():
    """It may have a part of a value at its end, so it is left out."""
    found = await read(Tailed(log=b"one\ntwo\n" + CANARY.encode() * 9000 + b"\n"))
    assert found.lines[-1] == "two"


async def test_no_line_begins_inside_a_long_one():
    """Kubelets keep a long line as several ones: a value that is divided there would not be masked."""
    log = [b"x" * 16000, b"y" * 15990 + CANARY[:10].encode(), CANARY[10:].encode() + b"z" * 9000 + b"\n", b"exit 3\n"]
    found = await read(Tailed(pod_of(**NAMED), log, {"one": CANARY}))
    assert found.lines == ("exit 3",)


async def test_the_worker_is_found_behind_a_sidecar():
    """An admission webhook may put one before it."""
    pod = pod_of(worker={"env": [{"name": "ACTION_JOB_WORKDIR", "value": "/workdir"}]})
    pod["spec"]["containers"].insert(0, {"name": "proxy", "env": [{"name": "X", "value": "1"}]})
    pods = Pods(pod, b"exit 3\n")
    assert (await read(pods)).lines == ("exit 3",)
    assert pods.asked[1][1] == "action-worker"


async def test_a_value_that_is_cut_off_at_the_end_is_not_sent():
    """The log is read up to a number of bytes: a part of a value is masked by nothing."""
    log = b"a line.\n" * 4095 + CANARY.encode() * 9
    found = await read(Pods(pod_of(**NAMED), log, {"one": CANARY}))
    assert found.lines == ("a line.",) * 3


@pytest.mark.parametrize(
    ("pods", "why"),
    [
        (Pods(pod_of(**NAMED), b"x\n"), "cannot all be read and masked"),
        (Pods(pod_of(**NAMED), b"x\n", {"one": ApiForbidden("no")}), "cannot all be read and masked"),
        (Pods(pod_of(**NAMED), b"x\n", {"one": ApiUnavailable("no")}), "cannot all be read and masked"),
        (
            Pods(pod_of(imagePullSecrets=[{"name": f"s{n}"} for n in range(21)]), b"x\n"),
            "cannot all be read and masked",
        ),
        (Pods(False), "is deleted with its pod"),
        (Pods(pod_of(uid="another"), b"x\n"), "is deleted with its pod"),
        (Pods(log=ApiForbidden("no")), "rbac.controller.workerLogsNamespaces"),
        (Pods(log=ApiInvalid("PodInitializing")), "has not started"),
        (Pods(log=ApiUnavailable("down")), "gave no answer"),
        (Pods(log=ApiNotFound("deleted")), "is deleted with its pod"),
    ],
)
async def test_why_there_are_no_lines(pods, why):
    """A Secret that cannot be read: no line may be sent. A pod of another Job with the same label is not read."""
    found = await read(pods)
    assert found.lines == ()
    assert why in found.problem


BEFORE, CREATED, AFTER = "2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z", "2026-01-02T03:04:07Z"


def secret_of(*, created=BEFORE, written=BEFORE, labelled=BEFORE):
    """A Secret, and when what of it was written."""
    fields = [
        {"manager": "a", "time": written, "fieldsV1": {"f:data": {"f:key": {}}}},
        {"manager": "b", "time": labelled, "fieldsV1": {"f:metadata": {"f:labels": {}}}},
    ]
    return {"metadata": {"creationTimestamp": created, "managedFields": fields}, "data": {"key": "eA=="}}


@pytest.mark.parametrize(
    ("secret", "lines"),
    [
        (secret_of(), ("exit 3",)),
        (secret_of(written=CREATED, labelled=AFTER), ("exit 3",)),
        (secret_of(written=AFTER), ()),
        (secret_of(created=AFTER, written=AFTER), ()),
    ],
)
async def test_the_values_that_the_pod_was_given_are_known_or_no_line_is_sent(secret, lines):
    """A Secret that was renewed, or created again, while the worker ran has others."""
    pod = pod_of(**NAMED)
    pod["metadata"]["creationTimestamp"] = CREATED
    found = await read(Pods(pod, b"exit 3\n", {"one": secret}))
    assert found.lines == lines
    assert bool(lines) != ("was changed since" in (found.problem or ""))


@pytest.mark.parametrize("kind", ["webhook", "cloudevents", "chat"])
async def test_a_message_about_a_failed_run_has_the_lines(kind):
    """As many as the Notifier says, without the canary that the worker printed; of a success there are none."""
    pods = Pods(pod_of(**NAMED), f"token {CANARY}\nexit 3\n".encode(), {"one": CANARY})
    git = GitConfig()
    with Receiver().running() as receiver:
        receiver.answers = [200, 200]
        spec, secret = spec_of(kind, receiver)
        sender = Messenger(
            secrets=Secrets(secret),
            git=lambda: git,
            own_addresses=(),
            loopback=True,
            simulate=False,
            deadline_s=30.0,
            now=lambda: START,
            logs=WorkerLogs(pods, variables_prefix=lambda: "ACTION_JOB_"),
        )
        try:
            target = notifier_of(spec | {"logLines": 2, "events": ["Failed", "Succeeded"]})
            assert await sender.send(target, run("Failed")) == Accepted()
            assert await sender.send(target, run("Succeeded")) == Accepted()
        finally:
            await sender.close()
    failed, succeeded = [body.decode() for _, _, body in receiver.got]
    assert CANARY not in failed + succeeded
    assert "exit 3" in failed
    assert "exit 3" not in succeeded
    if kind != "chat":
        assert '"log":["token ***","exit 3"]' in failed


def test_lines_in_a_chat_are_plain_text_and_bounded():
    """The last ones, if there is no room for all; and why there are none."""
    report = run("Failed", log=("first", *("x" * 400,) * 4, "<!channel> *end*"))
    body = chat_message(report, None).body
    assert body.endswith("‹!channel› ∗end∗")
    assert "first" not in body
    assert len(body) < 2000
    assert chat_message(run("Failed", log_problem="its log is gone"), None).body.endswith("its log is gone")


def test_a_payload_says_why_there_are_no_lines():
    """Receivers can tell it from a worker that printed nothing."""
    data = payload_of(run("Failed", log_problem="its log is deleted with its pod"), None, START)["data"]
    assert data["logProblem"] == "its log is deleted with its pod"
    assert "log" not in json.loads(json.dumps(data))
