"""Rules on ceilings."""
