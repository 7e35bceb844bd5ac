"""A real Kubernetes API server for tests, built from Go modules once and kept in the user's cache folder."""
