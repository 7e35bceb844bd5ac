"""What a git server can do to us, G1 to G15, and what has to come of it: the lines of `benchmarks.hostile`.

A fault's `serve` runs in a process of its own and gives a URL; `ask` is the client's part: it gives the outcome. The
harm is done by the scripts of the tests.
"""

import asyncio
import contextlib
import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import asyncssh

from git_events_runner.cloner.__main__ import run
from git_events_runner.edges.git import Limits, http_remote
from git_events_runner.edges.git.access import SshAccess
from git_events_runner.edges.git.pktline import packet
from git_events_runner.edges.git.request import Credential, GitRequest, Reference, Repository
from git_events_runner.errors import GitError
from git_events_runner.resources.description import SOURCE_VARIABLE, SourceDescription
from tests.edges.git import attacks, bombs, sshattacks
from tests.edges.git.gitserver import Certificates, GitServer, commit, commit_tree, git, new_repository, scripted

MAIN, TAG = Reference("branch", "main"), Reference("tag", "v1")
# As installed; but where a server only stays silent, one second stands for the deadline of 20.
LIMITS = Limits()
HASTY = replace(LIMITS, deadline_s=1.0)
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`expected` begins the outcome; `mount` are the options of a small volume to clone into."""

    line: str
    what: str
    expected: str
    serve: Callable
    ask: Callable
    mount: str = ""


# --- the client ---------------------------------------------------------------------------------------------------


async def _outcome(question):
    """What was answered, or the reason of the failure; nothing secret or unprintable may be in its message."""
    try:
        return await question
    except GitError as error:
        message = str(error)
        return error.reason if message.isprintable() and "secret-word" not in message else "LEAKS"


def check(reference=MAIN, *, limits=LIMITS, **options):
    """Which commit is the reference?"""
    options = {"credential": Credential.token("Bearer secret-word"), **options}

    async def ask(url, _):
        remote = http_remote(limits)

        async def commit_of():
            answer = await remote.commit_of(GitRequest(Repository(url=url, **options), reference))
            return "answered" if answer.tag_object is None else "answered, the tag's commit"

        try:
            return await _outcome(commit_of())
        finally:
            await remote.close()

    return ask


async def crowd(url, _):
    """A hundred askers of the silent host, and one of a good host beside them."""
    remote = http_remote(HASTY)
    async with scripted(attacks.answering(attacks.listed(b"refs/heads/main"))) as good:
        questions = [GitRequest(Repository(url=f"{url}/{n}.git"), MAIN) for n in range(100)]
        waiting = [asyncio.ensure_future(_outcome(remote.commit_of(each))) for each in questions]
        await asyncio.sleep(0.1)
        began = time.perf_counter()
        await remote.commit_of(GitRequest(Repository(url=good), MAIN))
        took_ms = 1000 * (time.perf_counter() - began)
        reasons = sorted(set(await asyncio.gather(*waiting)))
        await remote.close()
    return f"{' or '.join(reasons)}; the good host answered in {took_ms:.0f} ms"


def tree(commit_id="a" * 40):
    """Which files does the commit have?"""

    async def ask(url, _):
        remote = http_remote(LIMITS)

        async def files():
            return f"{len(await remote.tree(Repository(url=url), commit_id))} files"

        try:
            return await _outcome(files())
        finally:
            await remote.close()

    return ask


def clone(*, reference=("--branch", "main"), allowed=frozenset()):
    """Clone into `target`, as the init container does; nothing may be left there but what is allowed."""

    async def ask(url, folder):
        target = folder / "target"
        said = io.StringIO()
        arguments = ["--kind", "GitRepo", "--source", "app", "--destination", str(target), *reference]
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            variables = {SOURCE_VARIABLE: SourceDescription(url=url).to_json()}
            code = await asyncio.to_thread(run, arguments, variables)
        left = {path.name for path in target.iterdir()}
        assert left == allowed, left
        words = said.getvalue().splitlines()[-1].removeprefix("gitrepo-cloner: ")
        place = words.replace(str(target), "DIR").replace(url, "URL")
        return f"exit code {code}: {place}" if code else f"cloned: {describe(target)}"

    return ask


def describe(folder):
    """The modes of what was cloned."""
    kinds = {0o040000: "folder", 0o120000: "link", 0o100000: "file"}
    found = {path.name: path.lstat().st_mode for path in sorted(folder.iterdir())}
    return ", ".join(f"{name} a {kinds[mode & 0o170000]} {mode & 0o7777:o}" for name, mode in found.items())


# --- the server ---------------------------------------------------------------------------------------------------


def http(script, tls=None):
    """A scripted server."""
    return late(lambda: script, tls)


def late(build, tls=None):
    """A scripted server whose script is made where it runs: what it sends is not in the client's memory."""

    @contextlib.asynccontextmanager
    async def serve(_):
        async with scripted(build(), tls=tls) as url:
            yield url

    return serve


