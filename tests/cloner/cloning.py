"""One run of the cloner as a Job would start it, and trees that git itself would not write."""

from git_events_runner.cloner.__main__ import run
from git_events_runner.resources.description import SOURCE_VARIABLE, SourceDescription
from tests.edges.git.gitserver import git


def cloned(server, target, *options, name="app.git", **description):
    source = SourceDescription(url=server.url(name), **description)
    arguments = ["--kind", "GitRepo", "--source", "app", "--destination", str(target), *options]
    return run(arguments, {SOURCE_VARIABLE: source.to_json()})


def tree_of(repository, *entries):
    raw = b"".join(b"%s %s\0%s" % (mode, name, bytes.fromhex(object_id)) for mode, name, object_id in entries)
    return git("hash-object", "-t", "tree", "--literally", "-w", "--stdin", cwd=repository, stdin=raw)


def blob_of(repository, content=b"x"):
    return git("hash-object", "-w", "--stdin", cwd=repository, stdin=content)
