"""The documentation's site: it builds without a warning, shows every page, and its search finds the field's words."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What users search, and a page that has to be among those that contain all the words.
SEARCHES = {
    "SSRF": "git/",
    "deduplication": "webhooks/",
    "exactly-once": "guarantees/",
    "idempotent": "guarantees/",
    "replay protection": "webhooks/",
    "leader election": "guarantees/",
    "rate limiting": "git/",
    "trust on first use": "ssh/",
    "host key": "ssh/",
    "deploy key": "how-to/private-repository/",
    "fine-grained token": "how-to/private-repository/",
    "x-access-token": "how-to/private-repository/",
    "monorepo": "how-to/monorepo/",
    "nightly": "how-to/nightly/",
    "cron": "kinds/scheduletrigger/",
    "TZ=Europe/Berlin": "how-to/nightly/",
    "service account": "how-to/deploy/",
    "kubectl logs": "tutorials/first-trigger/",
    "suspend": "runs/",
    "QueueLatest": "runs/",
    "Forbid": "runs/",
    "run now": "runs/",
    "firstCheck": "runs/",
    "PodSecurity": "tenancy/",
    "OpenShift": "clusters/",
    "Kueue": "clusters/",
    "Istio": "clusters/",
    "NetworkPolicy": "chart/",
    "cert-manager": "runbooks/",
    "ImagePullBackOff": "troubleshooting/",
    "exit code 137": "troubleshooting/",
    "quota": "troubleshooting/",
    "GitEventsRunnerNoLeader": "runbooks/",
    "etcd": "guarantees/",
    "v0.4": "migration/",
    "Argo Events": "comparison/",
    "Tekton": "comparison/",
    "submodules": "cloning/",
    "sparse": "cloning/",
    "changed files": "pods/",
    "status page": "status-page/",
    "maxRunningJobs": "tenancy/",
    "notifications": "notifications/",
    "commit status": "how-to/notify/",
    "branch protection": "how-to/notify/",
    "notified": "how-to/notify/",
    "uninstall": "how-to/uninstall/",
    "cosign": "support/",
    "arm64": "support/",
    "release by tag": "how-to/release-by-tag/",
    "semver": "how-to/release-by-tag/",
    "preview environment": "references/",
    "pull request": "how-to/preview-pull-requests/",
    "merge request": "references/",
    "fork": "references/",
    "debounce": "runs/",
    "retry": "runs/",
    "rerun": "how-to/failed-run/",
    "JobFailed": "how-to/failed-run/",
    "rotate": "how-to/rotate-secrets/",
    "rollback": "how-to/upgrade/",
    "organisation": "how-to/organisation-webhook/",
    "pipx": "how-to/install-cli/",
    "docker run": "how-to/install-cli/",
    "completion": "how-to/install-cli/",
    "at the same time": "how-to/one-at-a-time/",
    "terraform": "how-to/one-at-a-time/",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site's folder."""
    folder = tmp_path_factory.mktemp("site")
    command = [Path(sys.executable).parent / "mkdocs", "build", "--site-dir", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_it_requests_nothing_from_third_parties(site):
    """No page loads a script, a style sheet, a font or a picture of another host."""
    loaded = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=["']?(https?://[^"' >]+)""")
    found = {url for page in site.rglob("*.html") for url in loaded.findall(page.read_text())}
    assert {url for url in found if not url.startswith("https://github.com/git-events-runner/")} == set()


@pytest.fixture(scope="module")
def index(site):
    """Location → text of each section in the search index, in lower case."""
    documents = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    return {one["location"]: f"{one['title']} {one['text']}".lower() for one in documents}


@pytest.mark.parametrize(("words", "page"), SEARCHES.items())
def test_the_search_finds_what_users_search(index, words, page):
    """A section of the page contains the words."""
    found = {location.partition("#")[0] for location, text in index.items() if words.lower() in text}
    assert page in found, sorted(found)


def test_every_alert_has_a_runbook(index):
    """An alert without a section would wake people without advice."""
    rules = (ROOT / "helm/git-events-runner/templates/monitoring/prometheusrule.yaml").read_text()
    alerts = set(re.findall(r"alert: (\w+)", rules))
    sections = {location.partition("#")[2] for location in index if location.startswith("runbooks/#")}
    assert {name.lower() for name in alerts} == sections
