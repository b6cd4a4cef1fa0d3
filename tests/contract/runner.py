"""Carries out a vector's steps against an engine, and compares what callers, model servers and the ledger saw.

Steps:  ask    one request, or `together: n` at once, or `times: n` one after the other; `as: name` leaves it running;
               `hang_up: first-byte | running | waiting` closes the connection then; the rest is what is sent
        expect what its callers saw: status, code, pool, complete (whole, or ended with [DONE]), words of a stream,
               usage_event, error_event, retry_after, body; statuses and pools count the answers of several requests
        keep, same_pool_as: remembers, and compares, which pool answered
        fault  a stand-in's fault; beside its own: bad-request answers 400, odd answers JSON that is no completion
        until  a pool's state at the router; join waits for an `as`
        pools  what stand-ins saw
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from multidict import CIMultiDict

from headrace.audit.record import Entry
from tests.contract.world import Engine, Standin, Vector
from tests.engine.router.world import state_of

_PATIENCE_S = 60.0


@dataclass
class Seen:
    """What one caller saw; status 0 where it hung up before an answer began."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=CIMultiDict)
    body: bytes = b""

    @property
    def pool(self) -> str:
        return self.headers.get("X-Headrace-Pool", "").partition("-")[2]

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])

    @property
    def events(self) -> list[dict[str, Any]]:
        lines = [line[5:].strip() for line in self.body.split(b"\n") if line.startswith(b"data:")]
        return [json.loads(line) for line in lines if line != b"[DONE]"]

    @property
    def complete(self) -> bool:
        if self.body.startswith(b"{"):
            return "error" not in json.loads(self.body)
        return self.body.rstrip().endswith(b"data: [DONE]")

    @property
    def words(self) -> int:
        return sum(len(self._text(choice).split()) for event in self.events for choice in event.get("choices", ()))

    @staticmethod
    def _text(choice: Mapping[str, Any]) -> str:
        return str(choice.get("text") or (choice.get("delta") or {}).get("content") or "")

    @property
    def error_event(self) -> str:
        return next((str(event["error"]["code"]) for event in self.events if "error" in event), "")

    @property
    def usage_event(self) -> bool:
        # OpenAI and vLLM leave its choices empty; LiteLLM puts an empty one there.
        return any(
            (event.get("usage") or {}).get("total_tokens") and not any(map(self._text, event.get("choices", ())))
            for event in self.events
        )


def fits(found: Any, wanted: Any) -> bool:
    """Whether a value is what was expected: equal, or within a mapping of min, max, has, lacks, set."""
    if not isinstance(wanted, dict) or not wanted.keys() <= {"min", "max", "has", "lacks", "set"}:
        return bool(found == wanted)
    return (
        ("min" not in wanted or found >= wanted["min"])
        and ("max" not in wanted or found <= wanted["max"])
        and ("has" not in wanted or wanted["has"] in found)
        and ("lacks" not in wanted or wanted["lacks"] not in found)
        and ("set" not in wanted or bool(found) is wanted["set"])
    )


