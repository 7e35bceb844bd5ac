"""Layout, generated files, documents."""
