"""The gateway's HTTP server: reads a call, checks it, serves it from the store, moto, or both."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from aiohttp import web

from headrace_sandbox.aws.catalog import GUARDS, HANDLERS, OVERLAYS, SERVED_WHOLE
from headrace_sandbox.aws.check import check
from headrace_sandbox.aws.errors import AwsError, unsupported
from headrace_sandbox.aws.faults import Fault, Faults, fault_error
from headrace_sandbox.aws.identity import uuid
from headrace_sandbox.aws.moto_client import MotoClient
from headrace_sandbox.aws.store import Store
from headrace_sandbox.aws.wire import Call, Reply, decode, encode, encode_plain, parse
from headrace_sandbox.aws.world import World

_LOG = logging.getLogger("headrace_sandbox.aws")
_MAX_BODY = 64 * 1024 * 1024


class Gateway:
    """Serves every request that isn't under /_sandbox."""

    def __init__(self, world: World, moto: MotoClient) -> None:
        self.world = world
        self.moto = moto
        self.faults = Faults()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one API call."""
        body = await request.read()
        headers = dict(request.headers)
        try:
            call = parse(
                method=request.method, url=f"http://{request.host}{request.raw_path}", headers=headers, body=body
            )
        except AwsError as error:
            _LOG.info("refused %s %s: %s", request.method, request.path, error.message)
            return _response(encode_plain(error, uuid()))
        fault = self.faults.take(call)
        content_type = call.request.content_type or ""
        try:
            if fault in (Fault.THROTTLE, Fault.ERROR):
                raise fault_error(call, fault)
            reply = await self._answer(call, request.raw_path, body, headers)
        except AwsError as error:
            _LOG.info("%s %s: %s: %s", call.service, call.name, error.code, error.message)
            reply = encode(call.operation, error, call.request_id, content_type)
        if fault is Fault.LOST_REPLY and request.transport is not None:
            request.transport.close()
        return _response(reply)

    async def _answer(self, call: Call, raw_target: str, body: bytes, headers: dict[str, str]) -> Reply:
        check(call)
        key = (call.service, call.name)
        content_type = call.request.content_type or ""
        for guard in GUARDS.get(key, ()):
            await guard(self.world, call)
        if handler := HANDLERS.get(key):
            return encode(call.operation, await handler(self.world, call) or {}, call.request_id, content_type)
        if call.service in SERVED_WHOLE:
            raise unsupported(call.service, call.name)
        reply = await self.moto.forward(call, raw_target=raw_target, body=body, headers=headers)
        overlays = OVERLAYS.get(key, ())
        if not overlays or reply.status >= 300:
            return reply
        result = decode(call.operation, reply)
        for overlay in overlays:
            result = await overlay(self.world, call, result)
        return encode(call.operation, result, call.request_id, content_type)

    async def health(self, _: web.Request) -> web.Response:
        """Ready once moto answers too."""
        try:
            await self.moto("sts", "GetCallerIdentity", "us-east-1")
        except AwsError as error:
            return web.json_response({"ready": False, "reason": error.message}, status=503)
        return web.json_response({"ready": True, "what": "a stand-in for AWS, not AWS"})

    async def calls(self, _: web.Request) -> web.Response:
        """How often each operation was called since the gateway started."""
        return web.json_response(dict(sorted(self.faults.calls.items())))

    async def get_faults(self, _: web.Request) -> web.Response:
        """What is still due."""
        return web.json_response(self.faults.due())

    async def order_faults(self, request: web.Request) -> web.Response:
        """Body: {"service": "eks", "operation": "CreateCluster", "fault": "throttle", "times": 2}."""
        try:
            order = json.loads(await request.read())
            self.faults.order(order["service"], order["operation"], Fault(order["fault"]), int(order.get("times", 1)))
        except (ValueError, KeyError, TypeError) as error:
            shape = "service, operation, fault (throttle, error, lost-reply), times"
            return web.json_response({"error": f"an order of faults needs {shape}: {error!r}"}, status=400)
        return web.json_response(self.faults.due())

    async def clear_faults(self, _: web.Request) -> web.Response:
        """Forget what is due."""
        self.faults.clear()
        return web.json_response({})


def _response(reply: Reply) -> web.Response:
    skip = ("content-length", "transfer-encoding", "connection")
    headers = {k: v for k, v in reply.headers.items() if k.lower() not in skip}
    return web.Response(status=reply.status, headers=headers, body=reply.body)


def application(directory: Path, moto_url: str) -> web.Application:
    """The gateway of the sandbox in `directory`."""
    app = web.Application(client_max_size=_MAX_BODY)
    moto = MotoClient(moto_url)
    store = Store(directory / "aws" / "store.sqlite")
    gateway = Gateway(World(store=store, moto=moto, sandbox_dir=directory), moto)

    async def running(_: web.Application) -> object:
        async with moto:
            yield
        store.close()

    app.cleanup_ctx.append(running)  # type: ignore[arg-type]  # aiohttp wants AsyncIterator[None]; the yield makes it one
    app.router.add_get("/_sandbox/health", gateway.health)
    app.router.add_get("/_sandbox/calls", gateway.calls)
    app.router.add_get("/_sandbox/faults", gateway.get_faults)
    app.router.add_post("/_sandbox/faults", gateway.order_faults)
    app.router.add_delete("/_sandbox/faults", gateway.clear_faults)
    app.router.add_route("*", "/{tail:.*}", gateway.serve)
    return app
