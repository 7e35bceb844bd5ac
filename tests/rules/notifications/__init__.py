"""What is reported of runs."""
