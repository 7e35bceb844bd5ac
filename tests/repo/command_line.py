"""The page of the command line, from its parser and the models of its JSON."""

import argparse
import json

from pydantic import BaseModel

from git_events_runner.cli import models
from git_events_runner.cli.parser import VERBS, module_of, parser_for

_HEAD = """\
# Command line

Generated from the code by `make generate`; edit it there.

One program has all verbs. Install it with `pipx` ([how](how-to/install-cli.md)), or use it
in the controller's image. As a plugin of kubectl it is `kubectl ger VERB`: the installation puts the program
`kubectl-ger` on the `PATH`, where kubectl finds it.

```sh
git-events-runner status -A             # or: kubectl ger status -A
git-events-runner explain scheduletrigger/nightly
```

The verbs `status`, `explain`, `logs`, `trigger`, `rerun`, `suspend`, `resume`, `doctor` and `ui` work with your
kubeconfig and your rights, never with the controller's. `check` does so without `--offline`. `-n`, `-A`, `--context`
and `--kubeconfig` are as in kubectl. A trigger is `KIND/NAME` in any form that kubectl reads
(`scheduletrigger/nightly`, `webhooktriggers.git-events-runner.rs/hook`), or a name alone, which is searched for in both
kinds.

Colour is used on a terminal only (`NO_COLOR` and `FORCE_COLOR` are respected). No verb prints a value of a Secret.

## Exit codes

| code | meaning |
| --- | --- |
| 0 | nothing is wrong |
| 1 | something is wrong with the object: a problem, a failed run, no such trigger; or output cannot be written |
| 2 | wrong use, or a manifest that `check` refuses |
| 3 | the cluster is not reachable, lacks the custom resources, or does not allow the request |
| other | with `--wait`: the exit code of the run that failed, where it is known |

## Rights

| verb | needs |
| --- | --- |
| `status` | `list` of the triggers; of GitRepos and ClusterGitRepos for the next check of an interval |
| `explain` | `get` of the trigger and of what it names; `list` of Jobs, Events, Notifiers. What was not read is named |
| `explain --live` | in addition `get` of the Secrets that the sources name |
| `logs` | `list` of Jobs and Pods, `get` of `pods/log` |
| `trigger`, `rerun`, `suspend`, `resume` | `get` and `patch` of the trigger |
| `check` | `get` of the objects that the manifests name |
| `doctor` | `list` of Deployments, Jobs, triggers and Notifiers, `get` of the Lease and ConfigMap of the controller |
| `ui` | `list` and `watch` of the triggers and of Jobs |

## Verbs

| verb | purpose |
| --- | --- |
"""


def page():
    """The text of the page."""
    parser = parser_for(list(VERBS))
    verbs = parser.commands.choices
    lines = [_HEAD.rstrip("\n")]
    lines += [f"| [`{verb}`](#{verb}) | {text} |" for verb, text in VERBS.items()]
    for verb, text in VERBS.items():
        lines += ["", f"### {verb}", "", f"{text[0].upper()}{text[1:]}.", ""]
        lines += ["```sh", module_of(verb).EXAMPLE, "```"]
        rows = list(_options(verbs[verb]))
        if verb == "run":
            lines += ["", "Its options are in the [reference](reference.md#options-of-git-events-runner-run)."]
        elif rows:
            lines += ["", "| option | meaning |", "| --- | --- |", *rows]
    lines += [
        "",
        "## JSON",
        "",
        "`-o json` is stable: fields are added, never removed or renamed, and each is always there (`null` where",
        "there is nothing). `-o yaml` has the same fields. Each form has a JSON schema.",
    ]
    for model, names in _outputs().items():
        verbs_of = " and ".join("status KIND/NAME" if name == "status-of-one" else name for name in names)
        lines += [
            "",
            f"### JSON of {verbs_of}",
            "",
            f"Schema: {', '.join(f'[{name}.json](schemas/{name}.json)' for name in names)}.",
            "",
            "| field | type | meaning |",
            "| --- | --- | --- |",
            *_fields(model, ""),
        ]
    return "\n".join(lines) + "\n"


def _options(parser):
    """A row for each argument and option."""
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        takes = action.nargs != 0
        words = [f"{word} {action.metavar}" if takes and action.metavar else word for word in action.option_strings]
        names = ", ".join(f"`{word}`" for word in words) or f"`{action.metavar}`"
        yield f"| {names} | {(action.help or '').replace('|', chr(92) + '|')} |"


def schemas():
    """Path → text of the schema of each verb's JSON."""
    return {f"docs/schemas/{name}.json": json.dumps(models.schema_of(name), indent=2) + "\n" for name in models.OUTPUTS}


def _outputs():
    """The models of the JSON, with the verbs that print it and the names of their schemas."""
    found = {}
    for name, model in models.OUTPUTS.items():
        found.setdefault(model, []).append(name)
    return found


def _fields(model, path):
    """A row for each field, with those of the objects in it."""
    for field in model.model_fields.values():
        inner = next(
            (one for one in _arguments(field.annotation) if isinstance(one, type) and issubclass(one, BaseModel)), None
        )
        many = "[]" if "list" in str(field.annotation) else ""
        kinds = [
            one.__name__
            for one in _arguments(field.annotation)
            if isinstance(one, type) and one not in {type(None), list}
        ]
        shown = "object" if inner else {"str": "string", "int": "integer", "bool": "boolean"}.get(kinds[0], kinds[0])
        yield f"| `{path}{field.alias}{many}` | {shown} | {field.description} |"
        if inner:
            yield from _fields(inner, f"{path}{field.alias}{many}.")


def _arguments(annotation):
    """The types in an annotation."""
    inner = getattr(annotation, "__args__", None)
    return [one for each in inner for one in _arguments(each)] if inner else [annotation]