def listing(count, *more):
    """A server without v2, and so many references."""
    names = (b"refs/heads/topic/branch-%d" % number for number in range(count))
    return late(lambda: attacks.answering(b"", kind=attacks.older(*names, *more)))


def sending(build):
    """A server that answers every fetch with the pack that `build` makes."""
    return late(lambda: attacks.answering(fetched(build())))


async def plain(_, writer):
    """HTTP without having been asked."""
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


@contextlib.asynccontextmanager
async def plain_at_https(_):
    """A server that speaks HTTP where the URL says https."""
    async with scripted(plain) as url:
        yield url.replace("http:", "https:")


def dropping(scheme):
    """Connections that are neither accepted nor refused."""

    @contextlib.asynccontextmanager
    async def serve(_):
        with attacks.full_backlog() as port:
            yield f"{scheme}://127.0.0.1:{port}/x.git"

    return serve


def ssh(keys, behaviour="", process=None, script=None):
    """An SSH server with a behaviour; or a script that is none."""

    @contextlib.asynccontextmanager
    async def serve(_):
        if script is not None:
            async with scripted(script) as url:
                yield url.replace("http://", "ssh://git@")
            return
        async with sshattacks.serving(keys, behaviour, process) as port:
            yield f"ssh://git@127.0.0.1:{port}/x.git"

    return serve


def real(make, *options, v2=True):
    """`git http-backend` with the repository that `make` fills."""

    @contextlib.asynccontextmanager
    async def serve(folder):
        with GitServer(folder) as server:
            server.v2 = v2
            repository = new_repository(folder / "app.git", *options)
            make(repository)
            yield server.url("app.git")

    return serve


def fetched(data):
    """The answer to a fetch: this pack, cut into packets."""
    parts = [data[at : at + 60_000] for at in range(0, len(data), 60_000)]
    return packet(b"packfile\n") + b"".join(packet(b"\1" + part) for part in parts) + b"0000"


