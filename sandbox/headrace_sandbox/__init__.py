"""A cloud in a box: what stands in for the vendors on a machine without an account."""
