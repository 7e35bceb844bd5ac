"""`check`: every wrong manifest ends with 2 and one line for each problem, with file, line, field and what to do."""

import copy
import random
import re
from xml.etree import ElementTree as ET

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.conftest import run
from tests.local.mutations import SEEDS, mutated

GOOD = """\
apiVersion: git-events-runner.rs/v1alpha1
kind: GitRepo
metadata:
  name: app
spec:
  repoUri: https://git.example.com/team/app.git
  authConfig:
    type: token
    secretRef: {name: forge}
---
apiVersion: git-events-runner.rs/v1alpha1
kind: Action
metadata:
  name: build
spec:
  actionJob:
    command: [make]
    serviceAccount: builder
    labels: {team: web}
---
apiVersion: git-events-runner.rs/v1alpha1
kind: ScheduleTrigger
metadata:
  name: nightly
spec:
  sources:
    names: [app]
    watchOn:
      onChangeOnly: true
      reference: {branch: main}
      files: ["docs/**"]
  schedule: {interval: 1h}
  action:
    kind: Action
    name: build
---
apiVersion: git-events-runner.rs/v1alpha1
kind: WebhookTrigger
metadata:
  name: hook
spec:
  sources:
    names: [app]
  webhook:
    multiSource: true
    authConfig:
      type: github
      secretRef: {name: hook}
      key: token
  action: {kind: Action, name: build}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: git-events-runner-config
data:
  runtimeConfig: |
    action:
      maxRunningJobs: 4
    policy:
      minimumIntervalSeconds: 60
"""
# What is replaced by what (the problem is in its lines), the field, and a part of the text.
WRONG = [
    ("kind: GitRepo\n", "kind: Gitrepo\n", "kind", "did you mean GitRepo?"),
    ("kind: ScheduleTrigger\n", "kind: SchduleTrigger\n", "kind", "did you mean ScheduleTrigger?"),
    ("runner.rs/v1alpha1\nkind: Action", "runner.rs/v1\nkind: Action", "apiVersion", "v1alpha1"),
    ("metadata:\n  name: app\nspec", "metadata:\n  naming: app\nspec", "metadata.name", "is required"),
    ("  name: build\nspec", "  name: Build_1\nspec", "metadata.name", "Invalid value"),
    ("repoUri: https://git.example.com/team/app.git", "repoUri: git.example.com", "spec.repoUri", "http(s)://"),
    (
        "repoUri: https://git.example.com/team/app.git",
        "repoUrl: https://git.example.com/a",
        "spec.repoUrl",
        "no such field",
    ),
    ("repoUri: https://git", "repoUri: https://me:secret@git", "spec.repoUri", ""),
    ("    type: token\n", "    type: tokn\n", "spec.authConfig.type", "did you mean token?"),
    ("    secretRef: {name: forge}\n", "    secret: {name: forge}\n", "spec.authConfig.secret", "no such field"),
    ("    secretRef: {name: forge}\n", "    secretRef: {}\n", "spec.authConfig.secretRef.name", "is required"),
    ("    command: [make]", "    command: make", "spec.actionJob.command", "must be a list"),
    ("    command: [make]", "    commandx: [make]", "spec.actionJob.commandx", "did you mean command?"),
    ("    serviceAccount: builder", "    serviceAccount: [builder]", "spec.actionJob.serviceAccount", "string"),
    ("    labels: {team: web}", "    labels: [team]", "spec.actionJob.labels", "mapping"),
    (
        "    labels: {team: web}",
        "    activeDeadlineSeconds: soon",
        "spec.actionJob.activeDeadlineSeconds",
        "whole number",
    ),
    ("    names: [app]\n    watchOn", "    names: [ap]\n    watchOn", "spec.sources.names[0]", "no GitRepo default/ap"),
    (
        "  schedule: {interval: 1h}",
        "  schedule: {interval: 1h}\n  retry: {limit: 1, on: [Lost]}",
        "spec.retry.on[0]",
        "Lost",
    ),
    ("    names: [app]\n    watchOn", "    names: app\n    watchOn", "spec.sources.names", "must be a list"),
    ("    names: [app]\n    watchOn", "    name: [app]\n    watchOn", "spec.sources.name", "no such field"),
    (
        "      onChangeOnly: true",
        "      onChangeOnly: yes please",
        "spec.sources.watchOn.onChangeOnly",
        "true or false",
    ),
    ("      onChangeOnly: true\n", "", None, "spec.sources.watchOn.onChangeOnly: is required"),
    ("{branch: main}", "{branch: main, tag: v1}", "spec.sources.watchOn.reference", "exactly one"),
    ("{branch: main}", "{branch: 'release/*'}", "spec.sources.watchOn.reference.branch", "patterns go into"),
    ("{branch: main}", "{commit: abc}", "spec.sources.watchOn.reference.commit", "full commit id"),
    ('files: ["docs/**"]', "files: [1]", "spec.sources.watchOn.files[0]", "must be a string"),
    ('files: ["docs/**"]', "files: docs", "spec.sources.watchOn.files", "must be a list"),
    ("{interval: 1h}", "{interval: hourly}", "spec.schedule.interval", "write it as 1h 15m or 30s"),
    ("{interval: 1h}", "{interval: 1h, cron: '* * * * *'}", "spec.schedule", "exactly one"),
    ("{interval: 1h}", "{cron: '61 * * * *'}", "spec.schedule.cron", "61"),
    ("{interval: 1h}", "{interval: 30s}", "spec.schedule.interval", "the installation allows 60 s or longer"),
    ("    kind: Action\n    name", "    kind: Actoin\n    name", "spec.action.kind", "did you mean Action?"),
    ("    name: build\n---", "    name: buildx\n---", "spec.action.name", "no Action default/buildx"),
    ("  schedule: {interval: 1h}\n", "", None, "spec.schedule: is required"),
    ("    multiSource: true", "    multiSource: maybe", "spec.webhook.multiSource", "true or false"),
    ("      type: github", "      type: githb", "spec.webhook.authConfig.type", "did you mean github?"),
    ("      key: token\n", "", None, "spec.webhook.authConfig.key: is required"),
    ("      maxRunningJobs: 4", "      maxRuningJobs: 4", "data.runtimeConfig", "did you mean maxRunningJobs?"),
    ("      maxRunningJobs: 4", "      maxRunningJobs: many", "data.runtimeConfig", "whole number"),
    ("spec:\n  repoUri", "spec:\n\trepoUri", "", "the indentation has a tab"),
    ("  action: {kind: Action, name: build}", "  action: {kind: Action, name: build", "", "is no YAML"),
    ("metadata:\n  name: hook", "metadata:\n  name: nightly\n  namespace: [x]", "metadata.namespace", "must be text"),
    ("apiVersion: v1\nkind: ConfigMap", "apiVersion: v1\nkind: Secrets", "kind", "did you mean Secret"),
]


