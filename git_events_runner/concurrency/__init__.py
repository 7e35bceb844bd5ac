"""Work of many in one event loop: requests handed over, threads, slices of time, fair turns by namespace."""
