"""What lies on the disk after a clone, compared with `git clone` of the same repository, byte by byte."""

from __future__ import annotations

import os
import random
import subprocess
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_events_runner.cloner.attributes import Attributes
from git_events_runner.cloner.convert import CannotEncode, Conversion, conversion_of, convert
from git_events_runner.cloner.names import is_safe
from tests.cloner.cloning import blob_of, cloned, tree_of
from tests.edges.git.gitserver import GIT_ENVIRONMENT, commit, commit_tree, git

# fmt: off
_ATTRIBUTES = [
    *("text", "-text", "!text", "text=auto", "text=input", "text=odd", "crlf", "-crlf", "crlf=input", "binary"),
    *("-binary", "eol=crlf", "eol=lf", "eol=odd", "-eol", "!eol", "ident", "-ident", "ident=x", "!ident"),
    *("filter=crypt", "-filter", "working-tree-encoding=UTF-16LE", "working-tree-encoding=utf-8", "dos", "-dos"),
    *("working-tree-encoding=UTF-16LE-BOM", "working-tree-encoding=UTF-16BE-BOM", "working-tree-encoding=ISO-8859-1"),
    *("working-tree-encoding=UTF-16", "working-tree-encoding=SHIFT-JIS", "!working-tree-encoding", "!dos", "both"),
    *("working-tree-encoding=no-such", "diff=x", "linguist-x=y", "=x", "-", "bad@name", "-text=x"),
]
_PATTERNS = [
    *("*", "*.t", "a.t", "/a.t", "d/", "d/*", "d/**", "**/a.t", "!a.t", "b*", '"a.t"', '"b\\056t"', '"open', "[ab].t"),
    *("d", "**", "[", "c\\ .t", "#a.t", "[attr]mine", "[attr]", "*.T", "\\*.t", "é.t", '"\\303\\251.t"', " a.t"),
]
# fmt: on
_CONTENTS = [
    *(b"", b"one\ntwo\n", b"one\r\ntwo\r\n", b"one\r\ntwo\n", b"one\rtwo\n", b"no end", b"\n", b"\r\n\n", b"a\0b\n"),
    *(b"\1\2\3\n", b"x" * 200 + b"\1\n", b"x\n\x1a", b"\x1b[1m\x08\x0c\n", b"\x7f\n", b"h\xc3\xa9\n", b"\xff\n"),
    *(
        b"\xef\xbb\xbfbom\n",
        "\u65e5\u672c\n".encode(),
        b"$Id$\n",
        b"$Id: abc $\n",
        b"$Id: a b $ $Id$\n",
        b"$Id:$ $Id: x$",
    ),
    *(
        b"$Id:$ $Id: x$",
        b"$Id:\n$Id$",
        b"$Id",
        b"$Idx$ $Id$$Id$",
        b"$Id: x y$Id$",
        b"$$Id:  $",
        b"$Id: 1\n",
        b"\n" * 300 + b"\0",
    ),
]


def random_content(chance):
    if chance.random() < 0.6:
        return chance.choice(_CONTENTS)
    return b"".join(chance.choices([b"$", b"Id", b"$Id", b":", b" ", b"x", b"\n", b"\r", b"\0", b"\xc3\xa9"], k=12))


