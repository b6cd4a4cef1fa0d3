"""Rules on residency."""
