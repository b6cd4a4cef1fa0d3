"""Carries notes about callers between replicas through a stream in Redis. Never on a request's path.

Each round a replica adds one entry, where it has something to tell, and reads those of the others. Ages are told, not
times: no two clocks need to agree, and an entry that came since the last round is no older than that round, whatever
Redis' own clock does. An entry is sent until Redis took it, and counted once: a replica hears each number of a sender
once. What Redis forgets, the replicas still know; breakers that are open are told again.
"""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from headrace.router.callers import Callers
from headrace.router.notes import Note, decode, encode

# Notes of one entry, entries of the stream (about 20 MB in Redis at the worst), entries read at once, and how often in
# one round, which is more than the stream holds: a replica that starts hears of everything before its first request.
MOST_NOTES: Final = 500
MOST_ENTRIES: Final = 1000
_AT_ONCE: Final = 100
_MOST_READS: Final = 20
_MOST_SENDERS: Final = 1000
_LOG: Final = logging.getLogger("headrace.router")
# Before every entry: whatever comes is new.
_START: Final = "0-0"

# KEYS: stream. ARGV: sender, number of the entry, notes (empty: nothing to tell), milliseconds that they matter,
# entries to keep, id of the last entry read (empty: none, read those that matter), entries to read.
# Returns Redis' time in milliseconds and entries (id, fields), that last one first if it is still there.
_SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] ~= '' then
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[5], '*', 'from', ARGV[1], 'number', ARGV[2], 'notes', ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
local first = ARGV[6]
if first == '' then first = string.format('%.0f', math.max(0, now - tonumber(ARGV[4]))) end
return {string.format('%.0f', now), redis.call('XRANGE', KEYS[1], first, '+', 'COUNT', ARGV[7])}
"""


class CallerNotes:
    """One replica's end of the stream. `clock` is the one that `callers` is told."""

    def __init__(
        self, redis: aioredis.Redis, stream: Callable[[], str], callers: Callers, clock: Callable[[], float]
    ) -> None:
        self._redis = redis
        self._script = redis.register_script(_SCRIPT)
        self._stream = stream
        self._callers = callers
        self._notes = callers.share()
        self._clock = clock
        # Of this process: one that starts again under the same name hears what it told before.
        self._me = secrets.token_hex(8)
        self._number = 0
        self._unsent: list[Note] = []
        self._last = ""
        self._read_at = float("-inf")
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._lost = False

    async def step(self) -> None:
        """One round. A Redis that does not answer, or not so, leaves each replica with its own counts."""
        try:
            await self._round()
            self._lost = False
        except (RedisError, OSError, TimeoutError, ValueError, TypeError, IndexError) as error:
            if not self._lost:
                _LOG.warning(
                    "callers are counted by each replica alone", extra={"fields": {"reason": type(error).__name__}}
                )
            self._lost = True

    async def _round(self) -> None:
        if not self._unsent:
            self._unsent = self._notes.take(MOST_NOTES, self._clock() - self._callers.keep_s)
            self._number += 1
        for _ in range(_MOST_READS):
            began = self._clock()
            now_ms, entries = await self._say(began)
            self._unsent = []
            if self._last not in ("", _START) and (not entries or entries[0][0] != self._last):
                # Redis lost what it had: what is there now may have lower ids. Each entry counts once anyway.
                self._last = _START
                self._callers.announce(began)
                continue
            self._take(entries, int(now_ms), began)
            if len(entries) < _AT_ONCE:
                self._last = self._last or _START
                self._read_at = began
                return

    async def _say(self, now: float) -> tuple[str, list[Any]]:
        arguments: list[str | int] = [
            *(self._me, self._number, encode(self._unsent, now), max(1, int(self._callers.keep_s * 1000))),
            *(MOST_ENTRIES, self._last, _AT_ONCE),
        ]
        now_ms, entries = await self._script(keys=[self._stream()], args=arguments)
        return now_ms, entries

    def _take(self, entries: list[Any], now_ms: int, now: float) -> None:
        for name, fields in entries:
            self._last = name
            told = dict(zip(fields[::2], fields[1::2], strict=True))
            sender, number = told["from"], int(told["number"])
            if sender == self._me or number <= self._numbers.get(sender, 0):
                continue
            self._numbers[sender] = number
            self._numbers.move_to_end(sender)
            if len(self._numbers) > _MOST_SENDERS:
                self._numbers.popitem(last=False)
            age = min(max(0.0, (now_ms - int(name.partition("-")[0])) / 1000), now - self._read_at)
            self._callers.heard(decode(told["notes"], now - age), now)
