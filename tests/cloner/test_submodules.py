"""Submodules are cloned as git clones them, from allowed hosts only, and no other host ever gets the credential."""

from __future__ import annotations

import base64
import os
import stat

import pytest

from git_events_runner.cloner import submodules
from git_events_runner.cloner.__main__ import run
from git_events_runner.cloner.submodules import relative_url
from git_events_runner.errors import ConfigError
from git_events_runner.resources.clone_options import OPTIONS_VARIABLE, CloneOptions
from git_events_runner.resources.description import SOURCE_VARIABLE, SourceDescription
from tests.cloner.cloning import blob_of, tree_of
from tests.edges.git.gitserver import GitServer, commit, commit_tree, git, new_repository

KEPT = "--preserve-git-folder"
BASIC = "Basic " + base64.b64encode(b"robot:word").decode()


def git_in(target, *arguments):
    return git("-c", f"safe.directory={target}", *arguments, cwd=target)


def superproject(repository, links, *, modules=None):
    """Commit links (path → commit) with `.gitmodules` (path → URL, or a text), and a file."""
    if not isinstance(modules, bytes):
        modules = "".join(
            f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n' for path, url in (modules or {}).items()
        ).encode()
    root = {b".gitmodules": (b"100644", blob_of(repository, modules)), b"file": (b"100644", blob_of(repository))}
    folders = {}
    for path, made in links.items():
        above, _, name = path.rpartition("/")
        place = folders.setdefault(above, {}) if above else root
        place[name.encode()] = (b"160000", made)
    for above, entries in folders.items():
        tree = tree_of(repository, *((mode, name, made) for name, (mode, made) in sorted(entries.items())))
        root[above.encode()] = (b"40000", tree)
    tree = tree_of(repository, *((mode, name, made) for name, (mode, made) in sorted(root.items())))
    return commit_tree(repository, tree)


def cloned(server, target, head, *arguments, hosts=(), name="app.git", secrets=None, **options):
    """Clone with submodules as a Job does; `secrets` is a folder with a user name and a password."""
    described = {"auth_type": "basic", "secret_dir": str(secrets)} if secrets else {}
    source = SourceDescription(url=server.url(name), **described).to_json()
    chosen = CloneOptions(**({"submodules": True, "submodule_hosts": tuple(hosts)} | options))
    environment = {SOURCE_VARIABLE: source, OPTIONS_VARIABLE: chosen.to_json()}
    return run(["-k", "GitRepo", "-s", "app", "--commit", head, "-d", str(target), *arguments], environment)


@pytest.fixture
def secrets(tmp_path):
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "username").write_text("robot")
    (folder / "password").write_text("word")
    return folder


@pytest.fixture
def library(server):
    repository = new_repository(server.root / "libs/one.git")
    return repository, commit(repository, {"lib": b"1", "d/e": b"2"})


@pytest.mark.parametrize("kept", [False, True])
def test_a_submodule_is_in_its_folder(server, repository, library, target, capsys, kept):
    """At the commit of the link, also if its branch moved on; with relative and absolute URLs, in folders below."""
    path, made = library
    commit(path, {"lib": b"newer"}, parent=made)
    head = superproject(
        repository,
        {"one": made, "deep/two": made},
        modules={"one": "./../libs/one.git", "deep/two": server.url("libs/one.git")},
    )
    assert cloned(server, target, head, *([KEPT] if kept else [])) == 0
    for folder in ("one", "deep/two"):
        assert (target / folder / "lib").read_bytes() == b"1"
        assert (target / folder / "d/e").read_bytes() == b"2"
        assert stat.S_IMODE((target / folder).stat().st_mode) == 0o775
    out = capsys.readouterr()
    assert "6 files" in out.out
    assert out.err == ""
    if kept:
        assert git_in(target, "status", "--porcelain") == ""
    else:
        assert not (target / ".git").exists()


