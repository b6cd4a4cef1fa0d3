"""RunPod's REST API v2 over httpx: retries within the operation's time limit, errors in the vendor's own words.

Source of the protocol: https://docs.runpod.io (API reference v2, read 2026-11-21). Errors are RFC 9457 bodies (`title`,
`status`, `detail`, `errors`); a 429 carries Retry-After in seconds; DELETE answers 204; a create has no idempotency
key."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Final

import httpx

from headrace_components.provider.resource import Call, Cancelled, ProviderError
from headrace_components.runpod.answers import Json, Uncertain, VendorError

REQUEST_TIMEOUT_S: Final = 30.0
FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 20.0
CONNECTIONS: Final = 16
PAGE_LIMIT: Final = 1000
_BUSY: Final = 429
_ABSENT: Final = 404


class RunPodClient:
    """One account. The key goes into the Authorization header and nowhere else."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        transport: httpx.AsyncBaseTransport | None = None,
        jitter: Callable[[], float] = random.random,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url.rstrip("/"),
            headers={"Authorization": f"Bearer {api_key}", "User-Agent": "headrace"},
            timeout=request_timeout_s,
            limits=httpx.Limits(max_connections=CONNECTIONS),
            transport=transport,
        )
        self._jitter = jitter
        # What existed when this process first asked: enough to find what an earlier run left behind.
        self._known: dict[str, asyncio.Task[list[Json]]] = {}

    def __repr__(self) -> str:
        return f"RunPodClient({self._http.base_url})"

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, call: Call, path: str) -> Json | None:
        """The object at `path`; None if there is none."""
        return await self._send(call, "GET", path, absent_ok=True)

    async def patch(self, call: Call, path: str, body: Json) -> Json:
        """Change the given fields; the object afterwards."""
        changed = await self._send(call, "PATCH", path, body)
        if changed is None:
            raise ProviderError(f"RunPod answered PATCH {path} without the object")
        return changed

    async def delete(self, call: Call, path: str) -> None:
        """Remove the object. Absent is success."""
        await self._send(call, "DELETE", path, absent_ok=True)
        self._known.clear()

    async def post(self, call: Call, path: str, body: Json) -> Json:
        """Create once. Only a 429 is retried here, since after it nothing can have been made; every other doubt is
        `Uncertain`, and the caller looks before it tries again."""
        made = await self._send(call, "POST", path, body)
        if made is None:
            raise Uncertain(f"RunPod answered POST {path} without the object")
        return made

    async def known(self, call: Call, path: str, key: str, *, fresh: bool = False) -> list[Json]:
        """The account's objects of a collection, as they were when this process first asked, or now if `fresh`."""
        task = self._known.get(path)
        failed = task is not None and task.done() and (task.cancelled() or task.exception() is not None)
        if task is None or fresh or failed:
            task = asyncio.get_running_loop().create_task(self.list(call, path, key))
            self._known[path] = task
        return await asyncio.shield(task)

    async def list(self, call: Call, path: str, key: str) -> list[Json]:
        """Every object of a collection, page by page where the vendor pages."""
        found: list[Json] = []
        cursor: str | None = None
        for _ in range(PAGE_LIMIT):
            page = await self._send(call, "GET", path, params={"cursor": cursor} if cursor else None) or {}
            found += page.get(key) or []
            paging = page.get("pagination") or {}
            cursor = paging.get("nextCursor") if paging.get("hasNextPage") else None
            if not cursor:
                return found
        raise ProviderError(f"RunPod's list {path} does not end after {PAGE_LIMIT} pages")

    async def _send(
        self,
        call: Call,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        params: Mapping[str, str] | None = None,
        absent_ok: bool = False,
    ) -> Json | None:
        attempt = 0
        while True:
            if call.cancelled.is_set():
                raise Cancelled
            wait, sure_not_done = 0.0, False
            try:
                answer = await self._http.request(method, path, json=body, params=params)
            except httpx.TransportError as error:
                reason = f"no answer ({type(error).__name__})"
            else:
                if absent_ok and answer.status_code == _ABSENT:
                    return None
                if answer.is_success:
                    try:
                        return _body(answer, method, path)
                    except ProviderError as error:
                        if method != "POST":
                            raise
                        raise Uncertain(str(error)) from error
                if answer.status_code != _BUSY and not answer.is_server_error:
                    raise refusal(answer, method, path)
                reason, wait = str(refusal(answer, method, path)), _retry_after(answer)
                sure_not_done = answer.status_code == _BUSY
                call.log(f"RunPod asks to wait ({answer.status_code} to {method} {path})")
            if method == "POST" and not sure_not_done:
                raise Uncertain(f"POST {path}: {reason}")
            attempt += 1
            delay = max(wait, min(FIRST_DELAY_S * 2 ** (attempt - 1), LONGEST_DELAY_S) * (0.5 + self._jitter() / 2))
            if delay >= call.seconds_left():
                raise ProviderError(f"gave up on {method} {path} after {attempt} attempts: {reason}")
            await call.sleep(delay)


def _body(answer: httpx.Response, method: str, path: str) -> Json | None:
    if answer.status_code == 204 or not answer.content:
        return None
    try:
        decoded = answer.json()
    except ValueError as error:
        raise ProviderError(f"RunPod answered {method} {path} with something that is not JSON") from error
    if not isinstance(decoded, dict):
        raise ProviderError(f"RunPod answered {method} {path} with a {type(decoded).__name__}, not an object")
    return decoded


def _retry_after(answer: httpx.Response) -> float:
    try:
        return max(float(answer.headers.get("Retry-After", "0")), 0.0)
    except ValueError:
        return 0.0


def refusal(answer: httpx.Response, method: str, path: str) -> VendorError:
    """The vendor's error body as one sentence."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    body = body if isinstance(body, dict) else {}
    parts = [str(body.get("title") or answer.reason_phrase)]
    parts += [str(body["detail"])] if body.get("detail") else []
    parts += [str(error) for error in body.get("errors") or []]
    return VendorError(
        f"RunPod answered {answer.status_code} to {method} {path}: {'; '.join(parts)}", answer.status_code
    )
