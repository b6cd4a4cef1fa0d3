"""Access to AWS for one operation on one resource: clients, errors as sentences, waiting."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import botocore.config
import botocore.session
from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from botocore.model import OperationModel, ServiceModel, StructureShape

from headrace_sandbox.aws_provider.query import search
from headrace_sandbox.plugin.provider import ProviderError

T = TypeVar("T")
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the provider was configured with. Credentials go to botocore and nowhere else."""

    region: str = ""
    default_tags: Mapping[str, str] = field(default_factory=dict)
    ignored_tags: frozenset[str] = frozenset()
    ignored_prefixes: tuple[str, ...] = ()
    profile: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    max_retries: int = 25
    allowed_accounts: tuple[str, ...] = ()
    forbidden_accounts: tuple[str, ...] = ()


class Aws:
    """The clients of one configured provider, made on first use and shared by all threads."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._session = botocore.session.Session(profile=config.profile)
        if config.access_key and config.secret_key:
            self._session.set_credentials(config.access_key, config.secret_key, config.session_token)
        self._clients: dict[tuple[str, str], Any] = {}
        self._models: dict[str, ServiceModel] = {}
        self._lock = threading.RLock()  # botocore's session isn't safe for threads; its clients are
        self._identity: dict[str, str] | None = None

    @property
    def region(self) -> str:
        """The provider's region: configured, or from the environment."""
        # botocore reads AWS_DEFAULT_REGION and profiles, but not AWS_REGION, which every other SDK does.
        from_environment = os.environ.get("AWS_REGION") or self._session.get_config_variable("region")
        region = self.config.region or from_environment
        if not region:
            raise ProviderError('missing region: set "aws:region" in the stack configuration, or AWS_REGION')
        return str(region)

    def client(self, service: str, region: str) -> Any:
        """A client; its endpoint comes from the environment alone."""
        key = (service, region)
        client = self._clients.get(key)
        if client is None:
            with self._lock:
                client = self._clients.get(key)
                if client is None:
                    client = self._clients[key] = self._session.create_client(
                        service,
                        region_name=region,
                        config=botocore.config.Config(
                            retries={"mode": "standard", "max_attempts": self.config.max_retries},
                            connect_timeout=5,
                            read_timeout=120,
                            max_pool_connections=64,
                        ),
                    )
        return client

    def model(self, service: str) -> ServiceModel:
        """The service's model, without a client (checks need no credentials)."""
        model = self._models.get(service)
        if model is None:
            with self._lock:
                model = self._models.setdefault(service, self._session.get_service_model(service))
        return model

    def operation(self, service: str, op: str) -> OperationModel:
        """One operation of the service's model."""
        with self._lock:
            return self.model(service).operation_model(op)

    def input_shape(self, service: str, op: str) -> StructureShape:
        """The parameters of an operation."""
        with self._lock:
            shape = self.operation(service, op).input_shape
        return shape if shape is not None else StructureShape(op, {"type": "structure", "members": {}})

    def identity(self) -> dict[str, str]:
        """Account, ARN and user id of the caller, asked once."""
        if self._identity is None:
            answer = self.client("sts", self.region).get_caller_identity()
            self._identity = {"account": answer["Account"], "arn": answer["Arn"], "user_id": answer["UserId"]}
        return self._identity

    def guard_account(self) -> None:
        """Refuses to work in an account that the provider's configuration rules out."""
        allowed, forbidden = self.config.allowed_accounts, self.config.forbidden_accounts
        if not allowed and not forbidden:
            return
        account = self.identity()["account"]
        if account in forbidden or (allowed and account not in allowed):
            raise ProviderError(f"AWS account ID not allowed: {account}")


def code_of(error: BaseException) -> str:
    """AWS's error code, or ""."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def matches(error: BaseException, codes: tuple[str, ...]) -> bool:
    """Whether an error is one of `codes`: `Code`, `Code*` for any rest, `Code~words` where the message must hold the
    words."""
    code = code_of(error)
    return bool(code) and any(_match(code, str(error), wanted) for wanted in codes)


def _match(code: str, message: str, wanted: str) -> bool:
    name, _, words = wanted.partition("~")
    hit = code.startswith(name[:-1]) if name.endswith("*") else code == name
    return hit and words in message


class Context:
    """One operation on one resource. `call` raises botocore's `ClientError`; `explain` turns what escapes into text."""

    def __init__(
        self,
        aws: Aws,
        *,
        region: str,
        service: str,
        cancelled: threading.Event,
        timeout_s: float | None,
        seed: str = "",
    ) -> None:
        self.aws = aws
        self.region = region
        self.service = service
        self.seed = seed
        self.timeout_s = timeout_s
        self._cancelled = cancelled

    @property
    def account(self) -> str:
        """The caller's account id."""
        return self.aws.identity()["account"]

    @property
    def partition(self) -> str:
        """`aws`, `aws-cn` or `aws-us-gov`."""
        if self.region.startswith("cn-"):
            return "aws-cn"
        return "aws-us-gov" if self.region.startswith("us-gov-") else "aws"

    def call(self, op: str, params: Mapping[str, Any] | None = None, *, service: str = "") -> dict[str, Any]:
        """One API call, its parameters validated by botocore before they leave."""
        client = self.aws.client(service or self.service, self.region)
        result: dict[str, Any] = getattr(client, xform_name(op))(**(params or {}))
        result.pop("ResponseMetadata", None)
        return result

    def pages(self, op: str, params: Mapping[str, Any], at: str, *, service: str = "") -> Iterator[Any]:
        """Every item under the JMESPath `at`, over all pages."""
        client = self.aws.client(service or self.service, self.region)
        name = xform_name(op)
        answers = (
            client.get_paginator(name).paginate(**params)
            if client.can_paginate(name)
            else iter([getattr(client, name)(**params)])
        )
        for answer in answers:
            yield from search(at, answer) or []

    def poll(self, look: Callable[[], T | None], *, timeout_s: float, what: str) -> T:
        """The first result of `look` that isn't None. Raises TimeoutError, or InterruptedError when told to stop."""
        end = time.monotonic() + (self.timeout_s or timeout_s)
        pause = _FIRST_PAUSE_S
        while True:
            found = look()
            if found is not None:
                return found
            if time.monotonic() + pause > end:
                raise TimeoutError(f"{what} after {self.timeout_s or timeout_s:g} s")
            if self._cancelled.wait(pause):
                raise InterruptedError(f"stopped while waiting: {what}")
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)

    def retry(self, attempt: Callable[[], T], codes: tuple[str, ...], *, timeout_s: float) -> T:
        """`attempt`, again while it fails with one of `codes`; at the end of patience, its last error."""
        last: list[ClientError] = []

        def look() -> tuple[T] | None:
            try:
                return (attempt(),)
            except ClientError as error:
                if not matches(error, codes):
                    raise
                last.append(error)
                return None

        try:
            return self.poll(look, timeout_s=timeout_s, what="AWS still refuses")[0]
        except (TimeoutError, InterruptedError):
            raise last[-1] from None


def explain(error: BaseException, doing: str) -> str:
    """One sentence for a person: what was tried, and AWS's code and words."""
    if isinstance(error, ClientError):
        told = error.response.get("Error", {})
        return f"{doing}: operation {error.operation_name}: {told.get('Code', '?')}: {told.get('Message', '')}".rstrip(
            ": "
        )
    if isinstance(error, ParamValidationError):
        return f"{doing}: {' '.join(str(error).split())}"
    if isinstance(error, BotoCoreError):
        return f"{doing}: {error}"
    return f"{doing}: {error}"
