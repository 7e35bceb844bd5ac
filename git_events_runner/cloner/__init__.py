"""The init container's program."""
