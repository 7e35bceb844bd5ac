"""What one clone may write: bytes and entries, counted before each is written, so that a limit is never passed."""

from __future__ import annotations

from dataclasses import dataclass

from git_events_runner.errors import GitEventsRunnerError, GitTooLarge
from git_events_runner.resources.description import SourceDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneLimits:
    """Bounds of what a clone writes: bytes of the pack, the files and the index of a `.git` that stays; entries."""

    max_bytes: int = 10 * 2**30
    max_files: int = 2_000_000

    @classmethod
    def of(cls, description: SourceDescription) -> CloneLimits:
        """Those that the controller has put into a description; the defaults where it names none."""
        default = cls()
        return cls(
            max_bytes=description.max_bytes or default.max_bytes, max_files=description.max_files or default.max_files
        )


class CloneTooLarge(GitTooLarge):
    """What a commit holds does not fit into the limits that the runtime config sets."""


class DiskFailed(GitEventsRunnerError):
    """The pack could not be written; `error` is the reason."""

    def __init__(self, error: OSError) -> None:
        self.error = error
        super().__init__(error.strerror or "cannot be written")


class Budget:
    """What is left of the limits."""

    def __init__(self, limits: CloneLimits) -> None:
        self._limits = limits
        self._bytes = limits.max_bytes
        self._entries = limits.max_files

    @property
    def left_bytes(self) -> int:
        """How many bytes may still be written."""
        return self._bytes

    def spend(self, size: int) -> None:
        """Count bytes that are about to be written.

        Raises:
            CloneTooLarge: They do not fit.
        """
        if size > self._bytes:
            raise CloneTooLarge(
                f"the clone is larger than {self._limits.max_bytes} bytes, pack and files together "
                "(action.containers.cloner.maxBytes and action.workdir.sizeLimit of the runtime config)"
            )
        self._bytes -= size

    def give_back(self, size: int) -> None:
        """Count bytes that were written and are removed again."""
        self._bytes += size

    def spend_entry(self) -> None:
        """Count a file, link or folder that is about to be made.

        Raises:
            CloneTooLarge: It is one too many.
        """
        if not self._entries:
            raise CloneTooLarge(
                f"the commit has more than {self._limits.max_files} files and folders "
                "(action.containers.cloner.maxFiles of the runtime config)"
            )
        self._entries -= 1
