"""Rules on commitments."""
