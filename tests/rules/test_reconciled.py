"""What reconciling reads of a trigger."""

from types import SimpleNamespace

import pytest

from git_events_runner.rules.reconciled import (
    FINALIZER,
    open_webhook,
    reconciled_parts,
    warnings_of_removed,
    without_finalizer,
)


def trigger(status=None, **metadata):
    return {"metadata": metadata, "status": status or {}}


@pytest.mark.parametrize("finalizers", [[FINALIZER], ["a", FINALIZER], [FINALIZER, "b"], ["a", FINALIZER, "b"]])
def test_the_patch_removes_our_finalizer_alone(finalizers):
    """The place that is tested and removed is that of v0.4's finalizer."""
    test, remove = without_finalizer(trigger(finalizers=finalizers))
    place = int(remove["path"].rpartition("/")[2])
    assert (finalizers[place], test["path"], test["value"]) == (FINALIZER, remove["path"], FINALIZER)


@pytest.mark.parametrize("finalizers", [None, [], ["other.example/x"]])
def test_without_our_finalizer_there_is_no_patch(finalizers):
    """Finalizers of others stay."""
    assert without_finalizer(trigger(finalizers=finalizers)) is None


def test_deliveries_change_nothing_that_is_reconciled():
    """A recorded delivery does not reconcile a trigger again; a run, a condition and a generation do."""
    before = {"checkedSources": {"a": {"runs": 1, "requested": 1}}, "deliveries": "x" * 11}
    delivered = {"checkedSources": {"a": {"runs": 1, "requested": 2}}, "deliveries": "x" * 22}
    ran = {"checkedSources": {"a": {"runs": 2, "requested": 1}}}
    parts = reconciled_parts(trigger(before), 1)
    assert reconciled_parts(trigger(delivered), 1) == parts
    assert reconciled_parts(trigger(ran), 1) != parts
    assert reconciled_parts(trigger(before | {"conditions": []}), 1) != parts
    assert reconciled_parts(trigger(before), 2) != parts


def test_a_webhook_without_credentials_is_warned_about():
    """The warning ends with `authConfig`; a trigger without a webhook has none."""
    [warning] = open_webhook(SimpleNamespace(webhook=SimpleNamespace(auth_config=None)))
    [over] = open_webhook(SimpleNamespace(webhook=SimpleNamespace(auth_config=object())))
    assert (warning.reason, bool(warning.message), over.message) == ("WebhookOpen", True, None)
    assert open_webhook(SimpleNamespace()) == []


def test_warnings_of_removed_sources_are_listed():
    """Those of the trigger itself, of named sources and of references of named sources are not."""
    names = [None, "a", "a@heads/main", "gone", "gone@heads/main"]
    listed = [{"reason": "X", "source": name, "message": "m"} for name in names]
    found = warnings_of_removed({"warnings": listed}, {"a"})
    assert {one.source for one in found} == {"gone", "gone@heads/main"}