def bomb():
    """Blobs that inflate to 1 GiB, out of 1 MiB."""
    blob = bombs.entry(3, bytes(64 * 2**20))
    return bombs.made_pack(*[blob] * (GIB // (64 * 2**20)))


def tagged(repository):
    """An annotated tag, moved once."""
    first = commit(repository, {"a": b"1"})
    second = commit(repository, {"a": b"2"}, parent=first)
    for each in (first, second):
        git("tag", "-f", "-a", "-m", "m", "v1", each, cwd=repository)


def deleted(repository):
    """A branch that was there."""
    commit(repository, {"a": b"1"}, branch="other")


def large(repository):
    """More than the volume holds, in bytes and in files."""
    commit(repository, {f"d{number}/f": os.urandom(10_000) for number in range(40)})


def holding(*entries):
    """A commit with one tree of these (mode, name, content); content None is a tree with a file `config`."""

    def make(repository):
        def blob(content):
            return git("hash-object", "-w", "--stdin", cwd=repository, stdin=content)

        def tree_of(items):
            raw = b"".join(b"%s %s\0%s" % (mode, name, bytes.fromhex(object_id)) for mode, name, object_id in items)
            return git("hash-object", "-t", "tree", "--literally", "-w", "--stdin", cwd=repository, stdin=raw)

        below = tree_of([(b"100644", b"config", blob(b"x"))])
        ids = [below if content is None else content.decode() if mode == b"160000" else blob(content)
               for mode, _, content in entries]  # fmt: skip
        commit_tree(
            repository, tree_of([(mode, name, each) for (mode, name, _), each in zip(entries, ids, strict=True)])
        )

    return make


# --- the lines ----------------------------------------------------------------------------------------------------


def faults(folder):
    """All of them, in order."""
    folder.mkdir()
    certificates = Certificates(folder)
    own, theirs = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    keys = own, theirs
    access = SshAccess(private_key=own.export_private_key().decode(), insecure=True)
    strict = replace(access, insecure=False)
    other = replace(strict, known_hosts=f"* {own.export_public_key().decode().strip()}")
    tls, good_ca = certificates.server_context, certificates.ca_pem
    hasty = check(limits=HASTY)
    hasty_ssh = check(limits=HASTY, credential=None, ssh=access)
    over_ssh = partial(check, credential=None)
    redirect = partial(attacks.refusing, 302)
    forged_v0 = attacks.answering(b"", kind=attacks.older(*attacks.FORGED))
    link = (b"120000", b"d", b"/tmp")

    def fault(line, what, expected, serve, ask, mount=""):
        return Fault(line=line, what=what, expected=expected, serve=serve, ask=ask, mount=mount)

    return [
        fault("G1", "never answers", "Timeout", http(attacks.silent), hasty),
        fault("G1", "never answers 100 askers", "Timeout; the good", http(attacks.silent), crowd),
        fault("G2", "drips its headers", "Timeout", http(attacks.dripping_head), hasty),
        fault("G2", "drips its answer", "Timeout", http(attacks.dripping_answer), hasty),
        fault("G3", "connection hangs, HTTP", "Timeout", dropping("http"), hasty),
        fault("G3", "connection hangs, SSH", "Timeout", dropping("ssh"), hasty_ssh),
        fault("G4", "200,000 references, no v2", "answered",
              listing(200_000, b"refs/heads/main"), check()),
        fault("G4", "2,000,000 references, no v2", "RepositoryTooLarge",
              listing(2_000_000), check()),
        fault("G4", "references without end, v2", "RepositoryTooLarge", http(attacks.huge_refs_after_v2), check()),
        fault("G5", "pack without end", "RepositoryTooLarge", http(attacks.endless_pack), tree()),
        fault("G5", "1 MiB that inflates to 1 GiB", "RepositoryTooLarge",
              sending(bomb), tree()),
        fault("G5", "deltas that multiply", "RepositoryTooLarge", sending(bombs.multiplying_delta), tree()),
        *(fault("G5", what, "RepositoryTooLarge", sending(lambda make=make: make()[0]), tree(make()[1]))
          for what, make in (("folders that multiply", bombs.multiplying_tree),
                             ("folders that multiply, long names", bombs.long_names),
                             ("a folder of 2,700,000 files", bombs.one_folder))),
        fault("G5", "a pack of 5,000,000 objects", "RepositoryTooLarge", sending(bombs.many_objects), tree()),
        fault("G5", "40 KiB of 20,000,000 tiny steps", "RepositoryTooLarge", sending(bombs.tiny_steps), tree()),
        fault("G5", "100,000 deltas, back to front", "ProtocolError",
              sending(lambda: bombs.backward_deltas()[0]), tree()),
        fault("G6", "rubbish", "ProtocolError", http(attacks.binary), check()),
        fault("G6", "another protocol", "ProtocolError", http(attacks.no_http), check()),
        fault("G6", "cut in the middle", "ProtocolError", http(attacks.cut_chunks), check()),
        fault("G6", "negative packet length", "ProtocolError", http(attacks.answering(b"", kind=b"-001")), check()),
        fault("G6", "login page", "ProtocolError",
              http(attacks.refusing(200, "Content-Type: text/html", body=b"<html>Please log in</html>")), check()),
        fault("G6", "headers without end", "ProtocolError", http(attacks.endless_headers), check()),
        fault("G7", "forged names, v2", "ReferenceNotFound",
              http(attacks.answering(attacks.listed(*attacks.FORGED))), check()),
        fault("G7", "forged names, no v2", "ReferenceNotFound", http(forged_v0), check()),
        *(fault("G8", f"status {status}", reason, http(attacks.refusing(status, "Retry-After: 7")), check())
          for status, reason in ((401, "AuthenticationFailed"), (404, "RepositoryNotFound"), (500, "Unreachable"),
                                 (429, "RateLimited"), (503, "RateLimited"))),
        fault("G8", "status 403", "AccessDenied", http(attacks.refusing(403)), check()),
        fault("G9", "redirect to another host", "RedirectRefused",
              http(redirect("Location: http://localhost/x.git/info/refs?service=git-upload-pack")), check()),
        fault("G9", "redirect to the metadata service", "RedirectRefused",
              http(redirect("Location: http://169.254.169.254/x.git/info/refs")), check()),
        fault("G9", "redirect from https to http", "RedirectRefused",
              http(redirect("Location: http://127.0.0.1/x.git/info/refs"), tls()), check(ca_pem=good_ca)),
        fault("G10", "certificate expired", "TlsFailed",
              http(attacks.silent, tls("expired.pem")), check(ca_pem=good_ca)),
        fault("G10", "CA unknown", "TlsFailed", http(attacks.silent, tls()), check()),
        fault("G10", "CA is no PEM", "TlsFailed", http(attacks.silent, tls()), check(ca_pem="nonsense")),
        fault("G10", "no TLS at https", "TlsFailed", plain_at_https, check()),
        fault("G11", "host key unknown", "HostKeyUnknown", ssh(keys), over_ssh(ssh=strict)),
        fault("G11", "host key changed", "HostKeyChanged", ssh(keys), over_ssh(ssh=other)),
        fault("G12", "login hangs", "Timeout", ssh(keys, "hang"), hasty_ssh),
        fault("G12", "lines before the login without end", "ProtocolError",
              ssh(keys, script=sshattacks.floods_one_line), over_ssh(ssh=access)),
        fault("G12", "banners without end", "ProtocolError", ssh(keys, "banner"), over_ssh(ssh=access)),
        fault("G12", "asks for a password", "AuthenticationFailed", ssh(keys, "prompt"), over_ssh(ssh=access)),
        fault("G12", "references without end over SSH", "RepositoryTooLarge",
              ssh(keys, process=sshattacks.refs_without_end), over_ssh(ssh=access)),
        fault("G13", "empty repository", "ReferenceNotFound", real(lambda _: None), check(credential=None)),
        fault("G13", "branch deleted", "ReferenceNotFound", real(deleted), check(credential=None)),
        fault("G13", "annotated tag", "answered, the tag's", real(tagged), check(TAG, credential=None)),
        fault("G13", "annotated tag, no v2", "answered, the tag's", real(tagged, v2=False),
              check(TAG, credential=None)),
        fault("G13", "sha256 repository", "answered", real(tagged, "--object-format=sha256"), check(credential=None)),
        fault("G13", "unknown object format", "Unsupported",
              http(attacks.answering(b"", kind=packet(b"version 2\n") + packet(b"object-format=md5\n") + b"0000")),
              check()),
        fault("G14", "volume full", "exit code 6: cannot write", real(large), clone(), "size=256k"),
        fault("G14", "no more inodes", "exit code 6: cannot write", real(large), clone(), "size=4m,nr_inodes=30"),
        fault("G14", "volume read-only", "exit code ", real(large), clone(), "ro"),
        fault("G15", "`..` in a tree", "exit code 6", real(holding((b"40000", b"..", None))), clone()),
        *(fault("G15", f"`{ascii(name)[1:-1]}` in a tree", "exit code 6",
                real(holding((b"40000", name.encode(), None))), clone())
          for name in (".GIT", "git~1", ".g\u200cit")),
        fault("G15", "link and folder of one name", "exit code 6",
              real(holding(link, (b"40000", b"d", None))), clone()),
        fault("G15", "setuid, link outside, submodule", "cloned",
              real(holding((b"120000", b"l", b"/etc/passwd"), (b"160000", b"m", b"1" * 40), (b"104755", b"s", b"x"))),
              clone(allowed={"l", "m", "s"})),
    ]  # fmt: skip
