"""Patterns of references: what they select, and under which key it is recorded."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.resources.references import Branches, References, Tags
from git_events_runner.rules.references import Watched, full_name_of, key_of, reference_of, source_of

SELECTS = [
    ("main", ["main"], ["mainx", "a/main", "Main"]),
    ("release/*", ["release/1.2", "release/"[:-1] + "/x"], ["release", "release/1/2"]),
    ("feature/**", ["feature/a", "feature/a/b"], ["feature", "feat/a"]),
    ("**/wip", ["wip", "a/wip", "a/b/wip"], ["a/wipe", "wip/a"]),
    ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["a/xb", "b"]),
    ("**", ["main", "a/b"], []),
    ("v?.*", ["v1.2", "v1."], ["v12.1", "v1"]),
    ("*-rc*-x", ["1-rc2-x", "-rc-x", "a-rc-rc-x-x"], ["1-rc2-y", "rc-x"]),
]


def watched(**branches):
    """The patterns of branches, compiled."""
    return Watched.of(References(branches=Branches(**branches)))


@pytest.mark.parametrize(("pattern", "selected", "others"), SELECTS)
def test_a_pattern_selects_by_parts(pattern, selected, others):
    """`*` and `?` stand for characters of one part, `**` for any number of parts."""
    found = watched(include=(pattern,))
    assert all(found.matches(f"refs/heads/{name}") for name in selected)
    assert not any(found.matches(f"refs/heads/{name}") for name in others)
    assert not any(found.matches(f"refs/tags/{name}") for name in selected)


def test_an_excluded_branch_is_not_watched():
    """A name that both lists select is not watched."""
    found = watched(include=("feature/**",), exclude=("**/wip",))
    assert found.matches("refs/heads/feature/x")
    assert not found.matches("refs/heads/feature/wip")


def test_what_no_git_client_shows_is_not_watched():
    """A name that is longer than a file's, or not printable, is not watched."""
    found = watched()
    assert found.matches("refs/heads/" + "a" * 240)
    assert not found.matches("refs/heads/" + "a" * 255)
    assert not found.matches("refs/heads/a\u202eb")


def test_with_a_range_only_tags_with_a_version_in_it_are_watched():
    """`semver` narrows what `include` selects, of tags alone."""
    both = References(branches=Branches(), tags=Tags(include=("v*",), semver="^1.2"))
    found = Watched.of(both)
    assert [name for name in ("v1.2.0", "v1.10.3", "v2.0.0", "v1", "1.3.0") if found.matches(f"refs/tags/{name}")] == [
        "v1.2.0",
        "v1.10.3",
    ]
    assert found.matches("refs/heads/main")


def test_git_is_asked_for_what_the_names_begin_with():
    """The prefixes are the plain beginnings of the patterns, without those that another covers."""
    both = References(branches=Branches(include=("release/*", "release/1/*", "main")), tags=Tags(include=("v*",)))
    assert Watched.of(both).prefixes == ("refs/heads/main", "refs/heads/release/", "refs/tags/v")
    many = References(branches=Branches(include=tuple(f"b{number:02}/*" for number in range(32))))
    assert Watched.of(many).prefixes == ("refs/heads/",)


@given(st.text("ab/", min_size=1, max_size=12), st.text("ab*?/", min_size=1, max_size=8))
def test_a_pattern_means_what_its_parts_mean(name, pattern):
    """Compiled patterns select what comparing part by part, with every choice tried, selects."""
    if any(not part for part in [*name.split("/"), *pattern.split("/")]):
        return
    if any("**" in part and part != "**" for part in pattern.split("/")):
        return
    expected = _selects(pattern.split("/"), name.split("/"))
    assert watched(include=(pattern,)).matches(f"refs/heads/{name}") == expected


def _selects(pattern, parts):
    if not pattern:
        return not parts
    if pattern[0] == "**":
        if len(pattern) == 1:
            return bool(parts)
        return any(_selects(pattern[1:], parts[at:]) for at in range(len(parts) + 1))
    return bool(parts) and _part(pattern[0], parts[0]) and _selects(pattern[1:], parts[1:])


def _part(pattern, text):
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(_part(pattern[1:], text[at:]) for at in range(len(text) + 1))
    return bool(text) and pattern[0] in {"?", text[0]} and _part(pattern[1:], text[1:])


def test_no_pattern_makes_matching_expensive():
    """Patterns with many stars cost about what their length and the name's do."""
    stars, deep = "a" + "*a" * 100 + "b", "**/a*/" * 40 + "b"
    found = watched(include=(stars, deep))
    began = time.process_time()
    for _ in range(100):
        assert not found.matches("refs/heads/" + "a" * 240)
        assert not found.matches("refs/heads/" + "/".join("a" * 120))
    assert time.process_time() - began < 2


@pytest.mark.parametrize("name", ["refs/heads/main", "refs/heads/feature/x", "refs/tags/v1@2", "refs/heads/a@b"])
def test_a_key_names_its_reference(name):
    """From the key of a reference its source, type and name can be read again."""
    key = key_of("app", name)
    assert source_of(key) == "app"
    assert full_name_of(key) == name
    _, place, rest = name.split("/", 2)
    assert reference_of(key) == ({"heads": "branch", "tags": "tag"}[place], rest)


@pytest.mark.parametrize("key", ["app", "app@", "app@heads", "app@heads/", "app@notes/x"])
def test_what_is_no_key_of_a_reference_names_none(key):
    """A source's own key, and anything else in a status, names no reference."""
    assert reference_of(key) is None