def test_submodules_of_submodules(server, repository, library, target):
    """A relative URL is below that of the repository that has it, not below the source's."""
    middle = new_repository(server.root / "group/middle.git")
    inner = superproject(middle, {"in/ner": library[1]}, modules={"in/ner": "../../libs/one.git"})
    head = superproject(repository, {"mid": inner}, modules={"mid": "../group/middle.git"})
    assert cloned(server, target, head) == 0
    assert (target / "mid/in/ner/lib").read_bytes() == b"1"


def test_the_credential_goes_to_the_sources_own_place_only(server, repository, library, target, tmp_path, secrets):
    """To the same host, scheme and port; another port of the host, and a host that is allowed, are asked without it."""
    with GitServer(tmp_path / "other") as other:
        path = new_repository(other.root / "lib.git")
        made = commit(path, {"other": b"1"})
        server.authorization = BASIC
        named = other.url("lib.git").replace("127.0.0.1", "localhost")
        links = {"own": library[1], "port": made, "named": made}
        modules = {"own": "../libs/one.git", "port": other.url("lib.git"), "named": named}
        head = superproject(repository, links, modules=modules)
        assert cloned(server, target, head, secrets=secrets, hosts=("localhost",)) == 0
        assert {exchange.authorization for exchange in other.exchanges} == {None}
        assert {exchange.authorization for exchange in server.exchanges} == {BASIC}
        assert (target / "own/lib").exists()
        assert (target / "port/other").exists()
        assert (target / "named/other").exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://localhost:1/lib.git", "add localhost to spec.actionJob.clone.submoduleHosts"),
        ("https://elsewhere.example/lib.git", "add elsewhere.example to spec.actionJob.clone.submoduleHosts"),
        ("git@elsewhere.example:lib.git", "add elsewhere.example to spec.actionJob.clone.submoduleHosts"),
        ("ssh://git@127.0.0.1/lib.git", "use a relative URL in .gitmodules"),
        ("file:///etc", "only http, https and ssh URLs are supported"),
        ("/srv/lib.git", "only http, https and ssh URLs are supported"),
        ("-x", "only http, https and ssh URLs are supported"),
        ("../../../../../../../../x", "points above the host"),
        ("http://robot:word@127.0.0.1/lib.git", "put the user name and password into a Secret"),
    ],
)
def test_urls_that_are_not_allowed(server, repository, library, target, capsys, url, message):
    """The message names the submodule, and the clone leaves nothing behind."""
    head = superproject(repository, {"libs/x": library[1]}, modules={"libs/x": url})
    assert cloned(server, target, head) == 2
    error = capsys.readouterr().err
    assert "submodule libs/x: " in error
    assert message in error
    assert list(target.iterdir()) == []


def test_addresses_that_no_source_may_have_are_refused(server, repository, library, target, capsys):
    """A host that is allowed by name is judged by its address all the same: no metadata service is asked."""
    head = superproject(repository, {"x": library[1]}, modules={"x": "http://169.254.169.254/latest.git"})
    assert cloned(server, target, head, hosts=("169.254.169.254",)) != 0
    assert "submodule x: the address is one that no source may point to" in capsys.readouterr().err


@pytest.mark.parametrize(
    "modules", [b"", b'[submodule "y"]\npath = y\nurl = ../libs/one.git\n', b'[submodule "x"]\npath = x\n']
)
def test_a_link_without_a_url(server, repository, library, target, capsys, modules):
    """As git, the clone fails; the message names the path."""
    head = superproject(repository, {"x": library[1]}, modules=modules)
    assert cloned(server, target, head) == 2
    assert "submodule x: .gitmodules has no URL for it" in capsys.readouterr().err


def test_a_broken_list_of_submodules(server, repository, library, target, capsys):
    """The message has file and line."""
    head = superproject(repository, {"x": library[1]}, modules=b"\n[submodule\n")
    assert cloned(server, target, head) == 2
    assert ".gitmodules: line 2 is not in git's configuration format" in capsys.readouterr().err


