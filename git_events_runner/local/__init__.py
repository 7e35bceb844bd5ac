"""The controller without a cluster."""
