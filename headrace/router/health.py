"""What the log says of pools: a line when one is left alone, a line when it answers again, none for each request."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from headrace.router.types import Circuit, PoolView

_LOG: Final = logging.getLogger("headrace.router")


class PoolLog:
    """Told of all pools now and then."""

    def __init__(self) -> None:
        self._left: set[str] = set()

    def step(self, pools: Mapping[str, PoolView], last_errors: Mapping[str, str]) -> None:
        """Logs what has changed. `last_errors`: pool -> kind of its last failure."""
        self._left &= pools.keys()
        for name, view in pools.items():
            if view.circuit is Circuit.OPEN and name not in self._left:
                self._left.add(name)
                fields = {
                    "pool": name,
                    "lastFailure": last_errors.get(name, ""),
                    "failuresInARow": view.failures_in_a_row,
                    "next": "look at the pool's model servers; one request at a time is tried",
                }
                _LOG.warning("a pool fails and gets no requests", extra={"fields": fields})
            elif view.circuit is Circuit.CLOSED and name in self._left:
                self._left.discard(name)
                _LOG.info("a pool answers again", extra={"fields": {"pool": name}})
