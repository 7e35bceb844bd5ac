"""The command line, one module of tests for each verb."""
