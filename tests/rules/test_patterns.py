"""File patterns: equal to git on lists without `!`, the last match decides with it, and no input takes long."""

import random
import subprocess

import pytest

from git_events_runner.errors import InvalidObject
from git_events_runner.rules.patterns import GITLINK, Patterns, check, selected_hash

_PIECES = ["a", "b", "ab", "*", "**", "?", "[ab]", "[!a]", "[a-b]", "*.py", "a*", "*b", "\\*", "[[:alpha:]]", "é", " "]
_NAMES = ["a", "b", "ab", "ba", "a.py", "b.py", "c", "*", "é", "A", "a b"]


def chosen(patterns, paths):
    compiled = Patterns(patterns)
    return {path for path in paths if compiled.selects(path)}


def random_pattern(chance):
    text = "/".join("".join(chance.choices(_PIECES, k=chance.randint(1, 2))) for _ in range(chance.randint(1, 3)))
    text = text.replace("***", "**")
    return ("/" if chance.random() < 0.2 else "") + text + ("/" if chance.random() < 0.2 else "")


@pytest.fixture(scope="module")
def ignored(tmp_path_factory):
    """What `git check-ignore --no-index` selects of paths, by a list of patterns."""
    folder = tmp_path_factory.mktemp("ignore")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / ".git" / "info").mkdir(exist_ok=True)

    def ask(patterns, paths):
        (folder / ".git" / "info" / "exclude").write_text("\n".join(patterns) + "\n")
        done = subprocess.run(
            ["git", "-c", "core.excludesFile=/dev/null", "check-ignore", "--no-index", "-z", "--stdin"],
            cwd=folder,
            input="\0".join(paths) + "\0",
            capture_output=True,
            text=True,
            check=False,
        )
        return set(filter(None, done.stdout.split("\0")))

    ask.folder = folder
    return ask


def test_random_lists_select_what_git_ignores(ignored):
    """250 lists without `!`, 24 paths each: 6,000 cases."""
    chance = random.Random(4)
    for _ in range(250):
        patterns = [random_pattern(chance) for _ in range(chance.randint(1, 4))]
        paths = {"/".join(chance.choices(_NAMES, k=chance.randint(1, 4))) for _ in range(24)}
        assert chosen(patterns, paths) == ignored(patterns, sorted(paths)), patterns


_MODES = (0o100644, 0o100755, 0o120000, 0o160000)


def test_random_lists_select_entries_of_every_mode_as_git_does(ignored):
    """Files, programs, links (to a folder, too) and submodules: a submodule is a folder, and whatever is in it."""
    chance = random.Random(14)
    for number in range(120):
        patterns = [random_pattern(chance) for _ in range(chance.randint(1, 3))]
        root = f"t{number}"
        names = {"/".join(chance.choices(_NAMES, k=chance.randint(1, 3))) for _ in range(12)}
        leaves = sorted(name for name in names if not any(other.startswith(name + "/") for other in names))
        modes = {f"{root}/{name}": chance.choice(_MODES) for name in leaves}
        for path, mode in modes.items():
            place = ignored.folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if mode == GITLINK:
                place.mkdir()
            elif mode == 0o120000:
                place.symlink_to(ignored.folder)
            else:
                place.touch(mode & 0o777)
        anchored = [f"/{root}{pattern}" if pattern.startswith("/") else pattern for pattern in patterns]
        within = {path: f"{path}/\x01\x02\x03" for path, mode in modes.items() if mode == GITLINK}
        found = ignored(anchored, sorted([*modes, *within.values()]))
        expected = {path for path in modes if path in found or within.get(path) in found}
        compiled = Patterns(anchored)
        assert {p for p, m in modes.items() if compiled.selects(p, gitlink=m == GITLINK)} == expected, anchored


@pytest.mark.parametrize(
    ("patterns", "selected"),
    [
        (["*.py", "!src/"], {"a.py", "docs/c.py"}),
        (["src/", "!src/b.py"], {"src/d.txt"}),
        (["src/", "!src/b.py", "b.py"], {"src/b.py", "src/d.txt"}),
        (["!*.py", "*.py"], {"a.py", "src/b.py", "docs/c.py"}),
        (["# comment", "", "\\#odd"], {"#odd"}),
        (["trailing   ", "kept\\ "], {"trailing", "kept "}),
        (["[", "\\"], set()),
    ],
)
def test_the_last_match_decides(patterns, selected):
    """With `!` the last pattern that matches the path or a folder above it; comments, malformed ones: nothing."""
    paths = {"a.py", "src/b.py", "src/d.txt", "docs/c.py", "#odd", "trailing", "kept "}
    assert chosen(patterns, paths) == selected


