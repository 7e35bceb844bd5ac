"""Tests of the parts of a Job."""
