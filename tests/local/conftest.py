"""Fixtures of the tests of `local`: a served repository, and manifests in a folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.gitserver import Repository, serving

MANIFESTS = """\
apiVersion: git-events-runner.rs/v1alpha1
kind: GitRepo
metadata: {name: app}
spec:
  repoUri: URL
---
apiVersion: git-events-runner.rs/v1alpha1
kind: Action
metadata: {name: deploy}
spec:
  actionJob:
    command: COMMAND
---
apiVersion: git-events-runner.rs/v1alpha1
kind: ScheduleTrigger
metadata: {name: nightly}
spec:
  sources:
    names: [app]
  schedule: {interval: 1s}
  action: {kind: Action, name: deploy}
---
apiVersion: git-events-runner.rs/v1alpha1
kind: WebhookTrigger
metadata: {name: push}
spec:
  sources:
    names: [app]
  webhook: {multiSource: true}
  action: {kind: Action, name: deploy}
"""


def write(folder: Path, *, url: str = "http://127.0.0.1:9/app.git", command: str = "[sh, run.sh]") -> Path:
    """The manifests in a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "all.yaml").write_text(MANIFESTS.replace("URL", url).replace("COMMAND", command))
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """A repository with a run.sh, served over HTTP."""
    made = Repository(tmp_path)
    made.push(run_sh="echo running $ACTION_JOB_TRIGGER_SOURCE_COMMIT\n")
    with serving(made) as served:
        yield served
