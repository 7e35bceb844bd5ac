"""Tests of git-events-runner; CONTRIBUTING.md says what is real in which folder."""
