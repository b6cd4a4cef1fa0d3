"""Rules on parity."""
