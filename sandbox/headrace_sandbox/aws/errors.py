"""The errors that the gateway answers with, and which code each service uses for a bad parameter."""

from __future__ import annotations

from collections.abc import Mapping

from moto.core.model import OperationModel


class AwsError(Exception):
    """An error as AWS sends it. `status` overrides the HTTP status of the service model's error shape."""

    def __init__(
        self, code: str, message: str, *, status: int | None = None, members: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        for name, value in (members or {}).items():
            setattr(self, name, value)


# In order of preference: the first one that the operation's own model declares is used.
_BAD_PARAMETER_CODES = (
    "ValidationException",
    "InvalidParameterException",
    "InvalidParameterValueException",
    "InvalidParameterValue",
    "InvalidInputException",
    "InvalidRequestException",
    "ParamValidationException",
)
# Services whose models declare no such error for an operation; the code each really sends (API references, 2026-11).
_SERVICE_CODES = {
    "s3": "InvalidArgument",
    "autoscaling": "ValidationError",
    "iam": "ValidationError",
    "sts": "ValidationError",
}
_PROTOCOL_CODES = {"ec2": "InvalidParameterValue", "query": "InvalidParameterValue"}


def bad_parameter(operation: OperationModel, message: str) -> AwsError:
    """The error that this operation's service sends for a parameter that breaks its model."""
    service = operation.service_model
    if code := _SERVICE_CODES.get(str(service.service_name)):
        return AwsError(code, message, status=400)
    declared = {shape.name for shape in operation.error_shapes}
    for code in _BAD_PARAMETER_CODES:
        if code in declared:
            return AwsError(code, message)
    return AwsError(_PROTOCOL_CODES.get(str(service.protocol), "ValidationException"), message, status=400)


def unknown_parameter(operation: OperationModel, name: str) -> AwsError:
    """A parameter that the operation's model doesn't know."""
    message = f"The parameter {name} is not recognized"
    if operation.service_model.protocol == "ec2":
        return AwsError("UnknownParameter", message, status=400)
    if operation.service_model.service_name == "s3":
        return AwsError("MalformedXML", f"The XML you provided was not well-formed: {message}", status=400)
    return bad_parameter(operation, message)


def unsupported(service: str, operation: str) -> AwsError:
    """What neither moto nor the recorded store serves: named, never an empty success."""
    return AwsError(
        "NotImplemented",
        f"The Headrace sandbox does not support {service} {operation}; run this against an AWS account, or see "
        "docs/sandbox-aws.md for what it supports",
        status=501,
    )
