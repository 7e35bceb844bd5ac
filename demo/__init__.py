"""`make demo`: a push becomes a finished run, on a laptop, without a cluster."""
