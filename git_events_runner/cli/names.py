"""Names of triggers on the command line: `KIND/NAME` in any form that kubectl reads, or a name alone."""

from __future__ import annotations

from git_events_runner.errors import ConfigError
from git_events_runner.resources.crds import SHORT_NAMES
from git_events_runner.resources.hints import meant
from git_events_runner.resources.kinds import GROUP, KINDS, TRIGGERS

_FORMS = {
    form: kind
    for kind in TRIGGERS
    for form in (kind.lower(), KINDS[kind].plural, f"{KINDS[kind].plural}.{GROUP}", SHORT_NAMES[kind])
}


def kinds_and_name(text: str) -> tuple[tuple[str, ...], str]:
    """The kinds in which to search a trigger, and its name.

    >>> kinds_and_name("ScheduleTriggers/nightly"), kinds_and_name("hook")
    ((('ScheduleTrigger',), 'nightly'), (('ScheduleTrigger', 'WebhookTrigger'), 'hook'))

    Raises:
        ConfigError: The kind is none of a trigger, or there is no name.
    """
    kind, slash, name = text.rpartition("/")
    if not name or "/" in kind:
        raise ConfigError(f"KIND/NAME: {text!r} names no trigger; write it as scheduletrigger/nightly")
    if not slash:
        return TRIGGERS, name
    found = _FORMS.get(kind.lower())
    if found is None:
        hint = meant(kind.lower(), _FORMS, "use scheduletrigger or webhooktrigger")
        raise ConfigError(f"KIND/NAME: {kind!r} is no kind of a trigger; {hint}")
    return (found,), name
