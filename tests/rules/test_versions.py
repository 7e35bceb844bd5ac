"""Versions of tags and ranges of them."""

import pytest

from git_events_runner.resources.references import RANGE
from git_events_runner.rules.versions import Range, Version, version_of

VERSIONS = [
    ("v1.2.3", "1.2.3"),
    ("1.2.3", "1.2.3"),
    ("api/v2.0.0-rc.1", "2.0.0-rc.1"),
    ("app-1.2.3", "1.2.3"),
    ("app_v1.2.3", "1.2.3"),
    ("chart@1.2.3+build.5", "1.2.3+build.5"),
    ("v1.0.0-1.2.3", "1.0.0-1.2.3"),
    *((name, None) for name in ("v1.2", "v01.2.3", "1.2.3.4", "nightly", "xv1.2.3", "v1.2.3-01", "1.2.3-", "")),
]
RANGES = [
    (">=1.2 <2", ["1.2.0", "1.99.0"], ["1.1.9", "2.0.0", "2.0.0-rc.1", "1.3.0-rc.1"]),
    ("^1.2", ["1.2.0", "1.9.0"], ["1.1.0", "2.0.0"]),
    ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0", "0.2.2"]),
    ("^0.0.3", ["0.0.3"], ["0.0.4"]),
    ("^0", ["0.0.1", "0.9.0"], ["1.0.0"]),
    ("~1.2.3", ["1.2.3", "1.2.9"], ["1.3.0", "1.2.2"]),
    ("~1", ["1.0.0", "1.9.9"], ["2.0.0"]),
    ("1.x", ["1.0.0", "1.9.9"], ["2.0.0", "0.9.0"]),
    ("1.2.3", ["1.2.3", "1.2.3+build"], ["1.2.4", "1.2.3-rc.1"]),
    ("=v1.2", ["1.2.0", "1.2.9"], ["1.3.0"]),
    (">1.2", ["1.3.0"], ["1.2.9"]),
    (">1.2.3", ["1.2.4"], ["1.2.3"]),
    ("<=1.2", ["1.2.9", "0.1.0"], ["1.3.0"]),
    ("<1", ["0.9.9"], ["1.0.0"]),
    ("*", ["0.0.1", "9.9.9"], ["1.0.0-rc.1"]),
    (">=1.0.0-rc.1 <2", ["1.0.0-rc.1", "1.0.0-rc.2", "1.0.0"], ["1.0.0-beta", "1.1.0-rc.1"]),
    ("<1 || >=3", ["0.5.0", "3.0.0"], ["1.0.0", "2.9.9"]),
    ("<*", [], ["0.0.0", "1.0.0"]),
]


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_the_version_of_a_tag_is_read_from_its_name(name, version):
    """It is the name, or what follows a mark in it, with or without a `v`, in the form of semver.org."""
    found = version_of(name)
    assert (str(found) if found else None) == version


@pytest.mark.parametrize(("text", "inside", "outside"), RANGES)
def test_a_range_has_the_versions_that_npm_has_in_it(text, inside, outside):
    """Comparators mean what they mean to npm (https://github.com/npm/node-semver#ranges)."""
    assert RANGE.holds(text)
    found = Range.of(text)
    assert [one for one in inside if Version.parse(one) not in found] == []
    assert [one for one in outside if Version.parse(one) in found] == []


@pytest.mark.parametrize("text", ["", "new", "1.2.3.4", ">=", "1.2 -2", ">= 1", "1 ||", "01", "^1.2.3-", "1,2"])
def test_what_is_no_range_is_refused(text):
    """The API server and the model refuse it with the same rule."""
    assert not RANGE.holds(text)


def test_the_highest_version_is_the_one_that_semver_puts_last():
    """Numbers are compared as numbers, and a pre-release is below its version."""
    names = ["v1.10.0", "v1.9.0", "v1.10.0-rc.2", "v1.10.0-rc.10"]
    assert [str(one) for one in sorted(map(version_of, names))] == ["1.9.0", "1.10.0-rc.2", "1.10.0-rc.10", "1.10.0"]
