"""What is reported of runs, to whom, and as which request."""