class Run:
    """One vector against one engine."""

    def __init__(
        self, vector: Vector, engine: Engine, standins: Mapping[str, Standin], session: aiohttp.ClientSession
    ) -> None:
        self._vector = vector
        self._engine = engine
        self._standins = standins
        self._session = session
        self._running: dict[str, asyncio.Task[list[Seen]]] = {}
        self._kept: dict[str, str] = {}

    async def steps(self) -> None:
        """All steps, in order; nothing is left running."""
        try:
            for step in self._vector.steps:
                await self._step(step)
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _step(self, step: Mapping[str, Any]) -> None:
        match step:
            case {"ask": ask}:
                task = asyncio.create_task(self._ask(ask))
                if "as" in ask:
                    self._running[ask["as"]] = task
                    return
                self._compare(step, await task)
            case {"join": name}:
                self._compare(step, await self._running[name])
            case {"fault": fault}:
                self._fault(**fault)
            case {"until": until}:
                name = f"{self._vector.slug}-{until['pool']}"
                await self._until(lambda state: state["pools"][name]["inFlight"] == until["inFlight"])
            case {"pools": pools}:
                for name, wanted in pools.items():
                    await self._saw(self._standins[name], wanted)
            case _:
                raise AssertionError(f"a step that nobody knows: {step}")

    def _fault(self, *, pool: str, mode: str, count: int | None = None) -> None:
        standin = self._standins[pool]
        standin.mode = mode if mode in ("bad-request", "odd") else ""
        if not standin.mode:
            standin.fault.mode, standin.fault.left = mode, count

    async def _until(self, ready: Callable[[dict[str, Any]], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not ready(state := await state_of(self._session, self._engine)):
            assert time.monotonic() < deadline, state
            await asyncio.sleep(0.02)

    # -- asking -------------------------------------------------------------------------------------------------------

    async def _ask(self, ask: Mapping[str, Any]) -> list[Seen]:
        if "hang_up" in ask:
            return [await self._hang_up(ask)]
        if "times" in ask:
            return [await self._send(ask, number) for number in range(ask["times"])]
        return await asyncio.gather(*(self._send(ask, number) for number in range(ask.get("together", 1))))

    def _request(self, ask: Mapping[str, Any], number: int) -> tuple[str, str, dict[str, Any]]:
        path, method = ask.get("path", "/v1/chat/completions"), ask.get("method", "POST")
        text = "x" * ask["text_bytes"] if "text_bytes" in ask else ask.get("text", "hello")
        text = text.replace("{i}", str(number))
        if ask.get("together", 1) > 1:
            text = f"{text} {'abcdefgh'[number]}"  # or they would be a loop
        document: dict[str, Any] = {"model": ask.get("model", self._vector.slug)}
        if path == "/v1/embeddings":
            document["input"] = [text]
        elif path == "/v1/completions":
            document["prompt"] = text
        else:
            document["messages"] = [{"role": "user", "content": text}]
        if path != "/v1/embeddings":
            document |= {"max_tokens": ask.get("tokens", 4), "stream": ask.get("stream", False)}
        headers = dict(ask.get("headers", {}))
        key = {"none": None, "unknown": "hr_unknown_" + "u" * 43}.get(ask.get("key", ""), self._vector.key)
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        sent: dict[str, Any] = {"headers": headers}
        if "raw" in ask:
            sent["data"] = ask["raw"]
        elif method == "POST":
            sent["json"] = {**document, **ask.get("body", {})}
        return method, self._engine.url(path), sent

    async def _send(self, ask: Mapping[str, Any], number: int = 0, *, first_byte: bool = False) -> Seen:
        method, url, sent = self._request(ask, number)
        seen = Seen()
        with contextlib.suppress(aiohttp.ClientError):
            async with self._session.request(method, url, **sent) as response:
                seen.status, seen.headers = response.status, CIMultiDict(response.headers)
                async for chunk in response.content.iter_any():
                    seen.body += chunk
                    if first_byte:
                        response.close()
                        break
        return seen

    async def _hang_up(self, ask: Mapping[str, Any]) -> Seen:
        if ask["hang_up"] == "first-byte":
            return await self._send(ask, first_byte=True)
        task = asyncio.create_task(self._send(ask))
        if ask["hang_up"] == "waiting":
            await self._until(lambda state: state["pools"][f"{self._vector.slug}-floor"]["waiting"] == 1)
        else:
            deadline = time.monotonic() + _PATIENCE_S
            while not self._standins["floor"].servers.running:
                assert time.monotonic() < deadline, "the request never reached the model server"
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return Seen()

    # -- comparing ----------------------------------------------------------------------------------------------------

    def _compare(self, step: Mapping[str, Any], answers: list[Seen]) -> None:
        for name, wanted in step.get("expect", {}).items():
            if name == "statuses":
                counted: Any = Counter(one.status for one in answers)
                assert dict(counted) == wanted, f"statuses {counted}: {answers}"
            elif name == "pools":
                counted = Counter(one.pool for one in answers)
                assert dict(counted) == wanted, f"pools {counted}"
            else:
                for one in answers:
                    found = self._property(one, name)
                    assert fits(found, wanted), f"{name} is {found!r}, not {wanted!r}: {one}"
        if "keep" in step:
            self._kept[step["keep"]] = answers[0].pool
        if "same_pool_as" in step:
            assert answers[0].pool == self._kept[step["same_pool_as"]], "a conversation changed its release"

    @staticmethod
    def _property(seen: Seen, name: str) -> Any:
        if name == "body":
            return seen.body.decode()
        if name == "retry_after":
            return seen.headers.get("Retry-After", "").isdigit()
        return getattr(seen, name)

    async def _saw(self, standin: Standin, wanted: Mapping[str, Any]) -> None:
        """Compares a stand-in; what is about ends of calls may take a moment."""
        deadline = time.monotonic() + 60.0
        while True:
            servers = standin.servers
            found = {
                "most_running": servers.most_running,
                "running": servers.running,
                "cancelled": servers.cancelled,
                "calls": len(standin.bodies),
                "paths": standin.paths,
                "body": {name: (standin.bodies or [{}])[-1].get(name) for name in wanted.get("body", {})},
                "headers_lack": "",
                "headers_have": "",
            }
            headers = json.dumps(standin.seen)
            plain = {name: value for name, value in wanted.items() if not name.startswith("headers_")}
            if all(found[name] == value for name, value in plain.items()):
                break
            assert time.monotonic() < deadline, f"the model server saw {found}, not {wanted}"
            await asyncio.sleep(0.05)
        assert wanted.get("headers_lack", "\0") not in headers, "a caller's secret went upstream"
        assert wanted.get("headers_have", "") in headers, headers

    # -- afterwards ---------------------------------------------------------------------------------------------------

    async def settled(self) -> None:
        """Nothing of the vector is in flight, waiting or reserved."""
        slug = self._vector.slug

        def quiet(state: dict[str, Any]) -> bool:
            pools = [one for name, one in state["pools"].items() if name.startswith(f"{slug}-")]
            accounts = [one for scope, one in state["accounts"].items() if f"/{slug}" in scope]
            return not any(one["inFlight"] or one["waiting"] for one in pools) and not any(
                one["reservedNano"] or one["parallel"] for one in accounts
            )

        await self._until(quiet)
        if self._vector.spent is not None:
            state = await state_of(self._session, self._engine)
            spent = state["accounts"][f"project/{slug}/main"]["spentNano"]
            assert fits(spent, self._vector.spent), f"{spent} nano-dollars were spent, not {self._vector.spent}"

    def records(self, entries: list[Entry]) -> None:
        """Compares the ledger: as many final records as expected, each of them expected, none twice."""
        mine = [one for one in entries if one.tenant == self._vector.slug and one.kind.final]
        assert len({one.request_id for one in mine}) == len(mine), f"a request has two final records: {mine}"
        left = list(mine)
        for wanted in self._vector.records:
            fields = {name: value for name, value in wanted.items() if name != "count"}
            for _ in range(wanted.get("count", 1)):
                found = next((one for one in left if _matches(one, fields)), None)
                assert found is not None, f"no record is {fields}; left are {left}"
                left.remove(found)
        assert not left, f"records that nobody expected: {left}"
        for name in self._vector.same:
            assert len({getattr(one, name) for one in mine}) == 1, f"{name} differs between the same requests"

    def expected(self) -> int:
        """How many final records there must be."""
        return sum(int(one.get("count", 1)) for one in self._vector.records)


def _matches(entry: Entry, wanted: Mapping[str, Any]) -> bool:
    return all(fits(getattr(entry, name), value) for name, value in wanted.items())
