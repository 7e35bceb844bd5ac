"""Logs, metrics and traces: the closed lists of log events and metrics, and how late the event loop is."""
