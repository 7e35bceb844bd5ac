"""Long-running work: asks rules what to do and edges to do it."""
