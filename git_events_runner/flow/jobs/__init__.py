"""Jobs that exist: which may start, their results, and the work after their end."""
