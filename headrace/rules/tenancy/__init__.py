"""Rules on tenancy."""
