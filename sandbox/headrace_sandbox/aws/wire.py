"""Requests and responses of the AWS protocols, read and written with the service models (moto's own codecs).

No I/O here: bytes and headers in, a `Call` out; a result or an `AwsError` in, bytes and headers out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast
from urllib.parse import unquote

from botocore import parsers as botocore_parsers
from botocore import serialize as botocore_serialize
from botocore.model import Shape
from moto.core.model import OperationModel
from moto.core.parse import PROTOCOL_PARSERS, RequestParserError
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import SerializationContext, get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.exceptions import NotFound

from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.identity import uuid

Doc = dict[str, Any]

# Signing names that differ from botocore's service name (the `signingName` or `endpointPrefix` of its model).
_SIGNING_NAMES = {
    "monitoring": "cloudwatch",
    "servicequotas": "service-quotas",
    "tagging": "resourcegroupstaggingapi",
    "elasticloadbalancing": "elbv2",
    "aps": "amp",
    "elasticfilesystem": "efs",
    "states": "stepfunctions",
}
_SCOPE = re.compile(r"Credential=([^/,\s]+)/(\d{8})/([a-z0-9-]*)/([A-Za-z0-9-]+)/aws4_request")
_READS = re.compile(
    r"^(Describe|List|Get|Head|Lookup|Search|Batch(Get|Check|Describe)|Check|Query|Scan|Filter|View|Simulate|Decode|Estimate|Test|Validate)"
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One parsed API call."""

    service: str
    operation: OperationModel
    region: str
    access_key: str
    params: Doc
    request: Request
    request_id: str = field(default_factory=uuid)

    @property
    def name(self) -> str:
        """The operation's name, `CreateCluster`."""
        return str(self.operation.name)

    @property
    def mutates(self) -> bool:
        """Whether the call may change state; judged by AWS's naming of operations."""
        return not _READS.match(self.name)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The credential scope of a signed request."""

    access_key: str
    region: str
    signing_name: str

    @property
    def service(self) -> str:
        """botocore's name of the service."""
        return _SIGNING_NAMES.get(self.signing_name, self.signing_name)


def scope_of(headers: Mapping[str, str], query: Mapping[str, str]) -> Scope:
    """Who calls which service where, from the SigV4 header or the query string of a presigned URL. Signatures are not
    verified: the stand-in knows no secret of a test credential."""
    text = headers.get("Authorization") or f"Credential={unquote(query.get('X-Amz-Credential', ''))}"
    match = _SCOPE.search(text)
    if match is None:
        raise AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", status=403)
    return Scope(access_key=match[1], region=match[3] or "us-east-1", signing_name=match[4])


@cache
def operation_model(service: str, operation: str) -> OperationModel:
    """The model of one operation."""
    model: OperationModel = get_service_model(service).operation_model(operation)
    return model


def parse(*, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Call:
    """Read one HTTP request. Raises `AwsError` for one that names no known service or operation, or can't be read."""
    request = Request.from_primitives(method, url, headers, body)
    scope = scope_of(headers, request.args)
    try:
        operation, url_params = get_service_router(scope.service).match(request)
    except (NotFound, NotImplementedError) as error:
        raise AwsError(
            "UnknownOperationException",
            f"{scope.service} has no operation for {method} {request.path} {request.headers.get('X-Amz-Target', '')}"
            f"{request.values.get('Action', '')}".rstrip(),
            status=404,
        ) from error
    protocol = determine_request_protocol(operation.service_model, request.content_type)
    try:
        params = PROTOCOL_PARSERS[protocol](operation).parse(
            {
                "method": request.method,
                "values": request.values,
                "headers": request.headers,
                "body": request.data,
                "url_path": request.path,
                "url_params": url_params,
            }
        )
    except (RequestParserError, ValueError, TypeError, AttributeError) as error:
        code = "MalformedXML" if protocol == "rest-xml" else "SerializationException"
        raise AwsError(code, f"The request could not be read as {operation.name}: {error}", status=400) from error
    return Call(
        service=scope.service,
        operation=operation,
        region=scope.region,
        access_key=scope.access_key,
        params=params,
        request=request,
    )


def encode(operation: OperationModel, result: Doc | AwsError, request_id: str, content_type: str = "") -> Reply:
    """Write a result or an error in the protocol of the operation."""
    service = operation.service_model
    protocol = determine_request_protocol(service, content_type)
    serializer = get_serializer_class(str(service.service_name), protocol)
    response = serializer(operation, SerializationContext(request_id)).serialize(result)
    status = int(response["status_code"])
    if isinstance(result, AwsError) and result.status is not None:
        status = result.status
    body = response["body"]
    return Reply(
        status=status,
        headers={**response["headers"], "x-amzn-RequestId": request_id, "x-amz-request-id": request_id},
        body=body.encode() if isinstance(body, str) else body,
    )


def encode_plain(error: AwsError, request_id: str) -> Reply:
    """An error before any operation is known, in the shape every SDK can read."""
    body = (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{error.code}</Code><Message>{_escape(error.message)}</Message>"
        f"</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    headers = {"Content-Type": "text/xml", "x-amzn-ErrorType": error.code, "x-amzn-RequestId": request_id}
    return Reply(status=error.status or 400, headers=headers, body=body.encode())


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@cache
def _serializer(protocol: str) -> Any:
    return botocore_serialize.create_serializer(protocol, include_validation=False)


def compose(operation: OperationModel, params: Doc) -> Doc:
    """The HTTP request (`method`, `url_path`, `query_string`, `headers`, `body`) of a call of our own to moto."""
    request: Doc = _serializer(str(operation.service_model.protocol)).serialize_to_request(params, operation)
    return request


def decode(operation: OperationModel, reply: Reply) -> Doc:
    """Read a response of moto. Raises `AwsError` for an error response."""
    parser = botocore_parsers.create_parser(str(operation.service_model.protocol))
    raw = {"status_code": reply.status, "headers": _Headers(reply.headers), "body": reply.body, "context": {}}
    parsed: Doc = parser.parse(raw, cast("Shape", operation.output_shape))  # None is fine: an output without members
    if reply.status >= 300:
        error = parsed.get("Error", {})
        raise AwsError(error.get("Code", "InternalFailure"), error.get("Message", ""), status=reply.status)
    parsed.pop("ResponseMetadata", None)
    return parsed


class _Headers(dict[str, str]):
    """Headers that botocore's parsers look up in lower case."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__({name.lower(): value for name, value in headers.items()})

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key.lower(), default)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and super().__contains__(key.lower())

    def __getitem__(self, key: str) -> str:
        return super().__getitem__(key.lower())
