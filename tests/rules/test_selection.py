"""What patterns select of a commit."""

import pytest

from git_events_runner.edges.git.request import TreeEntry
from git_events_runner.rules.patterns import GITLINK
from git_events_runner.rules.selection import compared, selection
from tests.flow.world import A, B


@pytest.mark.parametrize("pattern", ["libs/foo/", "libs/*/", "libs/foo/**", "libs/foo"])
def test_the_bump_of_a_submodule_is_a_change_of_the_folder_it_is_in(pattern):
    """A submodule's commit counts for patterns of folders; so does a file that becomes a submodule."""
    old = [TreeEntry("a.txt", 0o100644, A), TreeEntry("libs/foo", GITLINK, A)]
    new = [TreeEntry("a.txt", 0o100644, A), TreeEntry("libs/foo", GITLINK, B)]
    other = [old[0], TreeEntry("libs/foo", 0o100644, B)]
    found = selection([pattern], new)
    assert [compared(found, selection([pattern], each)).same for each in (old, new, other)] == [False, True, False]
    assert compared(found, None).same is None


def test_a_selection_says_whether_it_is_empty():
    """Patterns that no path of the commit fulfils select nothing, and that is the same as nothing before."""
    entries = [TreeEntry("src/a.py", 0o100644, A)]
    assert selection(["*.py"], entries).empty is False
    nothing = selection(["docs/"], entries)
    assert (nothing.empty, compared(nothing, nothing).same) == (True, True)
