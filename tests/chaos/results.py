"""The results of trials in a file, one line for each, so that an interrupted run goes on where it was."""

import dataclasses
import json

from tests.chaos.trial import Result


def append(path, result):
    """Add a result."""
    with path.open("a") as file:
        file.write(json.dumps(dataclasses.asdict(result)) + "\n")


def read(path):
    """All results, in order; none where the file is not there yet."""
    return [Result(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
