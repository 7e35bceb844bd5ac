"""The recording of the demo: a file that players read, about two minutes long, with the things that the demo shows."""

import json
from pathlib import Path

CAST = Path(__file__).parents[2] / "docs" / "recordings" / "demo.cast"


def test_it_is_a_recording_of_about_two_minutes():
    """Asciicast version 2; times rise; every line fits into the terminal that it names."""
    head, *lines = map(json.loads, CAST.read_text(encoding="utf-8").splitlines())
    times = [time for time, kind, _ in lines if kind == "o"]
    assert head["version"] == 2
    assert times == sorted(times)
    assert 60 < times[-1] < 150


def test_it_shows_what_the_page_announces():
    """Runs, a push that runs nothing, one run for 25 calls, a failed run, a push of the reader's own."""
    _, *lines = map(json.loads, CAST.read_text(encoding="utf-8").splitlines())
    text = "".join(words for _, _, words in lines)
    for shown in (
        "first check",
        "nothing to run",
        "(25 calls)",
        "failed: the command ended with exit code 3",
        "git push",
    ):
        assert shown in text
