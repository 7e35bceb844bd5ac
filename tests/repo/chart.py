"""What of the chart is generated: CRDs, the runtime config's values and schema, README, and the plain manifests."""

import json
import re
from functools import cache

import yaml

from git_events_runner.resources.crds import crds, to_yaml
from git_events_runner.settings import RuntimeConfig, default_runtime_config_yaml
from tests.repo.helm import CHART, objects

FOLDER = "helm/git-events-runner"
_CONFIG_START = "# @section Runtime config (reloaded while running)\n"
_HELM_KEYS = ("helm.sh/chart", "app.kubernetes.io/managed-by", "helm.sh/resource-policy")
_EVERYWHERE = {"rbac": {"controller": {"secretsNamespaces": ["*"], "jobsNamespaces": ["*"]}}}


def files():
    """Path → text of every generated file of chart and manifests that needs no rendering."""
    made = {f"{FOLDER}/files/crds/{crd['spec']['names']['plural']}.yaml": to_yaml(crd) for crd in crds()}
    values = with_runtime_config((CHART / "values.yaml").read_text())
    return made | {
        f"{FOLDER}/files/runtime-defaults.yaml": default_runtime_config_yaml(helm_template=True),
        f"{FOLDER}/values.yaml": values,
        f"{FOLDER}/values.schema.json": with_runtime_schema((CHART / "values.schema.json").read_text()),
        f"{FOLDER}/README.md": readme(values),
        "docs/chart-values.md": page(values),
    }


def manifests():
    """Path → text of the plain manifests; rendered from the chart as it stands in the folder."""
    return {
        "manifests/install.yaml": plain({}, "the controller serves its own namespace, git-events-runner"),
        "manifests/install-cluster-wide.yaml": plain(
            _EVERYWHERE, "the controller serves every namespace, and may read Secrets and run Jobs there"
        ),
    }


# --- values ----------------------------------------------------------------------------------------------------------


def with_runtime_config(text):
    """values.yaml with the runtime config's defaults and meanings at its end, from the models."""
    head = text.partition(_CONFIG_START)[0]
    document = yaml.safe_load(default_runtime_config_yaml(helm_template=True))
    return head + _CONFIG_START + "\nruntimeConfig:\n" + "".join(_values(document, RuntimeConfig, "  "))


def _values(document, model, indent):
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for key, value in document.items():
        field = fields[key]
        if isinstance(value, dict) and hasattr(field.annotation, "model_fields"):
            yield f"{indent}{key}:\n"
            yield from _values(value, field.annotation, indent + "  ")
        else:
            text = to_yaml({key: value}).rstrip("\n").replace("\n", f"\n{indent}")
            yield f"{indent}# -- {field.description}\n{indent}{text}\n"


def with_runtime_schema(text):
    """values.schema.json with the runtime config's schema; texts may be templates, so that only types are judged."""
    schema = json.loads(text)
    found = RuntimeConfig.model_json_schema(by_alias=True)
    definitions = found.pop("$defs")
    schema["properties"]["runtimeConfig"] = _schema(found, definitions)
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _schema(node, definitions):
    if "$ref" in node:
        node = {**definitions[node["$ref"].rpartition("/")[2]], **{k: v for k, v in node.items() if k != "$ref"}}
    dropped = {"title", "default"} | ({"pattern", "minLength", "maxLength"} if node.get("type") == "string" else set())
    made = {key: value for key, value in node.items() if key not in dropped}
    for key in ("properties", "additionalProperties", "items"):
        inner = made.get(key)
        if key == "properties" and inner:
            made[key] = {name: _schema(value, definitions) for name, value in inner.items()}
        elif isinstance(inner, dict):
            made[key] = _schema(inner, definitions)
    for key in ("anyOf", "allOf"):
        if key in made:
            made[key] = [_schema(one, definitions) for one in made[key]]
    if made.get("type") == "object" and "properties" in made:
        made["type"] = ["object", "null"]
    return made


# --- README ----------------------------------------------------------------------------------------------------------


def readme(values):
    """README.md of the chart: its text, and a table of every value with its meaning and default."""
    text = (CHART.parents[1] / "docs" / "chart.md").read_text().rstrip("\n")
    parts = [re.sub(r"\]\((?=[a-z]+\.md)", "](../../docs/", text), "", "## Values", ""]
    parts += ["Generated from the comments of `values.yaml` by `make generate`.", *_tables(values, "###")]
    return "\n".join(parts) + "\n"


def page(values):
    """The site's page of every value; pages that a meaning names are links."""
    parts = ["# Values of the chart", ""]
    parts += ["Every value with its default, as in the chart's `values.yaml`. [The Helm chart](chart.md) explains how"]
    parts += ["they work together, [Install](how-to/install.md) how to set them. Helm refuses an unknown value, and a"]
    parts += ["wrong one."]
    text = "\n".join([*parts, *_tables(values, "##")]) + "\n"
    return re.sub(r"\bdocs/([a-z/-]+)\.md(?!\))", r"[\1](\1.md)", text)


def _tables(values, heading):
    for section, rows in sections(values):
        yield from ["", f"{heading} {section}", "", "| key | default | meaning |", "| --- | --- | --- |"]
        yield from (f"| `{key}` | {_default(default)} | {text} |" for key, default, text in rows)


def sections(values):
    """[(section, [(key, default, meaning)])] of a values file with `# @section` and `# --` comments."""
    found, stack, meaning = [], [], None
    document = yaml.safe_load(values)
    for line in values.splitlines():
        stripped = line.strip()
        if stripped.startswith("# @section "):
            found.append((stripped.removeprefix("# @section "), []))
        elif stripped.startswith("# -- "):
            meaning = stripped.removeprefix("# -- ")
        elif key := re.match(r"( *)([A-Za-z][A-Za-z0-9]*):", line):
            depth = len(key[1]) // 2
            stack = [*stack[:depth], key[2]]
            if meaning is not None:
                default = document
                for step in stack:
                    default = default[step]
                found[-1][1].append((".".join(stack), default, meaning.replace("|", "\\|")))
                meaning = None
    return [(section, rows) for section, rows in found if rows]


def _default(value):
    if value in ("", None):
        return ""
    return f"`{json.dumps(value, ensure_ascii=False)}`".replace("|", "\\|")


# --- plain manifests -------------------------------------------------------------------------------------------------


def plain(values, what):
    """The chart's objects as one file for `kubectl apply --server-side -f`, without what only Helm reads."""
    name = "git-events-runner"
    chosen = {"tests": {"enabled": False}, "crds": {"keep": False}, **values}
    chosen |= {"controllerNamespace": name, "createNamespace": True, "admissionPolicy": {"jobs": {"force": True}}}
    made = [_without_helm(found) for found in objects(chosen, name=name, namespace=name)]
    first = ("Namespace", "CustomResourceDefinition", "ServiceAccount")
    made.sort(key=lambda found: first.index(found["kind"]) if found["kind"] in first else len(first))
    head = f"# Generated from the chart by `make generate`: {what}.\n"
    return head + "".join("---\n" + yaml.dump(found, Dumper=_Blocks, sort_keys=False, width=120) for found in made)


class _Blocks(yaml.SafeDumper):
    """Writes texts of several lines as such, and every node out."""

    def ignore_aliases(self, data):
        return True


_Blocks.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def _without_helm(value):
    if isinstance(value, dict):
        return {key: _without_helm(inner) for key, inner in value.items() if key not in _HELM_KEYS}
    return [_without_helm(inner) for inner in value] if isinstance(value, list) else value


@cache
def values():
    """The chart's default values."""
    return yaml.safe_load((CHART / "values.yaml").read_text())
