"""Signed checkpoints of a chain, kept where nobody can change them: a bucket with object lock.

A checkpoint says how long a writer's chain was and how it ended. Cutting off its end, or writing it anew from some
place on, contradicts a checkpoint that lies elsewhere. Each is an object of its own, named by writer and size:

    checkpoints/<writer>/<size, 16 digits>.json    {"writer": …, "size": …, "head": …, "atUs": …, "mac": …}
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from headrace.audit.chain import Checkpoint, genuine, sign
from headrace.audit.spool import Spool

_PREFIX: Final = "checkpoints"
_POLL_S: Final = 0.05
_LAST_S: Final = 5.0
_LOG: Final = logging.getLogger("headrace.audit")


class CheckpointError(ValueError):
    """Bytes that are no checkpoint, or one that was not made with the key."""


def key_of(secret: bytes) -> bytes:
    """The key of checkpoints, derived from the routers' shared secret (HEADRACE_HASH_SECRET)."""
    return hmac.digest(secret, b"headrace/checkpoint", "sha256")


def to_json(checkpoint: Checkpoint) -> bytes:
    """An object's content."""
    return json.dumps(
        {
            "writer": checkpoint.writer,
            "size": checkpoint.size,
            "head": checkpoint.head.hex(),
            "atUs": checkpoint.at_us,
            "mac": checkpoint.mac.hex(),
        },
        sort_keys=True,
    ).encode()


def from_json(data: bytes, key: bytes) -> Checkpoint:
    """The checkpoint of an object. Raises `CheckpointError` where it is none or not genuine."""
    try:
        document = json.loads(data)
        made = Checkpoint(
            writer=str(document["writer"]),
            size=int(document["size"]),
            head=bytes.fromhex(document["head"]),
            at_us=int(document["atUs"]),
            mac=bytes.fromhex(document["mac"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError("it is no checkpoint") from error
    if not genuine(made, key):
        raise CheckpointError(f"the checkpoint at {made.size} entries was not made with this key")
    return made


class Store(Protocol):
    """Where checkpoints are kept."""

    def put(self, name: str, data: bytes) -> None:
        """Keeps an object. Raises OSError where it can't now."""

    def read(self, prefix: str) -> list[bytes]:
        """All objects whose name begins with `prefix`. Raises OSError where they can't be read."""


class FolderStore:
    """Files in a folder: for tests, and for objects that were copied out of a bucket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, data: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def read(self, prefix: str) -> list[bytes]:
        return [path.read_bytes() for path in sorted((self._folder / prefix).glob("*.json"))]


class BucketStore:
    """A bucket with object lock. Each object is locked by its own headers too, whatever the bucket's default says.

    Credentials and region come from the environment (pod identity in the cluster). Blocking: call it from a thread.
    """

    def __init__(
        self, bucket: str, *, mode: str = "COMPLIANCE", days: int = 730, now: Callable[[], datetime] | None = None
    ) -> None:
        self._bucket = bucket
        self._mode = mode
        self._days = days
        self._now = now or (lambda: datetime.now(tz=UTC))
        self._client: Any = None

    def _connected(self) -> Any:
        if self._client is None:
            import boto3
            from botocore.config import Config

            self._client = boto3.client(
                "s3", config=Config(connect_timeout=3, read_timeout=10, retries={"max_attempts": 3, "mode": "standard"})
            )
        return self._client

    def put(self, name: str, data: bytes) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._connected().put_object(
                Bucket=self._bucket,
                Key=name,
                Body=data,
                ContentType="application/json",
                ChecksumAlgorithm="SHA256",  # S3 takes a locked object only with a checksum
                ObjectLockMode=self._mode,
                ObjectLockRetainUntilDate=self._now() + timedelta(days=self._days),
            )
        except (BotoCoreError, ClientError) as error:
            raise OSError(_words(error)) from error

    def read(self, prefix: str) -> list[bytes]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            client = self._connected()
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=f"{prefix}/")
            names = [item["Key"] for page in pages for item in page.get("Contents", ())]
            return [client.get_object(Bucket=self._bucket, Key=name)["Body"].read() for name in names]
        except (BotoCoreError, ClientError) as error:
            raise OSError(_words(error)) from error


def _words(error: Exception) -> str:
    """What went wrong, without the request."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return str(code or type(error).__name__)


def folder_of(writer: str) -> str:
    """Where a writer's checkpoints lie. A name that would lie elsewhere is no name of a writer."""
    if not writer or "/" in writer or writer.startswith("."):
        raise CheckpointError(f"{writer!r} is no name of a writer")
    return f"{_PREFIX}/{writer}"


def read(store: Store, writer: str, key: bytes) -> list[Checkpoint]:
    """All checkpoints of a writer. Raises `CheckpointError` for one that is not genuine, or is another's."""
    found = [from_json(data, key) for data in store.read(folder_of(writer))]
    for checkpoint in found:
        if checkpoint.writer != writer:
            raise CheckpointError(f"a checkpoint of {checkpoint.writer} lies among those of {writer}")
    return found


class Checkpoints:
    """Makes one whenever `interval_s` has passed and the chain has grown. Never on a request's path."""

    def __init__(
        self,
        spool: Spool,
        store: Store,
        *,
        key: bytes,
        interval_s: Callable[[], float],
        now_us: Callable[[], int],
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._spool = spool
        self._store = store
        self._key = key
        self._interval_s = interval_s
        self._now_us = now_us
        self._told = told
        self._last = -1
        self._failing = False

    async def run(self) -> None:
        """For ever; a store that does not answer is asked again at the next interval. Raises what no store should:
        whoever runs this begins it again (`headrace.router.background`)."""
        while True:
            await asyncio.sleep(self._interval_s())
            await self.step()

    async def step(self) -> bool:
        """Makes a checkpoint if there is anything new; whether the store has the newest one now."""
        size, head = self._spool.size, self._spool.head
        if size in (self._last, 0):
            return True
        # Only what is on disk: a checkpoint beyond what a crash leaves would accuse an honest chain.
        while self._spool.durable < size:
            if not self._spool.healthy:
                return False
            await asyncio.sleep(_POLL_S)
        made = sign(Checkpoint(writer=self._spool.writer, size=size, head=head, at_us=self._now_us()), self._key)
        name = f"{folder_of(made.writer)}/{size:016d}.json"
        try:
            await asyncio.to_thread(self._store.put, name, to_json(made))
        except OSError as error:
            self._told("failed")
            if not self._failing:
                _LOG.warning("no checkpoint could be kept", extra={"fields": {"reason": str(error)}})
            self._failing = True
            return False
        self._failing, self._last = False, size
        self._told("kept")
        return True

    async def last(self) -> None:
        """One more at the end, within a few seconds. Nothing that goes wrong with it holds up the stop."""
        try:
            async with asyncio.timeout(_LAST_S):
                await self.step()
        except TimeoutError:
            _LOG.warning("the last checkpoint was not kept in time")
        except Exception:
            _LOG.exception("the last checkpoint was not kept")
