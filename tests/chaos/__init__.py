"""Seeded faults against whole installations, and an oracle that knows every push (`make chaos`)."""
