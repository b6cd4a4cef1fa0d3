"""What a handler may touch: the recorded store, the clock and moto."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.store import Store
from headrace_sandbox.aws.wire import Call, Doc


class Moto(Protocol):
    """Calls an operation of the moto server. Raises `AwsError` as moto answered it."""

    async def __call__(self, service: str, operation: str, region: str, params: Doc | None = None) -> Doc: ...

    async def as_caller(self, access_key: str) -> Doc:
        """moto's GetCallerIdentity for an access key."""
        ...


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything outside the handlers."""

    store: Store
    moto: Moto
    sandbox_dir: Path

    def now(self) -> float:
        """Seconds since 1970."""
        return self.store.clock()


Handler = Callable[[World, Call], Awaitable[Doc | None]]
"""Serves one operation: returns the output members (None for an empty output) or raises `AwsError`."""

Guard = Callable[[World, Call], Awaitable[None]]
"""Runs before a call goes to moto: raises `AwsError` where AWS would refuse and moto doesn't."""

Overlay = Callable[[World, Call, Doc], Awaitable[Doc]]
"""Runs after moto's success: gets its output, returns the output to send."""

Table = Mapping[tuple[str, str], Handler]


Item = TypeVar("Item")


def page(
    items: list[Item], params: Doc, *, members: tuple[str, str] = ("maxResults", "nextToken")
) -> tuple[list[Item], Doc]:
    """One page of a listing: the items and `{nextToken: …}` where more remain; tokens are offsets. `members` are the
    operation's names of the page size and of the token."""
    size_member, token_member = members
    token = params.get(token_member)
    try:
        start = int(token) if token else 0
    except ValueError as error:
        raise AwsError("InvalidParameterException", f"{token_member} is not one that this service gave") from error
    end = start + int(params.get(size_member) or 100)
    return items[start:end], {token_member: str(end)} if end < len(items) else {}


async def exists(world: World, service: str, operation: str, region: str, params: Doc) -> Doc | None:
    """moto's answer, or None where it says that the thing doesn't exist."""
    try:
        return await world.moto(service, operation, region, params)
    except AwsError as error:
        if "NotFound" in error.code or "NoSuch" in error.code or error.code.startswith("Invalid"):
            return None
        raise
