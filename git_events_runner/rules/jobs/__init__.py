"""Jobs of runs: what happens to them."""
