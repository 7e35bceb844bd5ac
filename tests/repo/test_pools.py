"""No part of the controller runs work in a thread that others share."""

import ast
from pathlib import Path

import git_events_runner

PACKAGE = Path(git_events_runner.__file__).parent
# Programs for one user, that end with their task.
ALONE = {"cloner", "local"}


def test_no_work_goes_to_the_shared_executor():
    """The controller calls neither `to_thread` nor `run_in_executor`: work in threads goes to a pool of its purpose."""
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in ALONE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"to_thread", "run_in_executor", "set_default_executor"}
    ]
    assert found == []
