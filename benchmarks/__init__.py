"""The measured figures of docs/performance.md."""
