"""How the gateway talks to the moto server: forwarded requests, and calls of its own."""

from __future__ import annotations

from urllib.parse import urlencode

import aiohttp
from yarl import URL

from headrace_sandbox.aws.errors import AwsError, unsupported
from headrace_sandbox.aws.wire import Call, Doc, Reply, compose, decode, operation_model

_OUTCOME = "X-Headrace-Outcome"
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "expect", "accept-encoding"}


class MotoClient:
    """One moto server. Open it with `async with`."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> MotoClient:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=32), auto_decompress=False, timeout=aiohttp.ClientTimeout(total=120)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def forward(self, call: Call, *, raw_target: str, body: bytes, headers: dict[str, str]) -> Reply:
        """Pass a request on as it came."""
        kept = {k: v for k, v in headers.items() if k.lower() not in _HOP_BY_HOP}
        return await self._send(
            call.service, call.name, call.region, call.request.method, raw_target, kept, body, mutates=call.mutates
        )

    async def __call__(self, service: str, operation: str, region: str, params: Doc | None = None) -> Doc:
        """Call an operation and read its output. Raises `AwsError` as moto answered it."""
        return await self._call(service, operation, region, params or {}, "headrace")

    async def as_caller(self, access_key: str) -> Doc:
        """moto's GetCallerIdentity for an access key."""
        return await self._call("sts", "GetCallerIdentity", "us-east-1", {}, access_key)

    async def _call(self, service: str, operation: str, region: str, params: Doc, access_key: str) -> Doc:
        model = operation_model(service, operation)
        request = compose(model, params)
        query = request.get("query_string") or {}
        target = str(request["url_path"]) + (
            ("&" if "?" in request["url_path"] else "?") + urlencode(query) if query else ""
        )
        body = request["body"]
        if isinstance(body, dict):
            body = urlencode(body)
        signing = str(model.service_model.signing_name)
        headers = {
            **request["headers"],
            "Authorization": f"AWS4-HMAC-SHA256 Credential={access_key}/20260101/{region}/{signing}/aws4_request, "
            "SignedHeaders=host, Signature=0",
        }
        mutates = not operation.startswith(("Describe", "List", "Get", "Head"))
        data = body.encode() if isinstance(body, str) else bytes(body)
        reply = await self._send(
            service, operation, region, str(request["method"]), target, headers, data, mutates=mutates
        )
        return decode(model, reply)

    async def _send(
        self,
        service: str,
        operation: str,
        region: str,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes,
        *,
        mutates: bool,
    ) -> Reply:
        if self._session is None:
            raise RuntimeError("the moto client is not open")
        headers = {**headers, "X-Headrace-Region": region, "X-Headrace-Service": service}
        if mutates:
            headers["X-Headrace-Journal"] = "1"
        url = URL(self._url + target, encoded=True)
        try:
            async with self._session.request(
                method, url, headers=headers, data=body, allow_redirects=False
            ) as response:
                reply = Reply(status=response.status, headers=dict(response.headers), body=await response.read())
        except aiohttp.ClientConnectionError as error:
            raise AwsError(
                "ServiceUnavailable", f"the sandbox's moto server doesn't answer: {error}", status=503
            ) from error
        outcome = reply.headers.get(_OUTCOME)
        if outcome == "unsupported":
            raise unsupported(service, operation)
        if outcome == "fault":
            text = reply.body.decode(errors="replace")
            raise AwsError("InternalFailure", f"moto broke on {service} {operation}: {text}", status=500)
        return reply
