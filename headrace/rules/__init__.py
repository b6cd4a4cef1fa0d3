"""Pure checks: facts and settings in, findings out."""
