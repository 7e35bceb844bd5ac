"""Pure rules, one module of tests for each module."""
