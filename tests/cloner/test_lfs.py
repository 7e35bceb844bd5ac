"""Files in Git LFS: contents in place of pointers, checked and bounded; a credential for the source's place only."""

from __future__ import annotations

import base64
import os
import stat

import pytest

from git_events_runner.cloner import lfs, pointers
from git_events_runner.cloner.__main__ import run
from git_events_runner.resources.clone_options import OPTIONS_VARIABLE, CloneOptions
from git_events_runner.resources.description import SOURCE_VARIABLE, SourceDescription
from tests.cloner.test_submodules import superproject
from tests.edges.git.gitserver import GitServer, commit, git, new_repository
from tests.servers.lfs import ATTRIBUTES, LfsStore, pointer

KEPT = "--preserve-git-folder"
BASIC = "Basic " + base64.b64encode(b"robot:word").decode()


def git_in(target, *arguments):
    return git("-c", f"safe.directory={target}", *arguments, cwd=target)


def cloned(server, target, head, *arguments, secrets=None, limits=None, name="app.git", **options):
    """Clone with LFS as a Job does."""
    described = {"auth_type": "basic", "secret_dir": str(secrets)} if secrets else {}
    source = SourceDescription(url=server.url(name), **described, **(limits or {})).to_json()
    environment = {SOURCE_VARIABLE: source, OPTIONS_VARIABLE: CloneOptions(**({"lfs": True} | options)).to_json()}
    return run(["-k", "GitRepo", "-s", "app", "--commit", head, "-d", str(target), *arguments], environment)


@pytest.fixture
def store(server):
    made = server.lfs = LfsStore(server.url("").rstrip("/"))
    return made


@pytest.fixture
def secrets(tmp_path):
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "username").write_text("robot")
    (folder / "password").write_text("word")
    return folder


@pytest.mark.parametrize("kept", [False, True])
def test_contents_are_in_place_of_their_pointers(server, repository, store, target, capsys, kept):
    """Also of large and of equal files; `git status` is clean; a pointer that no attribute names stays one."""
    large, small = os.urandom(3_000_000), b"small"
    files = {
        ".gitattributes": ATTRIBUTES,
        "a/large.bin": store.add(large),
        "a/small.bin": store.add(small),
        "b/again.bin": store.add(small),
        "plain.bin": b"not in LFS",
        "pointer.txt": pointer(b"something"),
    }
    head = commit(repository, files)
    assert cloned(server, target, head, *([KEPT] if kept else [])) == 0
    assert (target / "a/large.bin").read_bytes() == large
    assert (target / "a/small.bin").read_bytes() == (target / "b/again.bin").read_bytes() == small
    assert (target / "plain.bin").read_bytes() == b"not in LFS"
    assert (target / "pointer.txt").read_bytes() == files["pointer.txt"]
    assert stat.S_IMODE((target / "a/small.bin").stat().st_mode) == 0o664
    [(path, headers, asked)] = store.batches
    assert path == "/app.git/info/lfs/objects/batch"
    assert headers["Accept"] == headers["Content-Type"] == "application/vnd.git-lfs+json"
    assert (asked["operation"], asked["transfers"], len(asked["objects"])) == ("download", ["basic"], 2)
    assert len(store.downloads) == 2
    assert capsys.readouterr().err == ""
    assert kept == (target / ".git").exists()
    if kept:
        plain = ("-c", "filter.lfs.clean=cat", "-c", "filter.lfs.required=true")
        assert git_in(target, *plain, "status", "--porcelain") == ""


def test_more_files_than_one_request_has(server, repository, store, target):
    """A hundred contents a request, each downloaded once."""
    files = {f"{number}.bin": store.add(b"%d" % number) for number in range(250)}
    head = commit(repository, files | {".gitattributes": ATTRIBUTES})
    assert cloned(server, target, head) == 0
    assert [len(asked["objects"]) for _, _, asked in store.batches] == [100, 100, 50]
    assert all((target / f"{number}.bin").read_bytes() == b"%d" % number for number in range(250))


def test_only_selected_files_are_fetched(server, repository, store, target):
    """Sparse patterns and a filter apply to contents of LFS as to others."""
    files = {".gitattributes": ATTRIBUTES, "a/x.bin": store.add(b"x"), "b/y.bin": store.add(b"y")}
    head = commit(repository, files)
    assert cloned(server, target, head, sparse=("/a/",), blobless=True) == 0
    assert (target / "a/x.bin").read_bytes() == b"x"
    assert len(store.downloads) == 1


