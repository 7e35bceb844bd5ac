"""Joins edges and flow for app.py alone."""