def checked(folder, text, *options):
    """How `check` ends on a text."""
    path = folder / "m.yaml"
    path.write_text(text, encoding="utf-8")
    return run("check", str(path), "--offline", *options)


def test_good_manifests(tmp_path):
    """Manifests without a problem end with 0; offline, Secrets may exist elsewhere."""
    done = checked(tmp_path, GOOD)
    assert (done.code, done.out) == (0, "5 objects: no problems\n")


@pytest.mark.parametrize(("old", "new", "field", "text"), WRONG)
def test_wrong_manifests(tmp_path, old, new, field, text):
    """A wrong manifest ends with 2; its line has file, line, field and what is wrong."""
    assert GOOD.count(old) >= 1
    changed = GOOD.replace(old, new, 1)
    done = checked(tmp_path, changed)
    assert done.code == 2, done
    lines = [line for line in done.out.splitlines() if "/m.yaml" in line]
    assert all(re.match(r"\S+/m\.yaml:\d+: \S", line) for line in lines), lines
    assert any(text in line for line in lines), lines
    if field:
        first = changed[: changed.index(new)].count("\n") + 1
        places = [range(first, first + new.count("\n") + 1)] if new else []
        mine = [line for line in lines if f": {field}: " in line]
        assert mine, lines
        assert all(int(re.search(r"m\.yaml:(\d+)", line)[1]) in places[0] for line in mine), mine


