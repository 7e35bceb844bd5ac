"""The annotation with what was reported of a Job."""

from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.rules.notifications.marks import (
    MARKS_MAX,
    accepted,
    is_reported,
    marks_of,
    marks_text,
    refused,
)

UIDS = st.integers(0, 2**48 - 1).map("{:012x}-1".format)
MARKS = st.one_of(
    st.sampled_from(["Queued", "Started", "Succeeded", "Failed"]).map(accepted),
    st.integers(0, 10**9).map(lambda number: refused("Failed", number)),
)


@given(st.dictionaries(UIDS, MARKS, max_size=20))
def test_marks_are_read_as_they_were_written(marks):
    """Whatever was reported."""
    assert marks_of(marks_text(marks)) == marks


@given(st.text(max_size=9000))
def test_any_text_is_read_without_an_error(text):
    """Users may write annotations; what is no mark is left out, and their number is bounded."""
    assert len(marks_of(text)) <= MARKS_MAX


def test_too_many_marks_keep_the_newest_within_what_a_job_keeps():
    """The annotation stays short."""
    marks = {f"{number:036d}": "Succeeded" for number in range(MARKS_MAX + 50)}
    text = marks_text(marks)
    assert len(text) < 7000
    assert list(marks_of(text))[-1] == f"{MARKS_MAX + 49:036d}"


def test_a_refused_state_is_sent_again_to_a_changed_notifier_only():
    """By the generation."""
    assert is_reported(refused("Failed", 2), "Failed", 2)
    assert not is_reported(refused("Failed", 2), "Failed", 3)
    assert not is_reported(refused("Failed", 2), "Succeeded", 2)
