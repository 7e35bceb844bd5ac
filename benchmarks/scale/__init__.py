"""One installation at size: triggers, namespaces, Jobs and sources by the thousand (docs/capacity.md)."""
