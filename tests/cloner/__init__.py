"""Tests of the cloner."""
