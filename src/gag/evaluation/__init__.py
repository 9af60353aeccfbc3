"""Metrics, their uncertainty, and the tables they end in."""
