"""Types of options: numbers within bounds."""

from __future__ import annotations

import argparse


def _number(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or not least <= int(text[:9]) <= most:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, found {text!r}")
    return int(text)


def count(text: str) -> int:
    """How many, or how long: 1 to 10,000."""
    return _number(text, 1, 10_000)


def port(text: str) -> int:
    """A TCP port; 0 is any free one."""
    return _number(text, 0, 65_535)


def http_status(text: str) -> int:
    """An HTTP status code."""
    return _number(text, 100, 599)
