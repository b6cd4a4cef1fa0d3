"""What a sink is, and one in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from headrace.audit.chain import Link
from headrace.audit.ledger import Balance
from headrace.audit.record import RecordError, outline


class SinkUnavailable(Exception):
    """The sink can't be reached now; the spool keeps everything."""


class SinkConflict(Exception):
    """The sink holds another entry at a place of this chain: somebody changed one of them."""


class Unstorable(Exception):
    """At least one of these entries can't be held for what it is, however often it is sent; what is wrong."""


class Sink(Protocol):
    """Takes links of any writer. Idempotent: what it holds already it takes again without effect."""

    async def size(self, writer: str) -> int:
        """The sequence behind the last entry of a writer that it holds. Entries that were set aside are missing."""

    async def write(self, links: Sequence[Link]) -> None:
        """Keeps links of one writer, all or none. Raises `SinkUnavailable`, `SinkConflict` or `Unstorable`."""

    async def close(self) -> None:
        """Lets go of connections."""


@runtime_checkable
class Counts(Protocol):
    """A sink that can say what the entries of all writers come to."""

    async def balances(self, environment: str, period: str) -> dict[tuple[str, str], Balance]:
        """What each (writer, scope) has spent in a period and holds open. Raises `SinkUnavailable`."""


class MemorySink:
    """A sink for tests."""

    def __init__(self) -> None:
        self.links: dict[str, list[Link]] = {}

    async def size(self, writer: str) -> int:
        held = self.links.get(writer)
        return held[-1].sequence + 1 if held else 0

    async def write(self, links: Sequence[Link]) -> None:
        for item in links:
            try:
                outline(item.record)
            except RecordError as error:
                raise Unstorable(str(error)) from error
        for item in links:
            held = {one.sequence: one for one in self.links.get(item.writer, ())}
            known = held.setdefault(item.sequence, item)
            if known.hash != item.hash:
                raise SinkConflict(f"{item.writer} {item.sequence}")
            self.links[item.writer] = [held[sequence] for sequence in sorted(held)]

    async def close(self) -> None:
        """Nothing is held."""


def identifier(name: str) -> str:
    """A name as SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'