def git_clone(server, target, name="app.git"):
    done = subprocess.run(
        ["git", "clone", "-q", server.url(name), str(target)], env=GIT_ENVIRONMENT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def everything(folder):
    """Path → kind, whether it is a program, and content, of all below a folder but `.git`."""
    found = {}
    for path in folder.rglob("*"):
        relative = os.fsencode(path.relative_to(folder))
        if relative == b".git" or relative.startswith(b".git/"):
            continue
        if path.is_symlink():
            found[relative] = ("link", path.readlink())
        elif path.is_dir():
            found[relative] = ("folder",)
        else:
            found[relative] = ("file", bool(path.stat().st_mode & 0o100), path.read_bytes())
    return found


def random_lines(chance):
    lines = [
        f"{chance.choice(_PATTERNS)} {' '.join(chance.sample(_ATTRIBUTES, chance.randint(1, 3)))}"
        for _ in range(chance.randint(1, 5))
    ]
    return (
        ("\ufeff" if chance.random() < 0.1 else "")
        + chance.choice(["\n", "\r\n"]).join(lines)
        + chance.choice(["", "\n"])
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_bytes_are_those_of_git_clone(server, repository, target, tmp_path, seed):
    """Line ends, `$Id$`, encodings and macros of random `.gitattributes` files, in folders within folders."""
    chance = random.Random(seed)
    macros = "[attr]dos text eol=crlf\n[attr]both dos ident\n[attr]-bad text\n[attr]mine -text\n"
    files = {".gitattributes": (macros + random_lines(chance)).encode()}
    for number in range(60):
        for folder in (f"r{number}/", f"r{number}/d/"):
            if chance.random() < 0.7:
                files[folder + ".gitattributes"] = random_lines(chance).encode()
            for name in chance.sample(["a.t", "b.t", "c .t", "b", "a.T", "\u00e9.t"], 4):
                files[folder + name] = random_content(chance)
    commit(repository, files)
    git_clone(server, tmp_path / "git")
    assert cloned(server, target, "--branch", "main", "-p") == 0
    ours, theirs = everything(target), everything(tmp_path / "git")
    differ = {each: (ours.get(each), theirs.get(each)) for each in ours | theirs if ours.get(each) != theirs.get(each)}
    assert differ == {}
    assert len(ours) > 500
    changed = [path for path, each in ours.items() if each[0] == "file" and each[2] != files.get(path.decode())]
    assert len(changed) > 20


def test_an_index_of_changed_files_is_clean(server, repository, target):
    """`git status` finds nothing to do where line ends, encodings and `$Id$` were written as the attributes say."""
    attributes = b"*.bat text eol=crlf\n*.id ident\n*.u16 text working-tree-encoding=UTF-16LE eol=lf\n* text=auto\n"
    files = {"run.bat": b"@echo off\necho hi\n", "v.id": b"$Id$\n", "t.u16": "h\u00e9llo\n".encode(), "x": b"a\nb\n"}
    commit(repository, {".gitattributes": attributes, **files})
    assert cloned(server, target, "--branch", "main", "-p") == 0
    assert (target / "run.bat").read_bytes() == b"@echo off\r\necho hi\r\n"
    assert (target / "t.u16").read_bytes() == "h\u00e9llo\n".encode("utf-16-le")
    assert git("-c", f"safe.directory={target}", "status", "--porcelain", cwd=target) == ""


def test_filters_and_encodings_that_are_not_there_are_named_once(server, repository, target, capsys):
    """One line for all filters, one for files that cannot be written as they should; LFS keeps its own line."""
    attributes = b"*.c filter=crypt\n*.l filter=lfs\n*.u working-tree-encoding=ISO-8859-1\n"
    files = {f"{n}.c": b"x" for n in range(7)} | {"a.l": b"x", "a.u": "\u65e5".encode()}
    commit(repository, {".gitattributes": attributes, **files})
    assert cloned(server, target, "--branch", "main") == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "filters of .gitattributes are not run" in lines[0]
    assert "crypt: 0.c, 1.c, 2.c, 3.c, 4.c, … (7)" in lines[0]
    assert "although .gitattributes sets: a.u" in lines[1]
    assert (target / "a.u").read_bytes() == "\u65e5".encode()


_ODD = rb"... .... .a a. ~ - -- $(x) a\b con NUL.txt git~2 .gitx .git_ * ? ' : a:b % \ ..a a.. gitmodules".split()
_ODD += [b" ", b"  ", b". ", b" .", b"a ", b"\t", b"\n", b"\x7f", b"\xff", b"\xe2\x80\x8c", b"a\xc2\xa0", b".. ", b'"']


def test_odd_trees_are_those_of_git_clone(server, repository, target, tmp_path):
    """Names of dots, blanks and control characters, of files and folders; links, programs, submodules."""
    blob, link = blob_of(repository, b"text"), blob_of(repository, b"../x")
    below = tree_of(repository, *((b"100755", name, blob) for name in sorted(_ODD)))
    folders = tree_of(repository, *((b"40000", name, below) for name in sorted(_ODD, key=lambda each: each + b"/")))
    empty = tree_of(repository)
    tree = tree_of(
        repository,
        (b"40000", b"empty", empty),
        (b"40000", b"files", below),
        (b"40000", b"folders", folders),
        (b"120000", b"link", link),
        (b"160000", b"sub", "1" * 40),
    )
    commit_tree(repository, tree)
    git_clone(server, tmp_path / "git")
    assert cloned(server, target, "--branch", "main") == 0
    ours, theirs = everything(target), everything(tmp_path / "git")
    ours.pop(b"empty")  # git's index knows no empty folders
    assert ours == theirs
    assert len(ours) > len(_ODD) ** 2


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """Whether git takes a name into its index, with the protection of NTFS and of HFS+."""
    folder = tmp_path_factory.mktemp("names")
    git("init", "-q", ".", cwd=folder)
    blob = git("hash-object", "-w", "--stdin", cwd=folder, stdin=b"x")

    def ask(name, *, link):
        mode = "120000" if link else "100644"
        line = f"{mode} {blob}\t".encode() + name + b"\0"
        options = ["-c", "core.protectNTFS=true", "-c", "core.protectHFS=true"]
        done = subprocess.run(
            ["git", *options, "update-index", "-z", "--index-info"],
            input=line,
            cwd=folder,
            env={**GIT_ENVIRONMENT, "GIT_INDEX_FILE": str(folder / "index")},
            capture_output=True,
            check=False,
        )
        (folder / "index").unlink(missing_ok=True)
        return done.returncode == 0 and b"Ignoring path" not in done.stderr

    return ask


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.binary(min_size=1, max_size=10),
        st.text(alphabet=".gitGIT~1 :-_\\aZ\u200c\ufeff", min_size=1, max_size=8).map(str.encode),
        st.sampled_from(
            [b".gitmodules", b"gitmod~1", b"gi7eba~1", b"gi7eb~10", b".GITMODULES ", b".gitmodules:x", b"~1000000"]
        ),
        st.tuples(st.sampled_from([b".git", b"git~1", b".gitmodules"]), st.binary(max_size=3)).map(b"".join),
    ),
    st.booleans(),
)
def test_names_are_refused_as_git_refuses_them(checked, name, link):
    """Every name that git's index takes may be written, and no other."""
    if b"\0" in name or b"/" in name:
        assert not is_safe(name, link=link)
        return
    assert is_safe(name, link=link) == checked(name, link=link)


