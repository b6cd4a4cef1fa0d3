"""Rules on networks and who can reach what."""