def test_a_missing_content_fails_the_clone_with_its_path(server, repository, store, target, capsys):
    """Exit code of what is not found; nothing is left behind."""
    head = commit(repository, {".gitattributes": ATTRIBUTES, "a.bin": store.add(b"a"), "d/gone.bin": pointer(b"gone")})
    assert cloned(server, target, head) == 4
    error = capsys.readouterr().err
    assert "file d/gone.bin in Git LFS: " in error
    assert "404 Object does not exist" in error
    assert list(target.iterdir()) == []


@pytest.mark.parametrize(
    ("served", "code", "message"),
    [
        (lambda _: b"evil!", 6, "another SHA-256 than its pointer names"),
        (lambda content: content + b"more", 6, "more than its 5 bytes"),
        (lambda content: content[:-1], 5, "cut off after 4 of 5 bytes"),
    ],
)
def test_another_content_is_refused(server, repository, store, target, capsys, monkeypatch, served, code, message):
    """Whatever the server sends, only the content that the pointer names is left at the path."""
    monkeypatch.setattr("git_events_runner.cloner.clone.PAUSES_S", ())
    store.served = served
    head = commit(repository, {".gitattributes": ATTRIBUTES, "x.bin": store.add(b"right")})
    assert cloned(server, target, head) in {code, 6}
    error = capsys.readouterr().err
    assert "file x.bin in Git LFS: " in error
    assert message in error
    assert list(target.iterdir()) == []


def test_contents_count_for_the_limits(server, repository, store, target, capsys):
    """Before they are written, and once for each file that has them."""
    content = os.urandom(40_000)
    head = commit(repository, {".gitattributes": ATTRIBUTES, "x.bin": store.add(content), "y.bin": store.add(content)})
    assert cloned(server, target, head, limits={"max_bytes": 60_000}) == 7
    assert "larger than 60000 bytes" in capsys.readouterr().err
    assert list(target.iterdir()) == []


def test_more_files_than_may_be_fetched(server, repository, store, target, capsys, monkeypatch):
    """Their number is bounded."""
    for module in ("lfs", "clone"):
        monkeypatch.setattr(f"git_events_runner.cloner.{module}.MOST_POINTERS", 3)
    files = {f"{number}.bin": store.add(b"%d" % number) for number in range(5)}
    head = commit(repository, files | {".gitattributes": ATTRIBUTES})
    assert cloned(server, target, head) == 7
    assert "more than 3 files in Git LFS" in capsys.readouterr().err


def test_the_credential_goes_to_the_sources_place_only(server, repository, store, target, tmp_path, secrets):
    """The batch API gets it; a storage service elsewhere gets the headers that the API gives for it alone."""
    with GitServer(tmp_path / "storage") as storage:
        storage.lfs = LfsStore("")
        storage.lfs.contents = store.contents
        server.authorization = BASIC
        store.base = storage.url("").rstrip("/")
        store.headers = storage.lfs.headers = {"X-Signed": "once"}
        head = commit(repository, {".gitattributes": ATTRIBUTES, "x.bin": store.add(b"x")})
        assert cloned(server, target, head, secrets=secrets) == 0
        assert (target / "x.bin").read_bytes() == b"x"
        assert {exchange.authorization for exchange in storage.exchanges} == {None}
        assert store.batches[0][1]["Authorization"] == BASIC


@pytest.mark.parametrize(("headers", "sent"), [({}, BASIC), ({"Authorization": "RemoteAuth x"}, "RemoteAuth x")])
def test_downloads_from_the_sources_place(server, repository, store, target, secrets, headers, sent):
    """They get the source's credential, unless the API gives another one."""
    store.headers = headers
    head = commit(repository, {".gitattributes": ATTRIBUTES, "x.bin": store.add(b"x")})
    assert cloned(server, target, head, secrets=secrets) == 0
    assert [seen["Authorization"] for seen in store.downloads] == [sent]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": {"download": {"href": "http://169.254.169.254/latest"}}}, "one that no source may point to"),
        ({"actions": {"download": {"href": "file:///etc/passwd"}}}, "another scheme than https"),
        ({"actions": {"download": {"href": "/relative"}}}, "another scheme than https"),
        ({"actions": {"download": {"href": 7}}}, "no download for"),
        ({"actions": {}}, "no download for"),
        ({"actions": None}, "no download for"),
        ({"actions": {"download": {"href": "http://127.0.0.1:1/", "header": {"X": "a\r\nY: b"}}}}, "cannot be sent"),
        ({"actions": {"download": {"href": "http://127.0.0.1:1/", "header": [1]}}}, "cannot be sent"),
        ({"size": 9}, "another size"),
        ({"oid": "0" * 64}, "does not answer for"),
        ({"error": {"code": 403, "message": "no\x1b[31m"}}, "403 no\\x1b[31m"),
        ({"error": "what"}, "does not give"),
    ],
)
def test_answers_that_cannot_be_used(server, repository, store, target, capsys, change, message):
    """Every field of the answer is a server's to choose: none leads to a refused address, or into a header."""
    store.change = lambda each: each.update(change)
    head = commit(repository, {".gitattributes": ATTRIBUTES, "x.bin": store.add(b"x")})
    assert cloned(server, target, head) != 0
    error = capsys.readouterr().err
    assert message in error
    assert "x.bin in Git LFS" in error
    assert "unexpected" not in error


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"objects": 1}', b'{"objects": [1]}', b'{"objects": [{}]}'])
def test_an_answer_that_is_none(server, repository, target, capsys, body):
    """It is a failure of the server, with the path of a file that it was about."""
    server.lfs = lambda *request: (200, {}, body) if request[1].endswith("/batch") else None
    head = commit(repository, {".gitattributes": ATTRIBUTES, "x.bin": pointer(b"x")})
    assert cloned(server, target, head) == 6
    assert "x.bin in Git LFS" in capsys.readouterr().err


