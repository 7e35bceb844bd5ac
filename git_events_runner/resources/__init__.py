"""The six kinds as models, and the identity of objects."""
