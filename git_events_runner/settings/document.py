"""The text of the runtime config: read with every wrong key and value named, and the default one."""

from __future__ import annotations

import re
from collections.abc import Hashable
from difflib import get_close_matches
from typing import Any, ClassVar

import yaml
from pydantic import ValidationError

from git_events_runner.errors import ConfigError
from git_events_runner.resources.crds import to_yaml
from git_events_runner.resources.hints import meant
from git_events_runner.resources.parse import dotted, plain

from .runtime import CONFIG_KEY, RuntimeConfig

# Keys that restrict what v0.4 allows, and the keys that v0.4 has; in lower case.
_RESTRICTING = (
    *("policy", "git", "actionsmayname", "serviceaccounts", "podsecurity", "maxbytes", "maxfiles", "sizelimit"),
    *("maxrunningjobspernamespace", "maxactivedeadlineseconds"),
)
_V04 = frozenset(
    {
        *("action", "trigger", "webhook", "containers", "cloner", "worker", "workdir", "name", "image", "mountpath"),
        *("volumename", "variablesprefix", "defaultauthheader", "defaultserviceaccount", "maxrunningjobs"),
        *("jobwaitingtimeoutseconds", "activedeadlineseconds", "ttlsecondsafterfinished"),
    }
)
_RESTRICTS_CHARS = 1024 * 1024
_UNKNOWN = "extra_forbidden"
_FORMS: dict[str, str] = {
    _UNKNOWN: "is not a known key",
    "model_type": "must be a mapping",
    "list_type": "must be a list",
}


def parse_runtime_config(text: str) -> RuntimeConfig:
    """Read the document; what it leaves out is default.

    Raises:
        ConfigError: It is no YAML, has unknown keys or wrong values; every one is named.
    """
    try:
        document = yaml.load(text, Loader=_OnceOnly)  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{CONFIG_KEY}: {_yaml_problem(error)}") from None
    except (ValueError, TypeError, RecursionError) as error:  # a number of 5,000 digits, a mapping as a key, [[[[…
        raise ConfigError(f"{CONFIG_KEY}: cannot be read: {error}") from None
    if document is None:
        return RuntimeConfig()
    if not isinstance(document, dict):
        raise ConfigError(f"{CONFIG_KEY}: must be a mapping")
    try:
        return RuntimeConfig.model_validate(_without_nulls(document))
    except ValidationError as error:
        raise ConfigError(
            *(
                f"{dotted('', problem['loc'])}: "
                f"{_FORMS.get(problem['type']) or plain(problem['type'], problem['msg'], given=problem.get('input'))}"
                f"{_meant(problem['loc']) if problem['type'] == _UNKNOWN else ''}"
                for problem in error.errors(include_url=False, include_context=False)
            )
        ) from None


def _meant(location: tuple[int | str, ...]) -> str:
    """The known key that is like an unknown one, or what there is in its section.

    >>> _meant(("action", "maxRuningJobs")), _meant(("nothing",))[:18]
    ('; did you mean maxRunningJobs?', '; known are action')
    """
    section: Any = RuntimeConfig().model_dump(by_alias=True, mode="json")
    for step in location[:-1]:
        section = section.get(step) if isinstance(section, dict) else None
    if not isinstance(section, dict) or not section:
        return ""
    hint = meant(str(location[-1]), section, f"known are {', '.join(sorted(section))}")
    return f"; {hint}"


def restricts(text: str) -> bool:
    """Whether a document that cannot be read seems to restrict something: it has a key that does, or nearly so.

    >>> restricts("policy: {clonerImages: none}"), restricts("ppolicy: {}"), restricts("action: {maxRunningJobs: x}")
    (True, True, False)
    """
    keys: set[str] = {key.lower() for key in re.findall(r"""([A-Za-z]{3,40})["']?[ \t]*:""", text[:_RESTRICTS_CHARS])}
    return any(get_close_matches(key, _RESTRICTING, n=1, cutoff=0.85) for key in keys - _V04)


def default_runtime_config_yaml(*, helm_template: bool) -> str:
    """The default document; as the chart's values have it, account and images are templates."""
    config = RuntimeConfig()
    document = config.model_dump(by_alias=True, mode="json", exclude_none=not helm_template)
    if helm_template:
        action = document["action"]
        action["defaultServiceAccount"] = '{{ include "git-events-runner.actionJobServiceAccountName" . }}'
        for container, image in (("cloner", "gitrepo-cloner"), ("worker", "action-worker")):
            action["containers"][container]["image"] = (
                f"{{{{ .Values.imageRegistry }}}}/{image}:{{{{ .Values.image.tag | default .Chart.AppVersion }}}}"
            )
    return to_yaml(document)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return value


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or "cannot be read"
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark else f"is no YAML: {what}"


class _OnceOnly(yaml.SafeLoader):
    """Refuses a key given twice, of which the library would silently take the last."""

    yaml_constructors: ClassVar[dict[Any, Any]] = {**yaml.SafeLoader.yaml_constructors}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)
