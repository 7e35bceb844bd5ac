"""Schedules: intervals, cron expressions, and the scheduled times that follow from them."""
