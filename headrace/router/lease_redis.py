"""Shares kept in Redis: one script, atomic over all limits. Never on a request's path.

A replica that loses Redis keeps its shares. Its shares go to others only after it has been silent for `TAKEOVER_S`; it
stops by itself a little earlier, so both sides of a partition together never exceed a limit. What a silent replica held
of a money budget stays counted for the month: nobody knows what it spent last.

A Redis that lost its memory learns the shares again: for `GRACE_S` after an empty start replicas may only say what they
hold, and nobody gets more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from headrace.router.engine import Engine
from headrace.router.lease import asks

STEP_S: Final = 0.25
TAKEOVER_S: Final = 60.0
# A replica's own limit is shorter, by more than two clocks can drift apart in that time.
_OWN_LIMIT_S: Final = 50.0
GRACE_S: Final = 2.0
_TIMEOUT_S: Final = 1.0
_LOG: Final = logging.getLogger("headrace.router.lease")

# KEYS: seen, epoch, prefix.
# ARGV: replica, takeover ms, grace ms, then per limit: name, held, want, demand, total, sticky.
# Returns replicas, then per limit: granted, what others lack.
_SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, takeover, grace = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('SET', KEYS[2], now, 'NX')
local young = now - tonumber(redis.call('GET', KEYS[2])) < grace
redis.call('ZADD', KEYS[1], now, me)
local gone = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - takeover)) do gone[name] = true end
local replicas = redis.call('ZCOUNT', KEYS[1], now - takeover, '+inf')
local answer = {replicas}
for i = 4, #ARGV, 6 do
  local name, held, want = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local demand, total, sticky = tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]), ARGV[i + 5] == '1'
  local shares, needs = KEYS[3] .. 'held:' .. name, KEYS[3] .. 'need:' .. name
  local others = 0
  local all = redis.call('HGETALL', shares)
  for j = 1, #all, 2 do
    if all[j] ~= me then
      if gone[all[j]] and not sticky then redis.call('HDEL', shares, all[j])
      else others = others + tonumber(all[j + 1]) end
    end
  end
  local granted = held
  if not young and want > held then granted = math.max(held, math.min(want, total - others)) end
  redis.call('HSET', shares, me, string.format('%.0f', granted))
  if demand > granted then redis.call('HSET', needs, me, string.format('%.0f', demand - granted))
  else redis.call('HDEL', needs, me) end
  local lacking = 0
  local short = redis.call('HGETALL', needs)
  for j = 1, #short, 2 do
    if short[j] ~= me then
      if gone[short[j]] then redis.call('HDEL', needs, short[j]) else lacking = lacking + tonumber(short[j + 1]) end
    end
  end
  if sticky then redis.call('EXPIRE', shares, 5184000) end
  answer[#answer + 1] = string.format('%.0f', granted)
  answer[#answer + 1] = string.format('%.0f', lacking)
end
return answer
"""


class RedisLeaser:
    """Keeps this replica's shares. Numbers pass as text: doubles in Lua hold 53 bits, a year's budget needs less."""

    def __init__(self, url: str, replica: str, engine: Engine) -> None:
        self._redis = aioredis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, decode_responses=True
        )
        self._script = self._redis.register_script(_SCRIPT)
        self._replica = replica
        self._engine = engine
        self._needed: dict[str, int] = {}
        self._replicas = 1
        self._heard = float("-inf")
        self._lost = False

    def _key(self, name: str) -> str:
        """Limit by name; a month's money is a limit of its own."""
        return f"{name}@{self._engine.state.period}" if name.endswith("/money") else name

    async def step(self) -> None:
        """One round. A Redis that does not answer leaves the shares as they are, until our own limit passes."""
        engine = self._engine
        started = time.monotonic()
        asked = asks(engine.state, engine.policy, replicas=self._replicas, needed=self._needed)
        engine.lease({ask.name: ask.limit for ask in asked if ask.limit < engine.state.leases.get(ask.name, 0)})
        prefix = f"headrace:{{{engine.policy.environment}}}:"
        arguments: list[str | int] = [self._replica, int(TAKEOVER_S * 1000), int(GRACE_S * 1000)]
        for ask in asked:
            arguments += [self._key(ask.name), ask.held, ask.want, ask.demand, ask.total, int(ask.sticky)]
        try:
            answer = await self._script(keys=[f"{prefix}seen", f"{prefix}epoch", prefix], args=arguments)
        except (RedisError, OSError, TimeoutError) as error:
            self._silent(error)
            return
        self._heard, self._lost = started, False
        self._replicas = int(answer[0])
        self._needed = {ask.name: int(answer[2 + 2 * index]) for index, ask in enumerate(asked)}
        shares = {}
        for index, ask in enumerate(asked):
            granted = int(answer[1 + 2 * index])
            # What was published only because it is still in use above the limit is no share to fill again.
            share = granted if granted > ask.held else ask.limit
            shares[ask.name] = min(share, engine.policy.totals.get(ask.name, 0))
        engine.lease(shares)

    def _silent(self, error: Exception) -> None:
        if not self._lost:
            self._lost = True
            _LOG.warning("Redis does not answer, shares stay", extra={"fields": {"reason": type(error).__name__}})
        if self._engine.state.leases and time.monotonic() - self._heard > _OWN_LIMIT_S:
            self._engine.lease(dict.fromkeys(self._engine.state.leases, 0))

    async def run(self) -> None:
        """Rounds for ever."""
        while True:
            await asyncio.sleep(STEP_S)
            await self.step()

    async def close(self) -> None:
        """Gives back what is not used."""
        engine = self._engine
        engine.lease(dict.fromkeys(engine.policy.totals, 0))
        asked = asks(engine.state, engine.policy, replicas=1, needed={})
        prefix = f"headrace:{{{engine.policy.environment}}}:"
        arguments: list[str | int] = [self._replica, int(TAKEOVER_S * 1000), int(GRACE_S * 1000)]
        for ask in asked:
            arguments += [self._key(ask.name), ask.held, ask.held, 0, ask.total, int(ask.sticky)]
        try:
            await self._script(keys=[f"{prefix}seen", f"{prefix}epoch", prefix], args=arguments)
            await self._redis.zrem(f"{prefix}seen", self._replica)
        except (RedisError, OSError, TimeoutError):
            _LOG.warning("shares could not be given back; they come free by themselves")
        await self._redis.aclose()
