"""What a resource type implements, and what it gets to do it with."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from headrace.protocol.values import Props, Value, bare, has_unknown, is_empty, reveal
from headrace_components.provider import compare
from headrace_components.provider.fields import Failure, Field, Kind

if TYPE_CHECKING:
    from headrace_components.provider.vendors import Vendors

# What an operation may take when the program set no custom timeout.
DEFAULT_TIMEOUT_S: Final = 300.0
NAME_HASH: Final = 8


class ProviderError(Exception):
    """The call failed for a reason that a person can read as it stands. It never holds a credential."""


class NotReady(Exception):
    """The resource exists but a later step failed. The engine keeps it as partly created and updates it next time."""

    def __init__(self, live: Live, reason: str) -> None:
        super().__init__(reason)
        self.live = live


class Cancelled(ProviderError):
    """The engine asked to stop."""

    def __init__(self) -> None:
        super().__init__("stopped, because the engine was asked to cancel; run the command again to go on")


class Log(Protocol):
    """A line for the person at the terminal."""

    def __call__(self, message: str, *, warning: bool = False) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Live:
    """What lives at the vendor: `inputs` are those that would have made it (write-only ones are absent), `outputs` what
    the vendor adds."""

    id: str
    inputs: Props
    outputs: Props = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One operation. `deadline` is in the clock of `time.monotonic`. `own_name` says that the resource's name was made
    by `generated_name`, so that nobody else's object has it. `log` never gets a secret."""

    urn: str
    vendors: Vendors
    deadline: float
    cancelled: asyncio.Event
    log: Log
    own_name: bool = False

    def seconds_left(self) -> float:
        """Seconds until the operation's time limit."""
        return self.deadline - time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait, or raise `Cancelled` as soon as the engine cancels."""
        if self.cancelled.is_set():
            raise Cancelled
        try:
            await asyncio.wait_for(self.cancelled.wait(), timeout=max(seconds, 0.0))
        except TimeoutError:
            return
        raise Cancelled


class ResourceType(ABC):
    """A resource of a vendor. Instances hold no state: what a call needs comes with it."""

    urn_type: ClassVar[str]
    description: ClassVar[str]
    fields: ClassVar[Mapping[str, Field]]
    outputs: ClassVar[Mapping[str, Field]]

    def rules(self, inputs: Props) -> Iterable[Failure]:
        """The vendor's prose rules over several properties. Values may be unknown or secret."""
        return ()

    def check_change(self, old: Props, inputs: Props) -> Iterable[Failure]:
        """Rules about the step from the old inputs to the new ones."""
        return ()

    def complete(self, inputs: Props) -> Props:
        """Defaults that depend on other inputs."""
        return inputs

    def differ(self, old: Props, new: Props, changed: dict[str, compare.Change]) -> dict[str, compare.Change]:
        """A last word on a diff, for rules such as "a size only grows in place"."""
        return changed

    @abstractmethod
    async def create(self, call: Call, inputs: Props) -> Live:
        """Make it, or adopt what an earlier try made. Inputs are without wrappers."""

    @abstractmethod
    async def read(self, call: Call, id: str, state: Props) -> Live | None:
        """What lives under the id; None if nothing does. `state` is what was stored last, empty in an import."""

    @abstractmethod
    async def update(self, call: Call, id: str, old: Props, new: Props) -> Live:
        """Change what differs, in place."""

    @abstractmethod
    async def delete(self, call: Call, id: str) -> None:
        """Remove it. Absent is success."""

    def generated_name(self, urn: str, inputs: Props) -> Value:
        """A name that belongs to this URN alone and changes when the resource must be replaced.

        It is a pure function of what the program says, so that a retry after a timeout or a crash finds what the first
        try made. The engine's random seed would not do: a new run after a crash gets another one.
        """
        replacing = {
            name: bare(inputs.get(name))
            for name, spec in self.fields.items()
            if spec.replace and not spec.secret and name != "name" and not has_unknown(inputs.get(name))
        }
        # Not yet validated: what JSON has no form for (an asset) is refused right after.
        text = json.dumps([urn, reveal(replacing)], sort_keys=True, default=repr)
        return f"{urn.split('::')[-1]}-{hashlib.sha256(text.encode()).hexdigest()[:NAME_HASH]}"


def keep_equal(fields: Mapping[str, Field], old: Props, live: Props, known: Props | None = None) -> Props:
    """Live inputs in the words of the old ones: what the vendor only normalised stays as it was written, and what it
    never gives back is taken over. A value that nobody asked for is absent where it is empty or has been so since the
    resource was made (`known`, the state): that is the vendor's default, and only a change of it is drift."""
    since = known or {}
    kept: Props = {}
    for name, spec in fields.items():
        before, now = old.get(name), live.get(name)
        if spec.write_only:
            now = before
        elif spec.kind is Kind.OBJECT and isinstance(bare(before), dict) and isinstance(now, dict):
            inner = bare(since.get(name))
            now = keep_equal(spec.fields, bare(before), now, inner if isinstance(inner, dict) else None)
        elif (before is not None and now is not None and compare.equal(spec, before, now)) or (
            before is not None and is_empty(before) and is_empty(now)
        ):
            now = before
        elif before is None and (is_empty(now) or (name in since and compare.equal(spec, since[name], now))):
            now = None
        if now is not None:
            kept[name] = now
    return kept
