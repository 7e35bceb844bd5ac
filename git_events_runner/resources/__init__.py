"""The eight kinds as models, and the identity of objects."""
