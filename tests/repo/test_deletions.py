"""Objects are deleted in one place, which records the reason first."""

import ast
from pathlib import Path

import git_events_runner

PACKAGE = Path(git_events_runner.__file__).parent


def test_no_other_code_sends_a_deletion():
    """Only `wiring/deletions.py` calls `delete` of the API; only the client builds the request."""
    found, methods = set(), set()
    for path in PACKAGE.rglob("*.py"):
        name = str(path.relative_to(PACKAGE))
        if name.startswith("local/"):
            continue  # an API server of its own
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "delete":
                found.add(name)
            if isinstance(node, ast.Constant) and node.value == "DELETE":
                methods.add(name)
    assert found == {"wiring/deletions.py"}
    assert methods == {"edges/kube/client.py", "rules/forges/bitbucket.py"}  # the second reads a payload
