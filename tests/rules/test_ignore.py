"""Commits that `spec.ignore` selects: by author, message, and the words that skip CI."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.commits import CommitText
from git_events_runner.resources.ignore import IGNORED_CHARS, IGNORED_MAX, Ignore
from git_events_runner.resources.parse import parse
from git_events_runner.rules.ignore import ignored_by
from git_events_runner.rules.ignored import Ignored, ignored_line


def commit(message="Fix it\n", name="A U Thor", email="author@example.com"):
    return CommitText(name=name, email=email, message=message)


BOT = commit(name="renovate[bot]", email="29139614+renovate[bot]@users.noreply.example.com")


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("renovate*", BOT),
        ("RENOVATE[bot]", BOT),
        ("*@users.noreply.example.com", BOT),
        ("renovate?bot? <*>", BOT),
        ("A U Thor", commit()),
        ("a\\b*", commit(name="a\\bc")),
    ],
)
def test_authors_match_name_address_or_both(pattern, text):
    """`*` and `?` match characters, [ and ] are plain characters, case does not matter."""
    assert ignored_by(Ignore(authors=(pattern,)), text).endswith("(ignore.authors)")


@pytest.mark.parametrize("pattern", ["renovate", "[r]enovate*", "bot*", "renovate?bot", "*@example.com"])
def test_other_authors_do_not_match(pattern):
    """A pattern matches all of the text, and knows no classes of characters."""
    assert ignored_by(Ignore(authors=(pattern,)), BOT) is None


@pytest.mark.parametrize(
    ("pattern", "message", "matches"),
    [
        ("[skip ci]*", "[skip ci] Release\n", True),
        ("[skip ci]*", "skip me\n", False),
        ("*[skip ci]*", "Release\n\nand more [skip ci]\n", True),
        ("chore: release", "chore: release\n\nThe text below.\n", True),
        ("chore*", "fix\n\nchore\n", False),
    ],
)
def test_messages_match_the_subject_or_the_complete_message(pattern, message, matches):
    """Of the text that git stores, without blank lines around it."""
    found = ignored_by(Ignore(messages=(pattern,)), commit(message))
    assert found == (f"the message matches '{pattern}' (ignore.messages)" if matches else None)


@pytest.mark.parametrize(
    "message",
    [
        "x [skip ci]",
        "x [CI Skip]",
        "x\n\n[no ci]\n",
        "[skip actions] x",
        "[actions skip]",
        "[skip-ci] x",
        "x ***NO_CI***",
        "x\n\nskip-checks: true\n",
        "x\n\nskip-checks:true\nSigned-off-by: a",
    ],
)
def test_the_words_that_skip_ci(message):
    """As GitHub, GitLab and Azure read them; and only with `skipCi`."""
    assert "(ignore.skipCi)" in ignored_by(Ignore(skip_ci=True), commit(message))
    assert ignored_by(Ignore(authors=("nobody",)), commit(message)) is None


@pytest.mark.parametrize("message", ["skip ci", "[skip] ci", "see skip-checks: true", "[skip  ci]", "NO_CI", ""])
def test_other_words_skip_nothing(message):
    """Words without their brackets do not count."""
    assert ignored_by(Ignore(skip_ci=True), commit(message)) is None


@given(st.text(max_size=40), st.text(max_size=40))
def test_what_is_recorded_is_one_short_clean_line(name, message):
    """Whatever a commit has: no control characters, no line breaks, bounded."""
    found = Ignored.of("a" * 40, "r" * 100, commit(message * 9, name * 9))
    assert len(found.author) <= 40
    assert len(found.subject) <= 72
    assert (found.author + found.subject).isprintable() or not any(c in found.author for c in "\n\x1b\u202e")
    assert not set("\r\n\x00\x1b\u202e\u2028") & set(found.author + found.subject)


def test_matching_takes_time_linear_in_the_message():
    """The worst patterns, on a message of the longest length."""
    ignore = Ignore(messages=("*a" * (IGNORED_CHARS // 2 - 1) + "b",) * IGNORED_MAX)
    began = time.process_time()
    assert ignored_by(ignore, commit("a" * 4096)) is None
    assert time.process_time() - began < 5


def trigger(**ignore):
    spec = {
        "sources": {"names": ["app"]},
        "schedule": {"interval": "1m"},
        "action": {"kind": "Action", "name": "a"},
        "ignore": ignore,
    }
    kind = {"apiVersion": "git-events-runner.rs/v1alpha1", "kind": "ScheduleTrigger"}
    return {**kind, "metadata": {"name": "t", "namespace": "n", "uid": "u"}, "spec": spec}


@pytest.mark.parametrize("wrong", ["", "*", "**?", "a\nb", "a\x00"])
@pytest.mark.parametrize("field", ["authors", "messages"])
def test_a_wrong_pattern_is_refused_with_what_to_write(field, wrong):
    """The message names the field, and shows patterns."""
    with pytest.raises(InvalidObject, match=rf"ignore.{field}.*renovate\*") as refused:
        parse(trigger(**{field: [wrong]}))
    assert "[ and ] are plain characters" in str(refused.value)


def test_a_line_names_the_commit_only_while_it_is_the_recorded_one():
    """A later commit of another version of the controller leaves the record of the former one."""
    ignored = Ignored.of("a" * 40, "why", BOT).record

    def line(commit, record=ignored):
        return ignored_line({"checkedSources": {"app": {"commitHash": commit, "ignored": record}}}, "app")

    assert line("b" * 40) is None
    assert line("a" * 40) == 'why: "Fix it" by renovate[bot]'
    assert line("a" * 40, "strange") is None
    assert ignored_line({"checkedSources": "strange"}, "app") is None
