"""The JSON of every verb that prints one: its published schema is valid, and its outputs fit it."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from git_events_runner.cli.models import OUTPUTS
from git_events_runner.cli.parser import VERBS, parser_for
from git_events_runner.resources.ref import Ref
from tests.cli.conftest import run
from tests.cli.test_check import GOOD
from tests.cli.test_explain import job, status
from tests.cli.test_status import RAN

SCHEMAS = Path(__file__).parents[2] / "docs/schemas"
# By schema: the words of commands that show different parts of it.
COMMANDS = {
    "status": [["status"], ["status", "-A"]],
    "status-of-one": [["status", "ran"], ["status", "new"], ["status", "waits"]],
    "explain": [["explain", "ran"], ["explain", "new"], ["explain", "waits"]],
    "check": [["check", "good.yaml"], ["check", "wrong.yaml"], ["check", "other.yaml", "--offline"]],
    "trigger": [["trigger", "new"], ["trigger", "ran", "--run"], ["trigger", "new", "--wait", "--timeout", "1"]],
    "rerun": [["rerun", "ran"], ["rerun", "ran", "--wait", "--timeout", "1"]],
    "suspend": [["suspend", "new"], ["suspend", "new"]],
    "resume": [["resume", "new"], ["resume", "new"]],
    "doctor": [["doctor"], ["doctor", "--controller-namespace", "default"]],
    "next": [["next", "1h"], ["next", "@daily", "--allow", "1h 0 0 0 1 1 * 2020"], ["next", "good.yaml"]],
}


def validator(name):
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8")))


@pytest.fixture
async def work(cluster, tmp_path, monkeypatch):
    """A trigger that ran, one that is new, one whose Job waits; and manifests in the present folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "wrong.yaml").write_text(GOOD.replace("interval: 1h", "interval: soon"))
    (tmp_path / "other.yaml").write_text(GOOD + "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n")
    await cluster.world()
    await cluster.trigger("ran", status=RAN)
    await cluster.trigger("new", "WebhookTrigger")
    await job(cluster, await cluster.trigger("waits", status=status()), 1, suspend=True)
    return cluster


@pytest.mark.parametrize("name", OUTPUTS)
async def test_outputs_fit_their_published_schema(work, name):
    """JSON and YAML of a verb fit the schema in the documentation, which every verb with JSON has."""
    fits = validator(name)
    fits.check_schema(fits.schema)
    for words in COMMANDS[name]:
        done = await printed(work, *words, "-o", "json")
        fits.validate(done.json)
        assert done.json["apiVersion"] == "cli.git-events-runner.rs/v1"
        if name != "check":
            done = await printed(work, *words, "-o", "yaml")
            fits.validate(yaml.safe_load(done.out))


async def printed(work, *words):
    """How a verb ends; `next` knows no cluster."""
    return run(*words) if words[0] == "next" else await work.run(*words)


def test_every_verb_with_json_has_a_schema():
    """A verb that gets `-o json` is among them."""
    verbs = parser_for(list(VERBS)).commands.choices
    with_json = {verb for verb, parser in verbs.items() for one in parser._actions if "json" in (one.choices or ())}
    assert with_json == {name.removesuffix("-of-one") for name in OUTPUTS}
    assert {file.stem for file in SCHEMAS.iterdir()} == {*OUTPUTS} == {*COMMANDS}


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_schema_requires_each_field_and_allows_more(name):
    """So that a reader may rely on each field, and a later version may add one."""
    schema = validator(name).schema
    for part in (schema, *schema.get("$defs", {}).values()):
        assert set(part["required"]) == set(part["properties"])
        assert "additionalProperties" not in part
        assert all(field["description"] for field in part["properties"].values())


async def test_the_json_of_a_request_has_its_outcome(work):
    """With --wait it has what was followed, its exit code and text; without, nothing of it."""
    done = await work.run("trigger", "new", "--wait", "--timeout", "1", "-o", "json")
    assert (done.code, done.json["outcome"]["exitCode"]) == (1, 1)
    assert done.json["outcome"]["text"].startswith("not ended after 1 s")
    done = await work.run("rerun", "ran", "-o", "json")
    assert (done.code, done.json["outcome"], done.json["request"]) == (0, None, "run")
    assert done.json["sources"] == ["app"]
    assert done.json["token"] in str(
        (await work.client.get(Ref("ScheduleTrigger", "default", "ran")))["metadata"]["annotations"]
    )
