"""The transcript in README.md: `--write` puts a new one there; `shapes` is what two transcripts have in common."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
_BEGIN, _END = "<!-- make demo: written by make transcript -->\n```text\n", "```\n<!-- end of make demo -->"
# What differs from one time to the next.
_VARYING = (
    (re.compile(r"^(  )\d\d:\d\d:\d\d "), r"\1TIME "),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r"-[a-z2-7]{16}\b"), "-ID"),
    (re.compile(r"^(  \[[a-z]+)-[a-z2-7]{4}\]"), r"\1-ID]"),
    (re.compile(r"\b[0-9a-f]{8}(?:[0-9a-f]{4})?\b"), "COMMIT"),
    (re.compile(r" \(\d+ calls\)"), ""),
    (re.compile(r"\b\d+(?:\.\d+)? (s|ms|bytes|git requests?)\b"), r"N \1"),
)
# What a loaded machine adds.
_OF_THE_MACHINE = re.compile(r"^  \d\d:\d\d:\d\d this machine is busy: .*\n", re.MULTILINE)


def shapes(transcript: str) -> set[str]:
    """The lines of a transcript without times, names, ports and figures; in what order they came is not told."""
    found = set()
    for line in _OF_THE_MACHINE.sub("", transcript).splitlines():
        for pattern, text in _VARYING:
            line = pattern.sub(text, line)  # noqa: PLW2901  step by step
        found.add(line)
    return found


def shown() -> str:
    """The transcript that README.md shows."""
    return README.read_text(encoding="utf-8").partition(_BEGIN)[2].partition(_END)[0]


def taken() -> str:
    """A new transcript: what the demo prints, without warnings about a loaded machine."""
    command = [sys.executable, "-m", "demo"]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=README.parent).stdout
    return _OF_THE_MACHINE.sub("", printed)


def main(arguments: list[str]) -> int:
    """Write a new transcript, or print it."""
    transcript = taken()
    if "--write" not in arguments:
        sys.stdout.write(transcript)
        return 0
    before, begin, rest = README.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        sys.stderr.write(f"{README.name}: the lines round the transcript are not there: {_BEGIN!r}, {_END!r}\n")
        return 1
    README.write_text(before + begin + transcript + end + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
