"""The REST client: what it retries, for how long, and what it says when it gives up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx
import pytest

from headrace_components.provider.resource import Call, Cancelled, ProviderError
from headrace_components.provider.vendors import Vendors
from headrace_components.runpod.answers import Uncertain, VendorError
from headrace_components.runpod.client import RunPodClient
from headrace_components.runpod.endpoint import Endpoint

KEY = "rpa_very_secret_key"
WANTED = {
    "name": "chat-1234",
    "type": "QUEUE",
    "image": "x/y@sha256:0",
    "gpu": {"pools": ["ADA_24"], "count": 1},
    "workers": {"min": 0, "max": 3, "idleTimeout": 10},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
    "timeout": 300000,
    "flashboot": "OFF",
}
LIVE = {**WANTED, "id": "e1", "createdAt": "2026-11-21T00:00:00Z", "dataCenterIds": [], "networkVolumes": []}


class Sleeps:
    """Records waits instead of waiting."""

    def __init__(self) -> None:
        self.seconds: list[float] = []


def make_call(sleeps: Sleeps, *, limit_s: float = 100.0, own_name: bool = True) -> Call:
    class Recorded(Call):
        async def sleep(self, seconds: float) -> None:
            if self.cancelled.is_set():
                raise Cancelled
            sleeps.seconds.append(seconds)

    return Recorded(
        urn="urn:pulumi:s::p::headrace:runpod:Endpoint::chat",
        vendors=Vendors(),
        deadline=time.monotonic() + limit_s,
        cancelled=asyncio.Event(),
        log=lambda message, warning=False: None,
        own_name=own_name,
    )


def make_client(handler: Callable[[httpx.Request], httpx.Response]) -> RunPodClient:
    return RunPodClient(
        base_url="https://vendor.invalid/v2", api_key=KEY, transport=httpx.MockTransport(handler), jitter=lambda: 1.0
    )


def answers(*queued: httpx.Response | Exception) -> tuple[Callable[[httpx.Request], httpx.Response], list[str]]:
    waiting, seen = list(queued), []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(f"{request.method} {request.url.path}")
        answer = waiting.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handler, seen


async def test_a_429_is_waited_out_for_as_long_as_the_vendor_says() -> None:
    handler, seen = answers(
        httpx.Response(429, headers={"Retry-After": "7"}, json={"title": "Too Many Requests"}),
        httpx.Response(200, json={"id": "e1"}),
    )
    sleeps = Sleeps()
    assert await make_client(handler).get(make_call(sleeps), "/serverless/e1") == {"id": "e1"}
    assert sleeps.seconds == [7.0], "Retry-After is the least time to wait"
    assert len(seen) == 2


async def test_server_errors_back_off_exponentially_and_end_with_the_time_limit() -> None:
    def handler(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, json={"title": "Service Unavailable", "detail": "try later"})

    sleeps = Sleeps()
    with pytest.raises(ProviderError, match=r"gave up on GET /serverless/e1 after .* 503 .* try later"):
        await make_client(handler).get(make_call(sleeps, limit_s=10.0), "/serverless/e1")
    assert sleeps.seconds[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(sleeps.seconds) <= 10.0, "no wait is longer than what is left"


async def test_a_refusal_is_not_retried_and_carries_the_vendors_words() -> None:
    body = {
        "title": "Unprocessable Entity",
        "detail": "Request validation failed.",
        "errors": ["workers.max: too many"],
    }
    handler, seen = answers(httpx.Response(422, json=body))
    with pytest.raises(
        VendorError, match=r"422 .* Unprocessable Entity; Request validation failed\.; workers\.max"
    ) as no:
        await make_client(handler).patch(make_call(Sleeps()), "/serverless/e1", {"workers": {"max": 99}})
    assert len(seen) == 1
    assert no.value.status == 422


async def test_no_error_holds_the_key() -> None:
    handler, _seen = answers(httpx.Response(401, json={"title": "Unauthorized", "detail": "bad token"}))
    client = make_client(handler)
    with pytest.raises(VendorError) as refused:
        await client.get(make_call(Sleeps()), "/serverless")
    assert KEY not in str(refused.value)
    assert KEY not in repr(client)


@pytest.mark.parametrize(
    "doubt",
    [
        httpx.ReadTimeout("late"),
        httpx.ConnectError("reset"),
        httpx.Response(500, json={"title": "Internal"}),
        httpx.Response(201, text="<html>"),
    ],
    ids=["timeout", "connection", "500", "malformed"],
)
async def test_a_create_that_may_have_happened_is_never_repeated_blindly(doubt: httpx.Response | Exception) -> None:
    handler, seen = answers(doubt)
    with pytest.raises(Uncertain):
        await make_client(handler).post(make_call(Sleeps()), "/serverless", {})
    assert seen == ["POST /v2/serverless"]


async def test_a_throttled_create_is_repeated_because_nothing_was_made() -> None:
    handler, seen = answers(httpx.Response(429, json={}), httpx.Response(201, json={"id": "e1"}))
    assert (await make_client(handler).post(make_call(Sleeps()), "/serverless", {}))["id"] == "e1"
    assert seen == ["POST /v2/serverless"] * 2


async def test_cancelling_stops_before_the_next_request() -> None:
    handler, seen = answers()
    call = make_call(Sleeps())
    call.cancelled.set()
    with pytest.raises(Cancelled):
        await make_client(handler).get(call, "/serverless/e1")
    assert seen == []


async def test_a_list_is_read_to_its_last_page() -> None:
    handler, seen = answers(
        httpx.Response(200, json={"endpoints": [{"id": "a"}], "pagination": {"hasNextPage": True, "nextCursor": "c"}}),
        httpx.Response(200, json={"endpoints": [{"id": "b"}], "pagination": {"hasNextPage": False}}),
    )
    found = await make_client(handler).list(make_call(Sleeps()), "/serverless", "endpoints")
    assert [one["id"] for one in found] == ["a", "b"]
    assert len(seen) == 2


def with_client(call: Call, client: RunPodClient) -> Call:
    call.vendors._runpod = client
    return call


async def test_a_lost_answer_to_a_create_is_looked_for_and_adopted() -> None:
    handler, seen = answers(
        httpx.Response(200, json={"endpoints": []}),
        httpx.ReadTimeout("late"),
        httpx.Response(200, json={"endpoints": [LIVE]}),
        httpx.Response(200, json=LIVE),
        httpx.Response(200, json=LIVE),
    )
    live = await Endpoint().create(with_client(make_call(Sleeps()), make_client(handler)), WANTED)
    assert live.id == "e1"
    assert seen.count("POST /v2/serverless") == 1, "the first try had made it"


async def test_what_an_earlier_run_left_behind_is_adopted_and_brought_up_to_date() -> None:
    stale = {**LIVE, "workers": {"min": 0, "max": 1, "idleTimeout": 10}}
    bodies: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH":
            bodies.append(request.content)
            return httpx.Response(200, json=LIVE)
        listing = request.url.path.endswith("/serverless")
        return httpx.Response(200, json={"endpoints": [stale]} if listing else stale)

    live = await Endpoint().create(with_client(make_call(Sleeps()), make_client(handler)), WANTED)
    assert live.id == "e1"
    assert bodies == [b'{"workers":{"min":0,"max":3,"idleTimeout":10}}'], "only what differs is sent"


async def test_somebody_elses_object_of_the_same_name_is_refused() -> None:
    other = {**LIVE, "image": "other@sha256:1"}
    handler, seen = answers(
        httpx.Response(200, json={"endpoints": [other]}),
        httpx.Response(200, json=other),
    )
    call = with_client(make_call(Sleeps(), own_name=False), make_client(handler))
    with pytest.raises(ProviderError, match=r"may be somebody else's .*`pulumi import headrace:runpod:Endpoint"):
        await Endpoint().create(call, WANTED)
    assert not any(line.startswith(("POST", "PATCH", "DELETE")) for line in seen)


async def test_two_objects_of_our_name_are_refused_with_their_ids() -> None:
    handler, _seen = answers(httpx.Response(200, json={"endpoints": [LIVE, {**LIVE, "id": "e2"}]}))
    with pytest.raises(ProviderError, match="e1, e2"):
        await Endpoint().create(with_client(make_call(Sleeps()), make_client(handler)), WANTED)
