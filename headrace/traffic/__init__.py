"""Traffic that is replayed through the router: a generated day or a trace, what became of it, and the page on it."""
