"""Renders the chart without a helm binary and without a cluster, through Helm's own library."""

import json
from pathlib import Path

import helm_python
import yaml
from helm_python import _native

CHART = Path(__file__).parents[2] / "helm" / "git-events-runner"
KUBE_VERSION = "v1.34.4"


def render(values=None, *, name="ger", namespace="ger", api_versions=(), kube_version=KUBE_VERSION):
    """Template path → text, NOTES.txt and tests among them; HelmError when Helm refuses."""
    options = {"name": name, "namespace": namespace, "kube_version": kube_version, "api_versions": list(api_versions)}
    with helm_python.Chart.load(str(CHART)) as chart:
        answer = _native.call_string("helm_render", chart._raw(), json.dumps(values or {}), json.dumps(options))
    prefix = "git-events-runner/templates/"
    return {path.removeprefix(prefix): text for path, text in json.loads(answer).items()}


def objects(values=None, **options):
    """The rendered objects in the order of their templates, those of `helm test` among them."""
    rendered = render(values, **options)
    texts = [text for path, text in sorted(rendered.items()) if path.endswith(".yaml")]
    return [found for text in texts for found in yaml.load_all(text, Loader=yaml.CSafeLoader) if found]


def lint(values=None):
    """What `helm lint --strict` has to say."""
    return helm_python.lint(str(CHART), values or {}, strict=True, kube_version=KUBE_VERSION)