@given(st.text(alphabet='*a/"\\[]! \t=-.\n\r#0x7', max_size=60))
def test_no_attributes_file_is_an_error(text):
    """Whatever is in a `.gitattributes` file, a path has attributes, or none."""
    found = Attributes().within(b"", text.encode()).within(b"a/", text.encode())
    assert isinstance(conversion_of(found.of(b"a/b")), Conversion)


@given(st.binary(max_size=40), st.sampled_from(["utf-16", "latin-1", "rot13", "unicode_escape", "no", "zlib", "idna"]))
def test_no_content_is_an_error(content, encoding):
    """A content is written in the encoding, or it is said that it cannot be."""
    conversion = Conversion(ident=True, crlf="auto", encoding=encoding)
    if encoding in {"utf-16", "latin-1"} or not content:
        with suppress(CannotEncode):
            assert isinstance(convert(content, conversion, b"\1" * 20), bytes)
    else:
        with pytest.raises(CannotEncode):
            convert(content, conversion, b"\1" * 20)


def test_macros_without_end_are_followed_in_bounded_depth():
    """A chain of ten thousand macros, and one that leads back to itself, cost no stack."""
    chain = "\n".join(f"[attr]m{n} m{n + 1}" for n in range(10_000)) + "\n[attr]m10000 text eol=crlf m0\n* m0\n"
    assert conversion_of(Attributes().within(b"", chain.encode()).of(b"x")).crlf == "text"
