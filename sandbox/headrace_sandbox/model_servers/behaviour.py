"""How a model server spends time: slots, a queue, prefill and decode; serverless ones start, idle and stop.

Times follow two rates: the prompt is read at `prefill_tokens_s`, each answer token takes `token_s`. `speed` divides all
times, so that a day can pass in minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """One pool's servers. `cold_start_s` None makes them always-on (dedicated).

    `chunk_tokens` is how many tokens one event of a stream carries: servers send several at a time under load, and a
    machine that plays many GPUs has to.
    """

    servers: int = 1
    slots: int = 16
    prefill_tokens_s: float = 4000.0
    token_s: float = 0.02
    kv_tokens: int = 200_000
    cold_start_s: float | None = None
    idle_timeout_s: float = 60.0
    min_instances: int = 0
    speed: float = 1.0
    chunk_tokens: int = 1


class AtCapacity(Exception):
    """A serverless pool has no instance left: the vendor answers 429."""


@dataclass
class Instance:
    """One server or one serverless worker."""

    ready: asyncio.Event = field(default_factory=asyncio.Event)
    running: int = 0
    kv_tokens: int = 0
    idle_since: float = 0.0


class Servers:
    """The servers of one pool. `billed_s` counts instance-seconds (unscaled) as a vendor would bill them."""

    def __init__(self, behaviour: Behaviour, clock: Callable[[], float]) -> None:
        self.behaviour = behaviour
        self.cold_starts = 0
        self.most_running = 0
        self.generated = 0
        self.cancelled = 0
        self.billed_s = 0.0
        self._clock = clock
        self._billed_at = clock()
        self._instances: list[Instance] = []
        self._freed = asyncio.Condition()
        self.waiting = 0
        self._starting: set[asyncio.Task[None]] = set()
        always = behaviour.servers if behaviour.cold_start_s is None else behaviour.min_instances
        for _ in range(always):
            instance = Instance()
            instance.ready.set()
            self._instances.append(instance)

    @property
    def running(self) -> int:
        """Requests on GPUs."""
        return sum(instance.running for instance in self._instances)

    @property
    def kv_use(self) -> float:
        """Share of KV cache in use over all instances."""
        total = len(self._instances) * self.behaviour.kv_tokens
        return min(1.0, sum(instance.kv_tokens for instance in self._instances) / total) if total else 0.0

    @property
    def live(self) -> int:
        """Instances that exist, starting ones included."""
        self._expire()
        return len(self._instances)

    @property
    def committed_s(self) -> float:
        """Instance-seconds (unscaled) that will be billed yet if nobody asks any more: idle time until instances stop,
        and what starts that are under way still take."""
        self._expire()
        behaviour, now = self.behaviour, self._clock()
        if behaviour.cold_start_s is None:
            return 0.0
        left = [
            behaviour.idle_timeout_s
            + (0.0 if one.ready.is_set() else behaviour.cold_start_s)
            - (now - one.idle_since) * behaviour.speed
            for one in self._instances
            if not one.running
        ]
        stopping = max(0, len(self._instances) - behaviour.min_instances)
        return sum(sorted(max(0.0, one) for one in left)[:stopping])

    def _bill(self) -> None:
        now = self._clock()
        self.billed_s += len(self._instances) * (now - self._billed_at) * self.behaviour.speed
        self._billed_at = now

    def _expire(self) -> None:
        """Idle serverless instances stop after their timeout; their last second is billed."""
        behaviour = self.behaviour
        self._bill()
        if behaviour.cold_start_s is None:
            return
        limit = behaviour.idle_timeout_s / behaviour.speed
        now = self._clock()
        for instance in list(self._instances):
            over = now - instance.idle_since - limit
            idle = instance.ready.is_set() and not instance.running
            if idle and over >= 0 and len(self._instances) > behaviour.min_instances:
                self._instances.remove(instance)
                self.billed_s -= over * behaviour.speed

    @asynccontextmanager
    async def slot(self, kv_tokens: int) -> AsyncIterator[None]:
        """A place on an instance, held while the request runs."""
        instance = await self._take()
        instance.kv_tokens += kv_tokens
        try:
            await instance.ready.wait()
            yield
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._bill()
            instance.running -= 1
            instance.kv_tokens -= kv_tokens
            instance.idle_since = self._clock()
            async with self._freed:
                self._freed.notify()

    async def _take(self) -> Instance:
        self._expire()
        found = self._free()
        if found is None and self.behaviour.cold_start_s is not None:
            if len(self._instances) >= self.behaviour.servers:
                raise AtCapacity
            found = self._start()
        if found is None:
            self.waiting += 1
            try:
                async with self._freed:
                    while (found := self._free()) is None:
                        await self._freed.wait()
                    return self._hold(found)
            finally:
                self.waiting -= 1
        return self._hold(found)

    def _hold(self, instance: Instance) -> Instance:
        instance.running += 1
        self.most_running = max(self.most_running, self.running)
        return instance

    def _free(self) -> Instance | None:
        free = [one for one in self._instances if one.running < self.behaviour.slots]
        if self.behaviour.cold_start_s is None:  # a Service spreads over its replicas
            return min(free, key=lambda one: one.running, default=None)
        # Ready ones first, then the fullest: serverless schedulers pack, so that others can fall idle.
        return min(free, key=lambda one: (not one.ready.is_set(), -one.running), default=None)

    def _start(self) -> Instance:
        instance = Instance(idle_since=self._clock())
        self._instances.append(instance)
        self.cold_starts += 1
        task = asyncio.create_task(self._warm(instance))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        return instance

    async def _warm(self, instance: Instance) -> None:
        await asyncio.sleep((self.behaviour.cold_start_s or 0.0) / self.behaviour.speed)
        instance.idle_since = self._clock()
        instance.ready.set()
