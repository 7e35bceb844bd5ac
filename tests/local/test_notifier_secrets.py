"""Values in the Secrets of Notifiers: what would fail with the first message is reported before."""

import base64
from pathlib import Path

import pytest

from git_events_runner.errors import ConfigError
from git_events_runner.local.apiserver.server import serving
from git_events_runner.local.manifests import load
from git_events_runner.local.notifier_secrets import problem_of

CANARY = "canary"
GITEA = {"type": "commit-status", "commitStatus": {"forge": "gitea", "apiUrl": "https://git.example"}}
TABLE = [
    ({"type": "webhook"}, "short", "at least 16 bytes"),
    ({"type": "webhook"}, f"whsec_!{CANARY}!", "not base64"),
    ({"type": "webhook"}, "long enough for a key", None),
    (GITEA, f"Bearer {CANARY}", "write it without `Bearer`"),
    (GITEA, "0123456789", None),
    ({"type": "cloudevents"}, f"Bearer {CANARY}", "write it without `Bearer`"),
    ({"type": "chat"}, f"https://hooks.slack.com/services/{CANARY}", "use type webhook"),
    ({"type": "chat"}, f"nosuch://{CANARY}", "nosuch:// is not served"),
    ({"type": "chat"}, f"slack://{CANARY}", "the address for Slack"),
    ({"type": "chat"}, f"gotifys://gotify.example/{CANARY}\ntgram://{CANARY}", "the address for Telegram"),
    ({"type": "chat"}, "gotifys://gotify.example/AbCdEfGhIjKlMnO", None),
]


@pytest.mark.parametrize(("spec", "value", "expected"), TABLE)
def test_a_value_that_no_message_can_be_sent_with_is_a_problem(spec, value, expected):
    """It names what to write, and not the value."""
    found = problem_of(spec, base64.b64encode(value.encode()).decode())
    assert (expected is None) == (found is None), found
    if expected is not None:
        assert expected in found
        assert CANARY not in found


async def test_it_is_reported_with_file_line_and_field(tmp_path: Path):
    """As every other mistake in manifests, before anything runs."""
    manifests = tmp_path / "all.yaml"
    manifests.write_text(
        "apiVersion: git-events-runner.rs/v1alpha1\nkind: Notifier\nmetadata: {name: hook}\nspec:\n"
        "  type: webhook\n  address: https://receiver.example/\n  secretRef: {name: key}\n"
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {secret: short}\n"
    )
    async with serving() as server:
        with pytest.raises(ConfigError) as error:
            load([str(manifests)], server)
    [problem] = error.value.problems
    assert problem.startswith(f"{manifests}:7: spec.secretRef: the key secret of Secret default/key: a key that signs")
