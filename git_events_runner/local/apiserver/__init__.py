"""A small Kubernetes API server in this process, for `local` and tests."""
