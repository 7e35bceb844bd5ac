"""Linters of chart, manifests, images, scripts and workflows; each runs where its files are. Findings: exit code 1."""

import subprocess
import sys
import time
from pathlib import Path

import kubernetes_validate
import yaml

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.kinds import GROUP
from git_events_runner.resources.parse import parse
from tests.repo import actionlint, helm
from tests.repo.rendered import CASES, render_case

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
OLDEST, NEWEST = "1.30", "1.34"  # versions of Kubernetes whose schemas the objects have to fit


def chart():
    """`helm lint --strict` with the values of every case."""
    for name, values in CASES.items():
        report = helm.lint(values)
        found = [m for m in report["messages"] if m["severity"] > 1]  # 1 is information
        yield from (f"helm lint ({name}): {m['path']}: {m['error']}" for m in [*found, *report["errors"]])


def objects():
    """Rendered objects and plain manifests against the schemas of Kubernetes; unknown fields are findings."""
    seen = set()
    documents = [(name, one) for name in CASES for one in render_case(name)]
    for path in sorted((ROOT / "manifests").rglob("*.yaml")):
        documents += [(path.name, one) for one in yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader) if one]
    for where, document in documents:
        definition = document["kind"] == "CustomResourceDefinition"  # the same six everywhere but for their labels
        text = yaml.dump(document["spec"] if definition else document, Dumper=yaml.CSafeDumper)
        if document["apiVersion"].startswith(("monitoring.coreos.com", "gateway.networking")) or text in seen:
            continue
        seen.add(text)
        if document["apiVersion"].startswith(GROUP):
            yield from _of_ours(where, document)
            continue
        for version in (OLDEST, NEWEST):
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                yield f"{where}: {document['kind']} {document['metadata']['name']} ({version}): {error}"


def _of_ours(where, document):
    metadata = {"namespace": "default"} | document["metadata"]
    try:
        parse(document | {"metadata": metadata})
    except InvalidObject as error:
        yield f"{where}: {document['kind']} {metadata['name']}: {error}"


def yamls():
    """Style and traps of YAML files (duplicate keys, truthy words)."""
    yield from run("yamllint", "--strict", "--config-file", "tests/repo/yamllint.yaml", "manifests", "helm")


def schema():
    """The chart's schema is one."""
    yield from run("check-jsonschema", "--check-metaschema", "helm/git-events-runner/values.schema.json")


def images():
    """Dockerfiles."""
    files = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("Dockerfile.*") if path.suffix != ".dockerignore")
    if files:
        yield from run("hadolint", *files)


def scripts():
    """Shell scripts, by their first line."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [name for name in listed.stdout.split() if _is_shell(ROOT / name)]
    yield from run("shellcheck", "--external-sources", *files)


def workflows():
    """Workflows of the forge: security (zizmor), schema, syntax and scripts (actionlint, where Go is)."""
    files = [str(path.relative_to(ROOT)) for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))]
    yield from run("zizmor", "--offline", "--no-progress", "--quiet", ".github/workflows")
    yield from run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    yield from run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
    program = actionlint.build()
    if program is None:
        print("workflows: actionlint needs Go, which this machine does not have")
    else:
        yield from run(program, "-shellcheck", BIN / "shellcheck", *files)


def _is_shell(path):
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(64).split(b"\n")[0].endswith((b"bash", b"/sh"))


def run(*command):
    """Findings of a program of the virtual environment."""
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"{command[0]}:\n{done.stdout}{done.stderr}".rstrip()


def main():
    """Run every linter; what each found, and how long it took."""
    failed = False
    for linter in (chart, objects, yamls, schema, images, scripts, workflows):
        started = time.monotonic()
        findings = list(linter())
        print(f"{linter.__name__:10} {time.monotonic() - started:5.1f} s  {len(findings) or 'no'} findings")
        for finding in findings:
            print(f"  {finding}")
        failed = failed or bool(findings)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