def test_a_server_without_lfs(server, repository, target, capsys):
    """The message says what is missing."""
    server.lfs = lambda *request: (404, {}, b"") if request[1].endswith("/batch") else None
    head = commit(repository, {".gitattributes": ATTRIBUTES, "x.bin": pointer(b"x")})
    assert cloned(server, target, head) == 4
    assert "the server has no Git LFS for this repository" in capsys.readouterr().err


def test_a_configured_server(server, repository, store, target, capsys):
    """`.lfsconfig` may name another path of the source's place, and no other place."""
    files = {".gitattributes": ATTRIBUTES, "x.bin": store.add(b"x")}
    own = b"[lfs]\n\turl = %s\n" % server.url("else/where").encode()
    assert cloned(server, target, commit(repository, files | {".lfsconfig": own})) == 0
    assert store.batches[0][0] == "/else/where/objects/batch"
    other = b'[lfs]\n\turl = "https://lfs.example/x"\n'
    assert cloned(server, target, commit(repository, files | {".lfsconfig": other})) == 2
    assert ".lfsconfig names the LFS server https://lfs.example/x" in capsys.readouterr().err


def test_contents_of_submodules(server, repository, store, target):
    """They come from the server of the submodule's repository."""
    library = new_repository(server.root / "lib.git")
    made = commit(library, {".gitattributes": ATTRIBUTES, "deep/x.bin": store.add(b"x")})
    head = superproject(repository, {"lib": made}, modules={"lib": "../lib.git"})
    assert cloned(server, target, head, submodules=True) == 0
    assert (target / "lib/deep/x.bin").read_bytes() == b"x"
    assert store.batches[0][0] == "/lib.git/info/lfs/objects/batch"


def test_without_the_option_pointers_stay(server, repository, store, target, capsys):
    """One line says so, and which option is meant; no LFS server is asked."""
    files = {".gitattributes": ATTRIBUTES, "x.bin": store.add(b"x")}
    assert cloned(server, target, commit(repository, files), lfs=False) == 0
    assert (target / "x.bin").read_bytes() == files["x.bin"]
    assert store.batches == []
    assert "not fetched (spec.actionJob.clone.lfs)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"version x\n", b"oid sha256:\n", b"size 1\n"),
        pointer(b"x").replace(b"size 1", b"size -1"),
        pointer(b"x").replace(b"size 1", b"size 1" + b"0" * 30),
        pointer(b"x").replace(b"sha256:", b"sha1:"),
        pointer(b"x").replace(b"sha256:", b"sha256:../"),
        pointer(b"x") + b"ext-0-foo sha256:1\n",
        pointer(b"x") + b"size 2\n",
        pointer(b"x") + b"x" * 1024,
    ],
)
def test_what_is_no_pointer(text):
    """No path and no size comes of a file that only begins as one."""
    assert pointers.read(text) is None


def test_the_default_address_is_that_of_git_lfs():
    """With `.git` at its end, whether the source's URL has it or not."""
    from git_events_runner.edges.git.request import Repository

    class Empty:
        id_bytes = 20

        def read(self, *_):
            return b""

    for url in ("https://git.example/a/app", "https://git.example/a/app.git", "https://git.example/a/app.git/"):
        assert lfs.api_url(Repository(url=url), Empty(), b"") == "https://git.example/a/app.git/info/lfs"