@pytest.mark.parametrize("pattern", ["*a" * 50 + "b", "**/a/" * 40 + "b", "[a-z]*" * 60 + "0", "?*" * 100])
def test_hostile_patterns_take_polynomial_time(pattern):
    """What makes regular expressions backtrack for hours is decided at once (the test's time limit would show it)."""
    path = "/".join(["a" * 200] * 20)
    assert Patterns([pattern]).selects(path) in {True, False}


def test_too_many_or_too_long_patterns_are_refused_naming_them():
    """The field and its place in the list."""
    with pytest.raises(InvalidObject, match="1001 patterns"):
        Patterns(["a"] * 1001)
    with pytest.raises(InvalidObject) as refused:
        Patterns(["a", "b" * 5000])
    assert refused.value.field == "spec.sources.watchOn.files[1]"


def test_a_path_that_is_not_utf8_is_a_path():
    """Bytes of any kind come as surrogate escapes."""
    path = b"src/\xff.py".decode("utf-8", "surrogateescape")
    assert Patterns(["*.py"]).selects(path)
    assert len(selected_hash(lambda: [(path, 0o100644, "1")])) == 64


def test_the_hash_is_over_path_mode_and_blob_whatever_the_order():
    """A rename, a mode and a content count; the order of a tree does not."""
    one = [("a", 0o100644, "1"), ("b", 0o100644, "2")]
    assert selected_hash(lambda: one) == selected_hash(lambda: reversed(one)) == selected_hash(lambda: sorted(one))
    others = [[("c", 0o100644, "1"), one[1]], [("a", 0o100755, "1"), one[1]], [("a", 0o100644, "3"), one[1]]]
    assert len({selected_hash(lambda: one), *(selected_hash(lambda each=each: each) for each in others)}) == 4


def test_all_patterns_together_have_a_limit():
    """64 KiB of patterns are compiled, one character more is refused before any is read."""
    assert not Patterns(["a" * 4096] * 16).selects("b")
    with pytest.raises(InvalidObject, match="has 65537 characters in all patterns; at most 65536 are allowed"):
        Patterns([*["a" * 4096] * 16, "b"])
    with pytest.raises(InvalidObject, match="600000 characters"):
        check(["*a" * 1000] * 300)


@pytest.mark.parametrize(
    "patterns",
    [
        ["*" + "a*" * 31 + "b"] * 1000,
        ["?" * 4000] * 16,
        ["**/a/" * 12 + "x"] * 1000,
        ["[!b]" * 1000] * 16,
        ["a/" * 2000] * 16,
    ],
    ids=["stars", "questions", "deep", "brackets", "folders"],
)
@pytest.mark.parametrize("path", ["a" * 4000, "a/" * 2000 + "y", "ab" * 2000])
def test_the_cost_of_a_path_has_a_bound(patterns, path):
    """Whatever the patterns and the path are, each of its bytes costs a step for 512 bits of the patterns at most."""
    compiled = Patterns(patterns)
    compiled.selects(path)
    assert compiled.steps < len(path) * (17 + 70_000 // 512) + 256 * 70_000 // 16


def test_usual_patterns_cost_a_step_for_each_byte():
    """A thousand patterns cost as much as twenty once the same folders and names have been met."""
    patterns = [
        f"{place}{number}*.{end}" for number in range(250) for place in ("", "src/", "**/t/") for end in ("py",)
    ]
    paths = [f"src/{number % 50}/t/{number}_{more}.py" for number in range(100) for more in range(50)]
    compiled = Patterns(patterns)
    for path in paths:
        compiled.selects(path)
    assert compiled.steps < 4 * sum(map(len, paths))


def test_the_limit_of_steps_is_an_error_of_the_field():
    """What takes too many steps says which field, and what to do."""
    compiled = Patterns(["*a*b*c"], most_steps=1000)
    with pytest.raises(InvalidObject, match="take too long to match") as refused:
        list(map(compiled.selects, map(str, range(10_000))))
    assert refused.value.field == "spec.sources.watchOn.files"


def test_the_order_of_paths_does_not_matter():
    """Paths in any order are selected as in a tree's order."""
    chance = random.Random(7)
    for _ in range(100):
        patterns = [("!" if chance.random() < 0.3 else "") + random_pattern(chance) for _ in range(4)]
        paths = sorted({"/".join(chance.choices(_NAMES, k=chance.randint(1, 5))) for _ in range(40)})
        expected = {path for path in paths if Patterns(patterns).selects(path)}
        chance.shuffle(paths)
        assert chosen(patterns, paths) == expected
