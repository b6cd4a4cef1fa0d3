"""The stand-in's HTTP application: REST API v2 under /v2, the job plane under /jobs/v2, its own controls under
/_sandbox."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from headrace_sandbox.runpod import jobs, rules
from headrace_sandbox.runpod.faults import Fault, Faults, Order
from headrace_sandbox.runpod.rules import Json, Problem
from headrace_sandbox.runpod.schema import Schemas

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Kind:
    """A collection: its key in lists, the operations of the vendor's schema, and its rules."""

    key: str
    operation: str
    make: Callable[[Json], Json]
    change: Callable[[Json, Json], Json] | None


KINDS: Final = {
    "serverless": Kind("endpoints", "Endpoint", lambda body: body, rules.changed_endpoint),
    "templates": Kind("templates", "Template", rules.template, rules.changed_template),
    "network-volumes": Kind("networkVolumes", "NetworkVolume", rules.volume, rules.changed_volume),
    "registries": Kind("registries", "Registry", lambda body: body, None),
}
_HIDDEN: Final = ("username", "password")


class StandIn:
    """One account, in memory and, if told where, in a file that only its owner can read."""

    def __init__(self, *, api_key: str, schemas: Schemas | None, file: Path | None = None) -> None:
        self.api_key = api_key
        self.schemas = schemas
        self.faults = Faults()
        self.jobs = jobs.Jobs()
        self._file = file
        self.objects: dict[str, dict[str, Json]] = {name: {} for name in KINDS}
        if file is not None and file.is_file():
            self.objects |= json.loads(file.read_text(encoding="utf-8"))

    def save(self) -> None:
        """Write what exists, so that a restarted stand-in still has it."""
        if self._file is None:
            return
        partial = self._file.with_suffix(".partial")
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as handle:
            json.dump(self.objects, handle)
        partial.replace(self._file)

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/_sandbox/health", self._health)
        app.router.add_get("/_sandbox/calls", self._calls)
        app.router.add_delete("/_sandbox/calls", self._forget_calls)
        app.router.add_post("/_sandbox/faults", self._order_fault)
        app.router.add_delete("/_sandbox/faults", self._forget_faults)
        app.router.add_patch("/_sandbox/objects/{kind}/{id}", self._drift)
        app.router.add_get("/v2/serverless/{id}/workers", self._workers)
        for kind in KINDS:
            app.router.add_get(f"/v2/{kind}", self._list)
            app.router.add_post(f"/v2/{kind}", self._create)
            app.router.add_get(f"/v2/{kind}/{{id}}", self._get)
            app.router.add_patch(f"/v2/{kind}/{{id}}", self._patch)
            app.router.add_delete(f"/v2/{kind}/{{id}}", self._delete)
        jobs.add_routes(app, self.jobs, self._endpoint)
        return app

    # -- what happens around every request

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/_sandbox/"):
            return await handler(request)
        resource = request.match_info.route.resource
        order = self.faults.take(request.method, request.path, resource.canonical if resource else request.path)
        try:
            self._admit(request, order)
            answer = await handler(request)
        except Problem as problem:
            return _problem(problem, order)
        except web.HTTPException as error:
            return _problem(Problem(error.status, error.reason, "no such path or method"), None)
        return await _spoiled(request, answer, order)

    def _admit(self, request: web.Request, order: Order | None) -> None:
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            raise Problem(401, "Unauthorized", "missing or invalid bearer token")
        if order is not None and order.fault is Fault.THROTTLE:
            raise Problem(429, "Too Many Requests", "rate limit exceeded for the minute window")
        if order is not None and order.fault is Fault.ERROR:
            raise Problem(500, "Internal Server Error", "ordered by a test")

    # -- the API

    async def _list(self, request: web.Request) -> web.Response:
        kind = _kind(request)
        return web.json_response({KINDS[kind].key: [_shown(one) for one in self.objects[kind].values()]})

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(_shown(self._found(request)))

    async def _create(self, request: web.Request) -> web.Response:
        kind = _kind(request)
        body = await self._body(request, f"create{KINDS[kind].operation}")
        made = self._new_endpoint(body) if kind == "serverless" else KINDS[kind].make(body)
        made = {"id": secrets.token_hex(7), **made}
        self._check_answer(kind, made)
        self.objects[kind][made["id"]] = made
        self.save()
        return web.json_response(_shown(made), status=201)

    def _new_endpoint(self, body: Json) -> Json:
        template = None
        if "templateId" in body:
            template = self.objects["templates"].get(body["templateId"])
            if template is None:
                raise Problem(404, "Not Found", "template not found")
        missing = [one for one in body.get("networkVolumes", []) if one not in self.objects["network-volumes"]]
        if missing:
            raise Problem(404, "Not Found", f"network volume {missing[0]} not found")
        if body.get("registry") and body["registry"] not in self.objects["registries"]:
            raise Problem(404, "Not Found", "registry credential not found")
        made = rules.endpoint(body, template)
        return {**made, "createdAt": datetime.now(UTC).isoformat(), "_version": 1}

    async def _patch(self, request: web.Request) -> web.Response:
        kind, old = _kind(request), self._found(request)
        change = KINDS[kind].change
        if change is None:
            raise Problem(405, "Method Not Allowed", "registry credentials can't be changed")
        patch = await self._body(request, f"update{KINDS[kind].operation}")
        made = change(old, patch)
        if "_version" in made:
            made["_version"] = old["_version"] + 1
        self._check_answer(kind, made)
        self.objects[kind][old["id"]] = made
        self.save()
        return web.json_response(_shown(made))

    async def _delete(self, request: web.Request) -> web.Response:
        kind, found = _kind(request), self._found(request)
        users = [
            one["name"]
            for one in self.objects["serverless"].values()
            if found["id"] in one["networkVolumes"] or one.get("registry") == found["id"]
        ]
        if users and kind in ("network-volumes", "registries"):
            raise Problem(409, "Conflict", f"it is in use by {', '.join(users)}")
        del self.objects[kind][found["id"]]
        self.save()
        return web.Response(status=204)

    async def _workers(self, request: web.Request) -> web.Response:
        return web.json_response(self.jobs.workers(self._endpoint(request.match_info["id"])))

    def _endpoint(self, id: str) -> Json:
        found = self.objects["serverless"].get(id)
        if found is None:
            raise Problem(404, "Not Found", "endpoint not found")
        return found

    def _found(self, request: web.Request) -> Json:
        found = self.objects[_kind(request)].get(request.match_info["id"])
        if found is None:
            raise Problem(404, "Not Found", "resource not found")
        return found

    async def _body(self, request: web.Request, operation: str) -> Json:
        try:
            body = await request.json()
        except ValueError as error:
            raise Problem(400, "Bad Request", "the body is not JSON") from error
        if not isinstance(body, dict):
            raise Problem(422, "Unprocessable Entity", "the body is not an object")
        errors = self.schemas.request_errors(operation, body) if self.schemas is not None else []
        if errors:
            raise rules.unprocessable("Request validation failed.", *errors)
        return body

    def _check_answer(self, kind: str, made: Json) -> None:
        """Our own answers must be what the vendor would send; if not, the stand-in is wrong and says so."""
        if self.schemas is None:
            return
        errors = self.schemas.response_errors(f"create{KINDS[kind].operation}", _shown(made))
        if errors:
            raise Problem(500, "Stand-in is wrong", "its own answer does not fit the vendor's schema", tuple(errors))

    # -- controls for tests

    async def _health(self, _request: web.Request) -> web.Response:
        version = self.schemas.version if self.schemas is not None else "not available"
        return web.json_response({"ready": True, "standIn": "RunPod REST v2", "schema": version})

    async def _calls(self, _request: web.Request) -> web.Response:
        return web.json_response(dict(self.faults.calls))

    async def _forget_calls(self, _request: web.Request) -> web.Response:
        self.faults.calls.clear()
        return web.Response(status=204)

    async def _order_fault(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.faults.orders.append(
            Order(
                fault=Fault(asked["fault"]),
                method=asked.get("method", "*"),
                prefix=asked.get("path", "/v2/"),
                times=int(asked.get("times", 1)),
                seconds=float(asked.get("seconds", 0.0)),
            )
        )
        return web.Response(status=204)

    async def _forget_faults(self, _request: web.Request) -> web.Response:
        self.faults.orders.clear()
        return web.Response(status=204)

    async def _drift(self, request: web.Request) -> web.Response:
        """Somebody in the vendor's console."""
        kind, id = request.match_info["kind"], request.match_info["id"]
        found = self.objects.get(kind, {}).get(id)
        if found is None:
            raise web.HTTPNotFound
        _merge(found, await request.json())
        self.save()
        return web.json_response(_shown(found))


def _kind(request: web.Request) -> str:
    return request.path.split("/")[2]


def _shown(found: Json) -> Json:
    return {key: copy.deepcopy(one) for key, one in found.items() if key not in _HIDDEN and not key.startswith("_")}


def _merge(into: Json, patch: Json) -> None:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict) and key != "env":
            _merge(into[key], value)
        else:
            into[key] = value


def _problem(problem: Problem, order: Order | None) -> web.Response:
    body: dict[str, Any] = {"title": problem.title, "status": problem.status, "detail": problem.detail}
    if problem.errors:
        body["errors"] = list(problem.errors)
    headers = {"Retry-After": f"{order.seconds:g}"} if problem.status == 429 and order is not None else {}
    return web.json_response(body, status=problem.status, headers=headers, content_type="application/problem+json")


async def _spoiled(request: web.Request, answer: web.StreamResponse, order: Order | None) -> web.StreamResponse:
    """The answer, with the fault that was ordered for it."""
    if order is None:
        return answer
    if order.fault is Fault.LOST_REPLY and request.transport is not None:
        request.transport.close()
    if order.fault is Fault.SLOW:
        await asyncio.sleep(order.seconds)
    if order.fault is Fault.MALFORMED:
        return web.Response(text="<html>upstream hiccup</html>", status=answer.status, content_type="text/html")
    return answer
