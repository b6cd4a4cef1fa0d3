"""Where a spool drains to. Every sink takes links in order, and the same link twice as once."""
