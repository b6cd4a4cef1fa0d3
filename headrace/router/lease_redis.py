"""Shares kept in Redis: one script, atomic over the limits that it is given. Never on a request's path.

A replica that loses Redis keeps its shares. Its shares go to others only after it has been silent for `TAKEOVER_S`; it
stops by itself a little earlier, so both sides of a partition together never exceed a limit. What a silent replica held
of a money budget stays held for the month: nobody knows what it spent last. Alerts count what it said it had used.

A Redis that lost its memory learns the shares again: for `GRACE_S` after an empty start replicas may only say what they
hold, and nobody gets more. One that went back to an earlier state (a snapshot that was restored, a failover that lost
writes) is known by any replica that it had heard of later than it remembers, and learns all again in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from headrace.audit.sinks.base import Counts
from headrace.errors import refuse
from headrace.router.callers import Callers
from headrace.router.callers_redis import CallerNotes
from headrace.router.engine import Engine
from headrace.router.lease import Ask, Other, asks
from headrace.router.recorded import RecordedSpend, marker_of
from headrace.router.thresholds import Elsewhere

STEP_S: Final = 0.25
# With hundreds of limits a round takes its time; the pause is four times that, and at most this.
LONGEST_STEP_S: Final = 1.0
# Limits that are asked for at once: a millisecond of work.
FEW: Final = 50
TAKEOVER_S: Final = 60.0
# A replica's own limit is shorter, by more than two clocks can drift apart in that time.
_OWN_LIMIT_S: Final = 50.0
GRACE_S: Final = 2.0
_TIMEOUT_S: Final = 1.0
_STOPPED: Final = -1
_LOG: Final = logging.getLogger("headrace.router.lease")

# KEYS: seen, epoch, prefix, and the key that says that spending of replicas that are away is known: without it nobody
# gets more of a budget (`headrace.router.recorded`).
# ARGV: replica, takeover ms, grace ms, what the script said last of its own time (0: nothing yet), then per limit:
# name, held, want, base, need, total, sticky, spent,
# and up to which sum of a budget every threshold was told.
# Returns per limit: granted, what dead replicas hold for good, what they said they had spent and what they had used
# (spent or reserved), up to which sum anybody told thresholds, then the living others as "name held base need spent"
# lines. After all limits, its own time, and 1 where Redis had gone back to an earlier state.
# A replica that stops publishes a base of -1: what it still holds, it used; it counts for good, and it gets no more.
# One that publishes no claim (an earlier release) is taken to need what it holds, and one that doesn't say what it
# spent, to have spent all that it used.
_SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, takeover, grace = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local back = tonumber(redis.call('ZSCORE', KEYS[1], me) or 0) < tonumber(ARGV[4])
if back then
  redis.call('SET', KEYS[2], now)
  redis.call('DEL', KEYS[4])
end
redis.call('SET', KEYS[2], now, 'NX')
local young = now - tonumber(redis.call('GET', KEYS[2])) < grace
redis.call('ZADD', KEYS[1], now, me)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 5184000000)
local living, alive = {}, redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. (now - takeover), '+inf')
for _, name in ipairs(alive) do living[name] = true end
local answer = {}
local known = redis.call('EXISTS', KEYS[4]) == 1
for i = 5, #ARGV, 9 do
  local name, held, want = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local total, sticky = tonumber(ARGV[i + 5]), ARGV[i + 6] == '1'
  local shares, claims = KEYS[3] .. 'held:' .. name, KEYS[3] .. 'claim:' .. name
  local spends = KEYS[3] .. 'spent:' .. name
  local others, lost, theirs, gone_spent, gone_used = 0, 0, {}, 0, 0
  local function left(other, held, claim)
    local used = claim and tonumber(string.match(claim, '^(%d+) ')) or held
    lost, gone_used = lost + held, gone_used + used
    gone_spent = gone_spent + (tonumber(redis.call('HGET', spends, other)) or used)
  end
  local all = redis.call('HGETALL', shares)
  for j = 1, #all, 2 do
    local name, value = all[j], tonumber(all[j + 1])
    if name ~= me then
      if living[name] then theirs[name] = value
      else
        if sticky then left(name, value, redis.call('HGET', claims, name))
        else redis.call('HDEL', claims, name) redis.call('HDEL', shares, name) end
      end
      if living[name] or sticky then others = others + value end
    end
  end
  local granted = held
  if not young and (known or not sticky) and want > held then
    granted = math.max(held, math.min(want, total - others))
  end
  redis.call('HSET', shares, me, string.format('%.0f', granted))
  redis.call('HSET', claims, me, ARGV[i + 3] .. ' ' .. ARGV[i + 4])
  local told = 0
  if sticky then
    redis.call('EXPIRE', shares, 5184000)
    redis.call('EXPIRE', claims, 5184000)
    redis.call('HSET', spends, me, ARGV[i + 7])
    redis.call('EXPIRE', spends, 5184000)
    told = math.max(tonumber(ARGV[i + 8]), tonumber(redis.call('GET', KEYS[3] .. 'told:' .. name)) or 0)
    redis.call('SET', KEYS[3] .. 'told:' .. name, string.format('%.0f', told), 'EX', 5184000)
  end
  local lines = {}
  for _, other in ipairs(alive) do
    if other ~= me then
      local value = string.format('%.0f', theirs[other] or 0)
      local claim = redis.call('HGET', claims, other) or ('0 ' .. value)
      if string.sub(claim, 1, 1) == '-' then left(other, theirs[other] or 0, claim)
      else
        local spent = '0'
        if sticky then spent = redis.call('HGET', spends, other) or string.match(claim, '^%d+') end
        lines[#lines + 1] = other .. ' ' .. value .. ' ' .. claim .. ' ' .. spent
      end
    end
  end
  answer[#answer + 1] = string.format('%.0f', granted)
  answer[#answer + 1] = string.format('%.0f', lost)
  answer[#answer + 1] = string.format('%.0f', gone_spent)
  answer[#answer + 1] = string.format('%.0f', gone_used)
  answer[#answer + 1] = string.format('%.0f', told)
  answer[#answer + 1] = table.concat(lines, '\\n')
end
answer[#answer + 1] = string.format('%.0f', now)
answer[#answer + 1] = back and '1' or '0'
return answer
"""


