"""What is said of addresses that cannot be a repository's."""

import pytest

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.parse import parse


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("github.com/octocat/Spoon-Knife.git", "has no scheme; write https://github.com/octocat/Spoon-Knife.git"),
        ("https://me:hunter2@git.test/a.git", "holds a user name or password; put them into a Secret"),
        ("https://hunter2@git.test/a.git", "holds a user name or password; put them into a Secret"),
        ("file:///srv/git/a.git", "is a path of one machine; a repository has to be served"),
        ("/srv/git/a.git", "is a path of one machine"),
        ("../a.git", "is a path of one machine"),
        ("git://git.test/a.git", "has the scheme git, which neither encrypts nor authenticates"),
        ("git+ssh://git@git.test/a.git", "has the scheme git+ssh; write ssh:// alone"),
        ("htps://git.test/a.git", "has an unknown scheme; did you mean https?"),
        ("https:/git.test/a.git", "has too few slashes; write https://host/path"),
        ("ssh://git@git.test:team/a.git", "has a colon before its path; write ssh://git@host/owner/path"),
        ("deploy@git.test:team/a.git", "is the short form with a user other than git; write ssh://user@git.test/path"),
        ("git@git.test:a.git", "names no owner; write git@host:owner/path, or ssh://git@host/path"),
        ("https://git.test/a b.git", "holds blanks or line breaks"),
        (" https://git.test/a.git", "holds blanks or line breaks"),
        ("https://git.test/~me/a.git", "holds the character '~'; write it as %7E"),
        ("nonsense", "must be git@host:owner/path, ssh://"),
        ("", "must be git@host:owner/path, ssh://"),
    ],
)
def test_addresses(uri: str, told: str):
    """Each likely mistake has its own words, and no password is repeated."""
    obj = {
        "kind": "GitRepo",
        "apiVersion": "git-events-runner.rs/v1alpha1",
        "metadata": {"name": "a", "namespace": "b"},
    }
    with pytest.raises(InvalidObject) as refused:
        parse({**obj, "spec": {"repoUri": uri}})
    assert refused.value.field == "spec.repoUri"
    assert refused.value.problem.startswith(told)
    assert "hunter2" not in str(refused.value)