def test_there_are_forty():
    """The list is as long as is promised, without repetitions."""
    assert len({(old, new) for old, new, *_ in WRONG}) >= 40


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(which=st.integers(0, len(SEEDS) - 1), chance=st.randoms(use_true_random=False))
def test_mutated_manifests(tmp_path, which: int, chance: random.Random):
    """Any change of any manifest ends with 0 or 2, never with a traceback, and every problem has its line."""
    obj = mutated(copy.deepcopy(SEEDS[which]), chance)
    done = checked(tmp_path, yaml.safe_dump_all([obj], sort_keys=False, allow_unicode=True), "-o", "json")
    assert done.code in {0, 2}
    problems = done.json["problems"]
    assert bool(problems) is (done.code == 2)
    assert all(one["text"] and (one["line"] or one["file"] == "-" or not one["field"]) for one in problems)


def test_sarif(tmp_path):
    """SARIF has file, line and message of each problem."""
    done = checked(tmp_path, GOOD.replace("interval: 1h", "interval: soon"), "-o", "sarif")
    assert done.code == 2
    [found] = done.json["runs"]
    [result] = found["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("m.yaml")
    assert place["region"]["startLine"] == GOOD[: GOOD.index("interval: 1h")].count("\n") + 1
    assert result["message"]["text"].startswith("spec.schedule.interval: ")


def test_junit(tmp_path):
    """JUnit has a case for each file, and its problems as a failure."""
    done = checked(tmp_path, GOOD.replace("interval: 1h", "interval: '<soon>'"), "-o", "junit")
    suite = ET.fromstring(done.out)  # noqa: S314  our own output
    assert (suite.tag, suite.get("failures"), done.code) == ("testsuite", "1", 2)
    assert "<soon>" in suite.find("testcase/failure").text
    suite = ET.fromstring(checked(tmp_path, GOOD, "-o", "junit").out)  # noqa: S314  our own output
    assert suite.get("failures") == "0"


def test_other_objects_are_skipped(tmp_path):
    """Objects of other APIs are skipped with one line each."""
    text = GOOD + "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"
    done = checked(tmp_path, text)
    assert done.code == 0
    assert "skipped: " in done.out
    assert "Deployment" in done.out


def test_a_file_that_is_not_there(tmp_path):
    """A path that does not exist ends with 2 and one line."""
    done = run("check", str(tmp_path / "none.yaml"), "--offline")
    assert done.code == 2
    assert "none.yaml: no such file or folder" in done.out


async def test_names_of_a_cluster(cluster, tmp_path):
    """With a cluster, names may mean objects that exist there, and those that do not are problems."""
    path = tmp_path / "m.yaml"
    documents = GOOD.split("---\n")
    path.write_text("---\n".join(documents[2:4]))
    done = await cluster.run("check", str(path))
    assert done.code == 2
    assert "spec.sources.names[0]: no GitRepo default/app in these manifests or the cluster" in done.out
    await cluster.world()
    await cluster.create("Secret", "hook", {"stringData": {"token": "0123456789abcdef"}})
    done = await cluster.run("check", str(path))
    assert (done.code, "2 objects: no problems" in done.out) == (0, True)
    assert "the runtime config cannot be read" in done.out


def test_without_a_cluster(tmp_path):
    """Without a cluster and without --offline it ends with 3, since references cannot be checked."""
    path = tmp_path / "m.yaml"
    path.write_text(GOOD)
    done = run("check", str(path), "--kubeconfig", str(tmp_path / "none"))
    assert done.code == 3
