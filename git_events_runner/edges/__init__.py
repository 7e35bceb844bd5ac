"""The outside: the API server and git servers."""
