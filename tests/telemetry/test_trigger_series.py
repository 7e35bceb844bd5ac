"""Series of triggers: what is rendered, and that a deleted trigger costs what it has."""

import gc
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from git_events_runner.resources.kinds import GROUP
from git_events_runner.resources.ref import Ref
from git_events_runner.telemetry.metrics import Metrics
from git_events_runner.telemetry.trigger_series import Detail

NAMES = ("reconcile_count", "failed_reconcile_count", "trigger_check_count", "webhook_requests_count")


def trigger(number, kind="ScheduleTrigger"):
    return Ref(kind, "team", f"t{number}")


def work(metrics, ref, job="Succeed"):
    """Everything that is counted by trigger."""
    metrics.reconcile_finished(ref, 0.05, failed=False)
    metrics.check_finished(ref, 0.7, "skip-same")
    metrics.webhook_missed(ref)
    labels = {f"{GROUP}/trigger-kind": ref.kind, f"{GROUP}/trigger-name": ref.name}
    metrics.job_ended(labels, ref.namespace, job, 7.0)
    if ref.kind == "WebhookTrigger":
        metrics.webhook_finished(ref.namespace, ref.name, 202, 0.002)


def samples(metrics):
    """Name and labels → value, as a strict reader of the text format finds them."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def of(found, name, **labels):
    """Values of a metric's series that have these labels."""
    return [value for (each, has), value in found.items() if each == name and labels.items() <= dict(has).items()]


def test_a_trigger_has_sums_and_counts_and_all_triggers_share_the_buckets():
    """By default no trigger has buckets of its own; quantiles over all triggers are those of v0.4."""
    metrics = Metrics(prefix="g")
    for number in range(3):
        work(metrics, trigger(number))
    found = samples(metrics)
    assert of(found, "g_trigger_check_duration_seconds_sum", trigger_name="t1") == [0.7]
    assert of(found, "g_trigger_check_duration_seconds_count", trigger_name="t1") == [1]
    assert of(found, "g_trigger_check_duration_seconds_bucket", le="0.1") == [0]
    assert of(found, "g_trigger_check_duration_seconds_bucket", le="1.0") == [3]
    assert of(found, "g_trigger_check_duration_seconds_bucket", le="+Inf") == [3]
    assert of(found, "g_jobs_queue_completed_duration_seconds_bucket", status="Succeed", le="10.0") == [3]


def test_histograms_by_trigger_are_an_option():
    """With it each trigger has the buckets that v0.4 gives it, cumulative and complete."""
    metrics = Metrics(prefix="g", detail=Detail.HISTOGRAMS)
    work(metrics, trigger(1))
    work(metrics, trigger(2))
    metrics.check_finished(trigger(1), 40, "skip-same")
    found = samples(metrics)
    buckets = [
        of(found, "g_trigger_check_duration_seconds_bucket", trigger_name="t1", le=le)
        for le in ("0.1", "1.0", "2.0", "5.0", "10.0", "30.0", "60.0", "+Inf")
    ]
    assert buckets == [[0], [1], [1], [1], [1], [1], [2], [2]]
    assert of(found, "g_trigger_check_duration_seconds_count", trigger_name="t1") == [2]


@pytest.mark.parametrize(("detail", "there"), [(Detail.HISTOGRAMS, True), (Detail.SUMS, True), (Detail.LEAN, False)])
def test_names_of_v04_are_there_unless_they_are_left_out(detail, there):
    """Counters have v0.4's names too, with the same values; `lean` leaves them out."""
    metrics = Metrics(prefix="g", detail=detail)
    work(metrics, trigger(1, "WebhookTrigger"))
    found = samples(metrics)
    for name in NAMES:
        assert of(found, f"g_{name}_total") != []
        assert of(found, f"g_{name}") == (of(found, f"g_{name}_total") if there else [])


def test_a_duration_belongs_to_jobs_that_ran():
    """A Job that was refused is counted and has no duration."""
    metrics = Metrics(prefix="g")
    work(metrics, trigger(1), job="CreateError")
    found = samples(metrics)
    assert of(found, "g_jobs_queue_completed_count_total", status="CreateError") == [1]
    assert of(found, "g_jobs_queue_completed_duration_seconds_count") == []


def test_values_of_labels_are_escaped():
    """What a Job's labels hold breaks no line of the exposition."""
    metrics = Metrics(prefix="g")
    text = 'a"} 1\n\\'
    metrics.job_ended({f"{GROUP}/source-name": text}, "team", "Failed", 1.0)
    assert of(samples(metrics), "g_jobs_queue_completed_count_total", source_name=text) == [1]


def calls(act):
    """How many lines of Python run meanwhile: what costs no more for more triggers is seen without a clock.

    Without garbage collection, whose callbacks (hypothesis has one) would be counted where it happens to begin.
    """
    count = 0

    def trace(*_):
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    gc.disable()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


def test_a_deletion_costs_the_same_among_thousands():
    """Forgetting a trigger walks its own series only, and no series of it stay."""
    few, many = Metrics(prefix="g"), Metrics(prefix="g")
    for number in range(3):
        work(few, trigger(number, "WebhookTrigger"))
    for number in range(2000):
        work(many, trigger(number, "WebhookTrigger"))
    assert calls(lambda: many.forget(trigger(1, "WebhookTrigger"))) == calls(
        lambda: few.forget(trigger(1, "WebhookTrigger"))
    )
    found = samples(many)
    assert of(found, "g_trigger_check_count_total", trigger_name="t1") == []
    assert of(found, "g_webhook_requests_count", trigger_name="t1") == []
    assert of(found, "g_jobs_queue_completed_duration_seconds_sum", trigger_name="t1") == []
    assert len(of(found, "g_trigger_check_count_total")) == 1999


def test_series_that_come_back_are_known_by_their_trigger():
    """What came back after a deletion can be removed; what belongs to no object stays."""
    metrics = Metrics(prefix="g")
    work(metrics, trigger(1))
    work(metrics, trigger(2))
    metrics.webhook_finished(None, None, 404, 0.1)
    metrics.forget(trigger(1))
    work(metrics, trigger(1))
    assert set(metrics.triggers()) == {trigger(1), trigger(2)}
    metrics.forget(trigger(1))
    assert metrics.triggers() == [trigger(2)]
    found = samples(metrics)
    assert len(of(found, "g_trigger_check_count_total")) == 1
    assert of(found, "g_webhook_requests_count_total", trigger_name="unknown") == [1]


def test_series_that_come_while_metrics_are_rendered_disturb_nothing():
    """A thread renders while checks add series: during any garbage collection the event loop may have its turn."""
    metrics = Metrics(prefix="g")
    for number in range(3_000):  # more than the interpreter has tuples in store, so that reading them collects garbage
        metrics.check_finished(trigger(number), 0.7, "skip-same")
    more = iter(range(3_000, 100_000))

    def event_loop(phase, _):
        if phase == "stop":
            metrics.check_finished(trigger(next(more)), 0.7, "skip-same")

    gc.collect()
    gc.callbacks.append(event_loop)
    try:
        text = metrics.render().decode()
    finally:
        gc.callbacks.remove(event_loop)
    assert text.count("\ng_trigger_check_count_total{") >= 3_000