def test_a_commit_that_the_submodule_does_not_have(server, repository, library, target, capsys):
    """Exit code of what is not found; the message names the submodule and the commit."""
    head = superproject(repository, {"x": "d" * 40}, modules={"x": "../libs/one.git"})
    assert cloned(server, target, head) == 4
    error = capsys.readouterr().err
    assert "submodule x: " in error
    assert "d" * 40 in error


def test_a_repository_that_has_itself_as_a_submodule_ends(server, repository, target, capsys):
    """The depth is bounded, whatever commits the links name."""
    made = commit(repository, {"a": b"1"})
    for _ in range(12):
        made = superproject(repository, {"x": made}, modules={"x": "./../app.git"})
    assert cloned(server, target, made) == 7
    assert "nested more than 8 deep" in capsys.readouterr().err


def test_more_submodules_than_may_be_cloned(server, repository, library, target, capsys, monkeypatch):
    """Their number is bounded for the whole clone."""
    monkeypatch.setattr(submodules, "MOST_SUBMODULES", 3)
    links = {f"x{number}": library[1] for number in range(4)}
    head = superproject(repository, links, modules=dict.fromkeys(links, "../libs/one.git"))
    assert cloned(server, target, head) == 7
    assert "more than 3 submodules" in capsys.readouterr().err


def test_submodules_count_for_the_limits(server, repository, library, target, capsys):
    """A submodule cannot be larger than what its parent has left."""
    path, first = library
    made = commit(path, {"large": os.urandom(50_000)}, parent=first)
    head = superproject(repository, {"x": made}, modules={"x": "../libs/one.git"})
    source = SourceDescription(url=server.url("app.git"), max_bytes=60_000).to_json()
    told = {SOURCE_VARIABLE: source, OPTIONS_VARIABLE: CloneOptions(submodules=True).to_json()}
    assert run(["-k", "GitRepo", "-s", "app", "--commit", head, "-d", str(target)], told) == 7
    assert "submodule x: the clone is larger than 60000 bytes" in capsys.readouterr().err


def test_sparse_patterns_select_submodules(server, repository, library, target):
    """One that is not selected is neither cloned nor there; a filter brings the list of submodules in any case."""
    links = {"want": library[1], "not": library[1]}
    head = superproject(repository, links, modules=dict.fromkeys(links, "../libs/one.git"))
    assert cloned(server, target, head, sparse=("/want",), blobless=True) == 0
    assert {path.name for path in target.iterdir()} == {"want"}
    assert (target / "want/lib").read_bytes() == b"1"


def test_without_the_option_folders_stay_empty(server, repository, library, target, capsys):
    """One line says so, and which option is meant."""
    head = superproject(repository, {"x": library[1]}, modules={"x": "../libs/one.git"})
    assert cloned(server, target, head, submodules=False, submodule_hosts=()) == 0
    assert list((target / "x").iterdir()) == []
    assert "submodules are not cloned (spec.actionJob.clone.submodules)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("parent", "url"),
    [
        (parent, url)
        for parent in (
            *("https://git.example/team/app.git", "https://git.example/team/app/", "https://git.example:8443/app"),
            *("git@git.example:team/app.git", "git@git.example:app", "ssh://git@git.example/team/app"),
        )
        for url in ("../lib", "./lib", "../../x/lib.git", ".././lib/", "./../lib")
        if (parent, url) != ("git@git.example:app", "../../x/lib.git")  # above the host
    ],
)
def test_relative_urls_are_what_git_makes_of_them(tmp_path, parent, url):
    """Also those of the `host:path` form, and those that end with a slash."""
    repository = tmp_path / "work"
    git("init", "-q", str(repository), cwd=tmp_path)
    git("config", "remote.origin.url", parent, cwd=repository)
    (repository / ".gitmodules").write_text(f'[submodule "x"]\n\tpath = x\n\turl = {url}\n')
    git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},x", cwd=repository)
    git("submodule", "init", cwd=repository)
    assert relative_url(parent, url) == git("config", "submodule.x.url", cwd=repository)


def test_a_relative_url_above_everything():
    """No URL comes of it."""
    with pytest.raises(ConfigError, match="above the host"):
        relative_url("git@git.example:app", "../../x")
