"""Rules on serverless."""
