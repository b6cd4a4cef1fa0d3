"""The recorded store: what moto doesn't keep, on disk, so that a restarted sandbox keeps its world.

One table of JSON documents. A document may carry a pending transition (CREATING → ACTIVE, DELETING → gone) that is
applied when it is next read after its time: asynchronous as AWS is, with nothing running in between.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

Doc = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    service TEXT NOT NULL, region TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, parent TEXT NOT NULL DEFAULT '',
    body TEXT NOT NULL, due REAL, becomes TEXT, serial INTEGER NOT NULL,
    PRIMARY KEY (service, region, kind, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_parent ON records (service, region, kind, parent, serial);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A table of records: service, name, and whether it is per region."""

    service: str
    name: str
    regional: bool = True

    def region(self, region: str) -> str:
        """The region that records of this kind are filed under."""
        return region if self.regional else "global"


@dataclass(frozen=True, kw_only=True)
class Later:
    """A transition: after `seconds` the document's members become `members`; None removes the record."""

    seconds: float
    members: Doc | None


class Store:
    """Documents by (kind, region, key). Not safe for several processes; the gateway is its only user."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # what a cloud keeps: sessions and secrets too
        self.clock = clock
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Flush and close the file."""
        self._db.close()

    def put(
        self, kind: Kind, region: str, key: str, body: Doc, *, parent: str = "", later: Later | None = None
    ) -> None:
        """Write a document, replacing the one of the same key; keeps its place in listings."""
        where = (kind.service, kind.region(region), kind.name, key)
        row = self._db.execute(
            "SELECT serial FROM records WHERE service=? AND region=? AND kind=? AND key=?", where
        ).fetchone()
        serial = row[0] if row else self.next("serial")
        due = self.clock() + later.seconds if later else None
        becomes = json.dumps(later.members) if later else None
        self._db.execute(
            "INSERT OR REPLACE INTO records VALUES (?,?,?,?,?,?,?,?,?)",
            (*where, parent, json.dumps(body, default=_plain), due, becomes, serial),
        )

    def get(self, kind: Kind, region: str, key: str) -> Doc | None:
        """The document with due transitions applied; None where there is none (any more)."""
        row = self._db.execute(
            "SELECT key, parent, body, due, becomes FROM records WHERE service=? AND region=? AND kind=? AND key=?",
            (kind.service, kind.region(region), kind.name, key),
        ).fetchone()
        return self._settled(kind, region, row) if row else None

    def list(self, kind: Kind, region: str, *, parent: str | None = None) -> list[Doc]:
        """All documents in order of creation, of one parent if given."""
        sql = "SELECT key, parent, body, due, becomes FROM records WHERE service=? AND region=? AND kind=?"
        args: tuple[str, ...] = (kind.service, kind.region(region), kind.name)
        if parent is not None:
            sql, args = f"{sql} AND parent=?", (*args, parent)
        rows = self._db.execute(f"{sql} ORDER BY serial", args).fetchall()
        return [body for row in rows if (body := self._settled(kind, region, row)) is not None]

    def amend(self, kind: Kind, region: str, key: str, members: Doc) -> None:
        """Set members of a document; a pending transition stays pending."""
        doc = self.get(kind, region, key)
        if doc is not None:
            self._db.execute(
                "UPDATE records SET body=? WHERE service=? AND region=? AND kind=? AND key=?",
                (json.dumps(doc | members, default=_plain), kind.service, kind.region(region), kind.name, key),
            )

    def delete(self, kind: Kind, region: str, key: str) -> None:
        """Remove a document; nothing happens where there is none."""
        self._db.execute(
            "DELETE FROM records WHERE service=? AND region=? AND kind=? AND key=?",
            (kind.service, kind.region(region), kind.name, key),
        )

    def next(self, name: str) -> int:
        """1, 2, 3, … per name, never given twice."""
        row = self._db.execute(
            "INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
            (name,),
        ).fetchone()
        return int(row[0])

    def _settled(self, kind: Kind, region: str, row: tuple[str, str, str, float | None, str | None]) -> Doc | None:
        key, parent, body, due, becomes = row
        doc: Doc = json.loads(body)
        if due is None or due > self.clock():
            return doc
        members = json.loads(becomes or "null")
        if members is None:
            self.delete(kind, region, key)
            return None
        doc.update(members)
        self.put(kind, region, key, doc, parent=parent)
        return doc


def public(doc: Doc) -> Doc:
    """A document without what is ours alone: names that begin with an underscore, as none of AWS does."""
    return {name: value for name, value in doc.items() if not name.startswith("_")}


def _plain(value: object) -> object:
    """Timestamps are kept as seconds since 1970, the form that every protocol's serializer reads."""
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{type(value).__name__} can't be stored")
