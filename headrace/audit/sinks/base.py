"""What a sink is, and one in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headrace.audit.chain import Link


class SinkUnavailable(Exception):
    """The sink can't be reached now; the spool keeps everything."""


class SinkConflict(Exception):
    """The sink holds another entry at a place of this chain: somebody changed one of them."""


class Sink(Protocol):
    """Takes links of any writer. Idempotent: what it holds already it takes again without effect."""

    async def size(self, writer: str) -> int:
        """How many entries of a writer it holds, without a gap from the beginning."""

    async def write(self, links: Sequence[Link]) -> None:
        """Keeps links of one writer, all or none. Raises `SinkUnavailable` or `SinkConflict`."""

    async def close(self) -> None:
        """Lets go of connections."""


class MemorySink:
    """A sink for tests."""

    def __init__(self) -> None:
        self.links: dict[str, list[Link]] = {}

    async def size(self, writer: str) -> int:
        return len(self.links.get(writer, []))

    async def write(self, links: Sequence[Link]) -> None:
        for item in links:
            held = self.links.setdefault(item.writer, [])
            if item.sequence < len(held):
                if held[item.sequence].hash != item.hash:
                    raise SinkConflict(f"{item.writer} {item.sequence}")
            elif item.sequence == len(held):
                held.append(item)
            else:
                raise SinkConflict(f"{item.writer}: a gap before {item.sequence}")

    async def close(self) -> None:
        """Nothing is held."""