def _others(text: str) -> tuple[Other, ...]:
    """The lines of a script's answer. A replica's name holds no space."""
    found = []
    for line in text.splitlines():
        name, held, base, need, spent = line.split(" ")
        found.append(Other(name=name, held=int(held), base=int(base), need=int(need), spent=int(spent)))
    return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Heard:
    """What Redis said of one limit."""

    granted: int
    lost: int
    gone_spent: int
    gone_used: int
    told: int
    others: tuple[Other, ...]

    @property
    def elsewhere(self) -> Elsewhere:
        """Money that others used."""
        return Elsewhere(
            spent=self.gone_spent + sum(one.spent for one in self.others),
            left_open=max(0, self.gone_used - self.gone_spent),
            told=self.told,
        )


def _heard(answer: Sequence[str]) -> list[_Heard]:
    return [
        _Heard(
            granted=int(answer[at]),
            lost=int(answer[at + 1]),
            gone_spent=int(answer[at + 2]),
            gone_used=int(answer[at + 3]),
            told=int(answer[at + 4]),
            others=_others(answer[at + 5]),
        )
        for at in range(0, len(answer), 6)
    ]


def _few(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), FEW):
        yield names[start : start + FEW]


def _reason(error: BaseException) -> str:
    """What went wrong and what was behind it, outermost first: "ConnectionError" alone can be a certificate. Names
    only, because a message of the client may hold what was sent."""
    names = [type(error).__name__]
    while (behind := error.__cause__ or error.__context__) is not None:
        names.append(type(behind).__name__)
        error = behind
    return " < ".join(dict.fromkeys(names))


