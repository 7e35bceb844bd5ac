"""Tenants and strangers that attack, while a neighbour's webhooks and schedule are measured."""
