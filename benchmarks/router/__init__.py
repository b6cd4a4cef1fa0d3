"""How much the router costs: against the backend directly and against other routers, in one run on one machine."""
