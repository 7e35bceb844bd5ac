"""The threat model names only what there is."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| who", "| ---"))
]


def test_every_row_says_who_what_what_holds_it_and_which_test():
    """Four cells, none empty, and at least one test that is in the repository."""
    assert len(ROWS) >= 5
    for row in ROWS:
        assert len(row) == 4, row
        assert all(row), row
        tests = re.findall(r"`(tests/[\w/.-]+)`", row[3])
        assert tests, row
        assert [name for name in tests if not (ROOT / name).exists()] == []


def test_who_is_one_of_those_that_the_page_explains():
    """Attackers have one name each, so that the table can be searched by it."""
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    known = {name.lower() for name in re.findall(r"\*\*([A-Z][a-z ]+)\*\*", text)}
    assert {who for row in ROWS for who in row[0].split(", ")} <= known