class RedisLeaser:
    """Keeps this replica's shares. Numbers pass as text: doubles in Lua hold 53 bits, a year's budget needs less."""

    def __init__(
        self,
        url: str,
        replica: str,
        engine: Engine,
        *,
        callers: Callers | None = None,
        counts: Counts | None = None,
        failed: Callable[[str], None] = lambda _: None,
    ) -> None:
        if not replica or not replica.isprintable() or " " in replica:
            raise refuse(
                "--replica", replica, "must be a name without spaces", next_step="use the pod's name, for example"
            )
        self._redis = aioredis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, decode_responses=True
        )
        self._script = self._redis.register_script(_SCRIPT)
        self._replica = replica
        self._engine = engine
        self._failed = failed
        self._others: dict[str, tuple[Other, ...]] | None = None
        self._dead: dict[str, int] = {}
        self._claims: dict[str, tuple[int, int]] = {}
        self._heard = float("-inf")
        self._lost = False
        self._said_at = 0
        self._hurry = asyncio.Event()
        self._recorded = RecordedSpend(self._redis, counts, takeover_ms=lambda: int(TAKEOVER_S * 1000), failed=failed)
        self._callers: CallerNotes | None = None
        if callers is not None:
            self._callers = CallerNotes(self._redis, lambda: f"{self._prefix()}callers", callers, engine.clock)

    @property
    def counting(self) -> bool:
        """Whether budgets wait for what the ledger says was spent, and this replica has nothing of any yet."""
        leases, totals = self._engine.state.leases, self._engine.policy.totals
        money = [name for name in totals if name.endswith("/money") and totals[name] > 0]
        return self._recorded.pending and bool(money) and not any(leases.get(name) for name in money)

    def _prefix(self) -> str:
        """Of all keys; the braces keep them in one slot of a cluster."""
        return f"headrace:{{{self._engine.policy.environment}}}:"

    def _key(self, name: str, period: str) -> str:
        """Limit by name; a month's money is a limit of its own."""
        return f"{name}@{period}" if name.endswith("/money") else name

    async def step(self) -> None:
        """One round. A Redis that does not answer leaves the shares as they are, until our own limit passes.

        A few limits at a time, so that hundreds of them never hold up a request: each limit stands for itself, and what
        is asked of it is in force here before it is told.
        """
        engine = self._engine
        started = time.monotonic()
        short, others = engine.take_short(), self._presumed()
        everything: dict[str, tuple[Other, ...]] = {}
        for names in _few(list(engine.policy.totals)):
            period = engine.state.period
            asked = asks(
                engine.state,
                engine.policy,
                me=self._replica,
                others=others,
                lost=self._dead,
                short=short,
                before=self._claims,
                # A reload between two answers may have taken some away.
                names=[name for name in names if name in engine.policy.totals],
            )
            self._claims |= {ask.name: (ask.base, ask.need) for ask in asked}
            engine.lease({ask.name: ask.limit for ask in asked if ask.limit < engine.state.leases.get(ask.name, 0)})
            try:
                heard = _heard(await self._say(asked, period))
            except (RedisError, OSError, TimeoutError) as error:
                self._silent(error)
                return
            self._dead |= {ask.name: one.lost for ask, one in zip(asked, heard, strict=True)}
            everything |= {ask.name: one.others for ask, one in zip(asked, heard, strict=True)}
            self._take(asked, heard)
            engine.spent_elsewhere(
                {
                    ask.name.removesuffix("/money"): one.elsewhere
                    for ask, one in zip(asked, heard, strict=True)
                    if ask.sticky
                },
                period=period,
            )
        self._heard, self._lost, self._others = started, False, everything
        if self._callers is not None:
            await self._callers.step()

    def _presumed(self) -> dict[str, tuple[Other, ...]] | None:
        """What was heard in the last round; of limits that are new since then, that the others have nothing yet."""
        if self._others is None:
            return None
        names = sorted({one.name for heard in self._others.values() for one in heard})
        nothing = tuple(Other(name=name, held=0, base=0, need=0) for name in names)
        return {name: self._others.get(name, nothing) for name in self._engine.policy.totals}

    def hurry(self) -> None:
        """The next round comes at once: there are new limits, of which nobody has a share yet."""
        self._hurry.set()

    def _take(self, asked: Sequence[Ask], heard: Sequence[_Heard]) -> None:
        """What Redis said of some limits is in force."""
        engine = self._engine
        shares = {}
        for ask, one in zip(asked, heard, strict=True):
            # What was published only because it is still in use above the limit is no share to fill again.
            share = one.granted if one.granted > ask.held else ask.limit
            shares[ask.name] = min(share, engine.policy.totals.get(ask.name, 0))
        engine.lease(shares)

    async def _say(self, asked: Sequence[Ask], period: str) -> list[str]:
        """Publishes, takes what is free, and hears of the others."""
        prefix = self._prefix()
        if any(ask.sticky for ask in asked):
            policy = self._engine.policy
            await self._recorded.step(prefix, policy.environment, period, policy.totals)
        arguments: list[str | int] = [self._replica, int(TAKEOVER_S * 1000), int(GRACE_S * 1000), self._said_at]
        for ask in asked:
            arguments += [
                *(self._key(ask.name, period), ask.held, ask.want, ask.base, ask.need, ask.total, int(ask.sticky)),
                *(ask.spent, self._engine.told(ask.name.rpartition("/")[0]) if ask.sticky else 0),
            ]
        answer: list[str]
        *answer, at, back = await self._script(
            keys=[f"{prefix}seen", f"{prefix}epoch", prefix, marker_of(prefix, period)], args=arguments
        )
        self._said_at = int(at)
        if back == "1":
            _LOG.warning("Redis went back to an earlier state: what was spent is counted again")
        return answer

    def _silent(self, error: Exception) -> None:
        self._others = None
        if not self._lost:
            self._lost = True
            _LOG.warning("Redis does not answer, shares stay", extra={"fields": {"reason": _reason(error)}})
        if self._engine.state.leases and time.monotonic() - self._heard > _OWN_LIMIT_S:
            self._engine.lease(dict.fromkeys(self._engine.state.leases, 0))

    async def run(self) -> None:
        """Rounds for ever. A round that fails, for whatever reason, is one in which Redis heard nothing of us: others
        take our shares in the end, so our own limit must hold."""
        failing, took = False, 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(STEP_S, min(LONGEST_STEP_S, 4 * took))):
                    await self._hurry.wait()
            self._hurry.clear()
            began = time.monotonic()
            try:
                await self.step()
                failing = False
            except Exception as error:
                if not failing:
                    _LOG.exception("a round of shares failed")
                failing = True
                self._failed("shares")
                self._silent(error)
            took = time.monotonic() - began

    async def close(self) -> None:
        """Gives back what is not used."""
        await self._recorded.close()
        engine = self._engine
        engine.lease(dict.fromkeys(engine.policy.totals, 0))
        asked = [
            replace(ask, want=ask.held, base=_STOPPED, need=0)
            for ask in asks(engine.state, engine.policy, me=self._replica, others={})
        ]
        try:
            await self._say(asked, engine.state.period)
        except (RedisError, OSError, TimeoutError):
            _LOG.warning("shares could not be given back; they come free by themselves")
        await self._redis.aclose()
