"""The pages of the kinds, docs/kinds: an example and its explanation, written by hand, then every field of the CRD."""

from pathlib import Path

from git_events_runner.resources.crds import crds
from git_events_runner.resources.pod_parts import pod_parts

ROOT = Path(__file__).parents[2]
FOLDER = "docs/kinds"
MARK = "<!-- fields: written by make generate -->\n"


def pages():
    """Path → text of each page."""
    return {path_of(crd): _page(crd) for crd in crds()}


def path_of(crd):
    """The page of a kind."""
    return f"{FOLDER}/{_kind(crd).lower()}.md"


def links():
    """The rows of a table of all kinds."""
    for crd in crds():
        names, schema = crd["spec"]["names"], _schema(crd)
        page = path_of(crd).removeprefix("docs/")
        scope = crd["spec"]["scope"].lower()
        text = f"| [{names['kind']}]({page}) | {scope} | `{names['shortNames'][0]}` |"
        yield f"{text} {schema.get('description', '')} |"


def introduction(crd):
    """What is written by hand: a title, an example, its explanation."""
    file = ROOT / path_of(crd)
    return file.read_text(encoding="utf-8").partition(MARK)[0] if file.exists() else f"# {_kind(crd)}\n\n"


def _page(crd):
    names, schema = crd["spec"]["names"], _schema(crd)
    parts = []
    for section in ("spec", "status"):
        if section in schema["properties"]:
            parts += [f"## {section.capitalize()}", ""]
            parts += ["`*` is required.", ""] if section == "spec" else ["The controller writes it.", ""]
            parts += [
                "| field | type | meaning |",
                "| --- | --- | --- |",
                *_rows(schema["properties"][section], section),
            ]
            parts.append("")
    explain = f"`kubectl explain {names['singular']}.spec` prints the same texts"
    parts.append(f"The short name for kubectl is `{names['shortNames'][0]}`; {explain}.")
    return introduction(crd) + MARK + "\n" + "\n".join(parts) + "\n"


def _kind(crd):
    return crd["spec"]["names"]["kind"]


def _schema(crd):
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def _rows(schema, path):
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        star = "*" if name in required else ""
        kind = field.get("type", "any")
        if "enum" in field:
            kind = " or ".join(f"`{value}`" for value in field["enum"])
        meaning = field.get("description", "").replace("|", "\\|")
        default = field.get("default")
        if isinstance(default, (str, bool, int)):
            meaning += f" Default: `{str(default).lower() if isinstance(default, bool) else default}`."
        yield f"| `{path}.{name}`{star} | {kind} | {meaning} |"
        if path == "spec.actionJob" and name in pod_parts():
            continue  # Kubernetes' own documentation has what is in them
        yield from _rows(field, f"{path}.{name}")
        if isinstance(field.get("items"), dict):
            yield from _rows(field["items"], f"{path}.{name}[]")
        if isinstance(field.get("additionalProperties"), dict):
            yield from _rows(field["additionalProperties"], f"{path}.{name}.*")
