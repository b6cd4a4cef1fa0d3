"""Tamper-evident records and money."""
