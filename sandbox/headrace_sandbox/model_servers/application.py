"""The OpenAI API of one pool's model servers, with vLLM's metric names, and faults that tests switch on.

Faults (POST /_sandbox/fault {"mode": …}): off, refuse (503), too-many (429), error (500), hang, garbage, html,
cut (half a stream), stall (a stream that stops talking), reset (the connection breaks mid-stream).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from headrace_sandbox.model_servers.behaviour import AtCapacity, Behaviour, Servers

FAULTS: Final = ("off", "refuse", "too-many", "error", "hang", "garbage", "html", "cut", "stall", "reset")
_WORDS: Final = ("water", "falls", "through", "the", "turbine", "and", "light", "follows")
_BYTES_PER_TOKEN: Final = 4


@dataclass
class Fault:
    """What is wrong at the moment; `left` counts down, None means until switched off."""

    mode: str = "off"
    left: int | None = None

    def now(self) -> str:
        """The fault of this request."""
        if self.mode == "off" or self.left == 0:
            return "off"
        if self.left is not None:
            self.left -= 1
        return self.mode


class ModelServer:
    """One pool's servers behind one address."""

    def __init__(self, behaviour: Behaviour, *, model: str, key: str | None = None) -> None:
        self.servers = Servers(behaviour, time.monotonic)
        self.fault = Fault()
        self.served = 0
        self.seen: list[dict[str, Any]] = []
        self._model = model
        self._key = key
        self._ids = itertools.count(1)

    def application(self) -> web.Application:
        """Routes."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self._generate)
        app.router.add_post("/v1/completions", self._generate)
        app.router.add_post("/v1/embeddings", self._embed)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/health", self._health)
        app.router.add_post("/_sandbox/fault", self._set_fault)
        app.router.add_get("/_sandbox/state", self._state)
        return app

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="")

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self._model, "object": "model"}]})

    async def _set_fault(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        if wanted.get("mode") not in FAULTS:
            return web.json_response({"error": f"mode must be one of {', '.join(FAULTS)}"}, status=400)
        self.fault = Fault(mode=wanted["mode"], left=wanted.get("count"))
        return web.json_response({"mode": self.fault.mode})

    async def _state(self, _: web.Request) -> web.Response:
        return web.json_response({**self.state(), "lastHeaders": self.seen[-1] if self.seen else None})

    def state(self) -> dict[str, Any]:
        """What it did so far; times in unscaled seconds."""
        servers = self.servers
        return {
            "running": servers.running,
            "waiting": servers.waiting,
            "mostRunning": servers.most_running,
            "coldStarts": servers.cold_starts,
            "live": servers.live,
            "billedSeconds": servers.billed_s,
            "committedSeconds": servers.committed_s,
            "served": self.served,
            "tokensOut": servers.generated,
            "cancelled": servers.cancelled,
        }

    async def _metrics(self, _: web.Request) -> web.Response:
        servers, label = self.servers, f'{{model_name="{self._model}"}}'
        # One address stands for all of the pool's servers here: a line for each, so that they can be counted.
        count = max(1, servers.live)
        waiting = [
            f'vllm:num_requests_waiting{{model_name="{self._model}",engine="{engine}"}}'
            f" {(servers.waiting + engine) // count:.1f}"
            for engine in range(count)
        ]
        lines = [
            "# TYPE vllm:num_requests_running gauge",
            f"vllm:num_requests_running{label} {servers.running:.1f}",
            "# TYPE vllm:num_requests_waiting gauge",
            *waiting,
            "# TYPE vllm:kv_cache_usage_perc gauge",
            f"vllm:kv_cache_usage_perc{label} {servers.kv_use}",
            "# TYPE vllm:generation_tokens_total counter",
            f"vllm:generation_tokens_total{label} {servers.generated:.1f}",
        ]
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")

    async def _embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        items = body["input"] if isinstance(body["input"], list) else [body["input"]]
        tokens = sum(len(str(item)) // _BYTES_PER_TOKEN + 1 for item in items)
        async with self.servers.slot(tokens):
            await asyncio.sleep(tokens / self.servers.behaviour.prefill_tokens_s / self.servers.behaviour.speed)
        data = [{"object": "embedding", "index": i, "embedding": [0.0, 1.0]} for i in range(len(items))]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return web.json_response({"object": "list", "model": self._model, "data": data, "usage": usage})

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        self.seen = [*self.seen[-9:], dict(request.headers)]
        if self._key is not None and request.headers.get("Authorization") != f"Bearer {self._key}":
            return web.json_response({"error": {"message": "bad key"}}, status=401)
        mode = self.fault.now()
        faulty = await self._fault(mode)
        if faulty is not None:
            return faulty
        body = await request.json()
        chat = request.path.endswith("chat/completions")
        text = json.dumps(body.get("messages") if chat else body.get("prompt"))
        prompt = len(text.encode()) // _BYTES_PER_TOKEN
        most = int(body.get("max_completion_tokens") or body.get("max_tokens") or 64)
        answer = min(most, _wanted(body) or most)
        try:
            async with self.servers.slot(prompt + answer):
                behaviour = self.servers.behaviour
                await asyncio.sleep(prompt / behaviour.prefill_tokens_s / behaviour.speed)
                if body.get("stream"):
                    return await self._stream(request, body, chat=chat, prompt=prompt, answer=answer, mode=mode)
                await asyncio.sleep(answer * behaviour.token_s / behaviour.speed)
        except AtCapacity:
            message = {"error": {"message": "no worker is free", "code": 429}}
            return web.json_response(message, status=429, headers={"Retry-After": "1"})
        self.served += 1
        self.servers.generated += answer
        words = " ".join(_WORDS[i % len(_WORDS)] for i in range(answer))
        choice = {"message": {"role": "assistant", "content": words}} if chat else {"text": words}
        reason = "length" if answer == most else "stop"
        return web.json_response(
            {
                "id": f"cmpl-{next(self._ids)}",
                "object": "chat.completion" if chat else "text_completion",
                "model": self._model,
                "choices": [{"index": 0, "finish_reason": reason, **choice}],
                "usage": _usage(prompt, answer),
            }
        )

    async def _fault(self, mode: str) -> web.Response | None:
        match mode:
            case "refuse":
                return web.json_response({"error": {"message": "loading"}}, status=503)
            case "too-many":
                return web.json_response({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "1"})
            case "error":
                return web.json_response({"error": {"message": "CUDA error"}}, status=500)
            case "garbage":
                return web.Response(body=b"\x00\xff\x13 not json", content_type="application/json")
            case "html":
                return web.Response(text="<html>welcome</html>", content_type="text/html")
            case "hang":
                await asyncio.sleep(3600)
        return None

    async def _stream(
        self, request: web.Request, body: dict[str, Any], *, chat: bool, prompt: int, answer: int, mode: str
    ) -> web.StreamResponse:
        behaviour = self.servers.behaviour
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        base = {"id": f"cmpl-{next(self._ids)}", "object": "chat.completion.chunk", "model": self._model}
        for index in range(0, answer, behaviour.chunk_tokens):
            if mode in ("cut", "stall", "reset") and index >= max(1, answer // 2):
                if mode == "cut":
                    return response
                if mode == "reset":
                    if request.transport is not None:
                        request.transport.abort()
                    return response
                await asyncio.sleep(3600)
            count = min(behaviour.chunk_tokens, answer - index)
            words = "".join(f"{_WORDS[at % len(_WORDS)]} " for at in range(index, index + count))
            choice = {"delta": {"content": words}} if chat else {"text": words}
            await response.write(_event({**base, "choices": [{"index": 0, **choice}]}))
            self.servers.generated += count
            await asyncio.sleep(count * behaviour.token_s / behaviour.speed)
        options = body.get("stream_options") or {}
        if options.get("include_usage"):
            await response.write(_event({**base, "choices": [], "usage": _usage(prompt, answer)}))
        await response.write(b"data: [DONE]\n\n")
        self.served += 1
        return response


def _wanted(body: dict[str, Any]) -> int | None:
    """Length of the answer, where a replay says it (`metadata.answer_tokens`): a real model would stop by itself."""
    metadata = body.get("metadata")
    text = metadata.get("answer_tokens") if isinstance(metadata, dict) else None
    return int(text) if isinstance(text, str) and text.isdigit() and int(text) > 0 else None


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def _usage(prompt: int, answer: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
