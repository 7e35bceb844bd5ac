"""The documentation's site: it builds without a warning, shows every page, and its search finds the field's words."""

import contextlib
import functools
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.servers import browser as chromium

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
    "cron": "how-to/nightly/",
    "TZ=Europe/Berlin": "how-to/nightly/",
    "service account": "how-to/deploy/",
    "kubectl logs": "how-to/failed-run/",
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
    "maxRunningJobs": "reference/",
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


# The pages among the results, best first; none yet, or no longer, is null.
_RESULTS = """() => {
    const links = [...document.querySelectorAll(".md-search-result__item > a.md-search-result__link")];
    return links.length ? links.map(link => link.href) : null;
}"""
_FIRST = 5


class _Pages(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Nothing is logged."""


@contextlib.contextmanager
def published(site):
    """The address of the site on a free port."""
    handler = functools.partial(_Pages, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


async def test_the_search_lists_the_page_among_the_first_results(site):
    """Each of the searches, typed into the site's own field in a browser, has the page among the first results."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            browser = await stack.enter_async_context(chromium.started())
        except chromium.Unavailable as missing:
            pytest.skip(str(missing))
        url = stack.enter_context(published(site))
        page = await browser.new_page()
        await page.goto(url)
        field = page.locator(".md-search__input")
        await field.focus()
        missed = {}
        for words, wanted in SEARCHES.items():
            await _type(field, "")
            await page.wait_for_function(f"({_RESULTS})() === null")
            await _type(field, words)
            results = await (await page.wait_for_function(_RESULTS)).json_value()
            found = list(dict.fromkeys(re.split("[?#]", link.removeprefix(url))[0] for link in results))
            if wanted not in found[:_FIRST]:
                missed[words] = found[:_FIRST]
    assert missed == {}


async def _type(field, words):
    await field.fill(words)
    await field.dispatch_event("keyup")  # the search waits for a key


def test_every_alert_has_a_runbook(index):
    """An alert without a section would wake people without advice."""
    rules = (ROOT / "helm/git-events-runner/templates/monitoring/prometheusrule.yaml").read_text()
    alerts = set(re.findall(r"alert: (\w+)", rules))
    sections = {location.partition("#")[2] for location in index if location.startswith("runbooks/#")}
    assert {name.lower() for name in alerts} == sections
