"""Jobs that exist: which may start, what became of them, and what is done after their end."""
