"""The provider as the engine sees it: records in, the table's work done, state out."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from headrace.protocol.values import Props, Secret, has_unknown, reveal
from headrace_sandbox.aws_provider import checking, compare, lifecycle, recorded
from headrace_sandbox.aws_provider.context import Aws, Config, Context, explain
from headrace_sandbox.aws_provider.invokes import FUNCTIONS
from headrace_sandbox.aws_provider.preview import planned_create, planned_update
from headrace_sandbox.aws_provider.sdk import Declaration, declaration, sdk_version
from headrace_sandbox.aws_provider.spec import ResourceType, State
from headrace_sandbox.aws_provider.table import TYPES
from headrace_sandbox.aws_provider.table.parts import words
from headrace_sandbox.aws_provider.tagging import all_tags
from headrace_sandbox.plugin import provider as api
from headrace_sandbox.plugin.differ import Change, Kind

T = TypeVar("T")
_ORPHANED_WAIT_S = 60.0


class AwsProvider(api.Provider):
    """The stand-in for `pulumi-resource-aws`."""

    name = "aws"

    def __init__(self) -> None:
        super().__init__()
        self.version = sdk_version()
        self._config = Config()
        self._parent = os.getppid()
        self._creating = 0
        self._created: list[tuple[str, ResourceType, State, str]] = []  # URN, type, state, region
        self._counting = threading.Lock()

    @cached_property
    def _aws(self) -> Aws:
        return Aws(self._config)

    # -- configuration -----------------------------------------------------------------------------------------------

    def check_config(self, request: api.CheckRequest) -> api.CheckResult:
        unknown = sorted(request.inputs.keys() - _CONFIG_KEYS)
        failures = tuple(
            api.Failure(path=name, reason=f'could not validate provider configuration: "{name}" is no option of it')
            for name in unknown
        )
        inputs = {
            k: Secret(v) if k in _CREDENTIALS and not isinstance(v, Secret) else v for k, v in request.inputs.items()
        }
        return api.CheckResult(inputs=inputs, failures=failures)

    def diff_config(self, request: api.DiffRequest) -> api.DiffResult:
        old, new = reveal(request.old_inputs), reveal(request.inputs)
        changed = {name for name in {*old, *new} if name != "version" and old.get(name) != new.get(name)}
        # Another region means other resources; everything else only says how to reach the same ones.
        return api.DiffResult(changes={(n,): Change(kind=Kind.UPDATE, replace=n == "region") for n in sorted(changed)})

    def configure(self, config: Props) -> None:
        self._config = config_from(reveal(config))
        self.__dict__.pop("_aws", None)

    def cancel(self) -> None:
        super().cancel()
        # The engine was killed: what is being created is undone rather than left without an owner.
        if os.getppid() != self._parent:
            end = time.monotonic() + _ORPHANED_WAIT_S
            while self._creating and time.monotonic() < end:
                time.sleep(0.05)
            self._undo_unrecorded()

    # -- resources ---------------------------------------------------------------------------------------------------

    def check(self, request: api.CheckRequest) -> api.CheckResult:
        return checking.check(self._aws, _spec(request.type), request)

    def diff(self, request: api.DiffRequest) -> api.DiffResult:
        spec, decl = _spec(request.type), declaration(request.type)
        found = compare.changes(
            spec,
            decl,
            reveal(request.old_inputs),
            reveal(request.old_state),
            self._wishes(spec, reveal(request.inputs)),
        )
        # A resource whose name the program fixes can't stand beside its successor.
        named = spec.name is not None and spec.name.property in request.inputs and (spec.name.property,) not in found
        fixed = named and not _autonamed(spec, reveal(request.inputs), request.name)
        return api.DiffResult(changes=found, delete_before_replace=spec.delete_before_replace or fixed)

    def create(self, request: api.CreateRequest) -> api.CreateResult:
        spec, decl = _spec(request.type), declaration(request.type)
        inputs = self._wishes(spec, reveal(request.inputs))
        if request.preview:
            return api.CreateResult(
                id="", state=_guarded(decl, planned_create(spec, decl, inputs, self._region(inputs)))
            )
        ctx = self._context(spec, inputs, request.urn, request.timeout_s)
        with self._counting:
            self._creating += 1
        try:
            state = self._attempt(
                f"creating {_label(request)}", lambda: lifecycle.create(ctx, spec, decl, inputs), decl
            )
            self._undo_if_orphaned(spec, state, ctx.region)
        except api.InitFailed as partial:
            self._undo_if_orphaned(spec, {**reveal(partial.state), "id": partial.id}, ctx.region)
            raise
        finally:
            with self._counting:
                self._creating -= 1
        self._created.append((request.urn, spec, state, ctx.region))
        # As the official plugin, the id stays among the outputs: a stack policy finds a resource by it.
        return api.CreateResult(id=str(state["id"]), state=_guarded(decl, state))

    def read(self, request: api.ReadRequest) -> api.ReadResult | None:
        spec, decl = _spec(request.type), declaration(request.type)
        identity, region = _region_of_import(request.id) if request.is_import else (request.id, "")
        known: State = {**reveal(request.state), "id": identity}
        if region:
            known["region"] = region
        ctx = self._context(spec, known, request.urn, request.timeout_s)
        state = self._attempt(f"reading {_label(request)}", lambda: lifecycle.read(ctx, spec, decl, known), decl)
        if state is None:
            return None
        found_id = str(state["id"])
        old_inputs = reveal(request.inputs)
        if request.is_import:
            # What only steers the provider isn't in AWS; the program that says nothing of it means the default.
            state = {**{n: v for n, v in spec.defaults.items() if n in spec.local}, **state}
            inputs = compare.imported_inputs(spec, decl, state)
            if inputs.get("region") == self._aws.region:
                del inputs["region"]
        else:
            inputs = compare.refreshed_inputs(spec, decl, old_inputs, state)
        if spec.tags is not None and ("tags" in old_inputs or state.get("tags")):
            inputs["tags"] = state.get("tags", {})
        return api.ReadResult(id=found_id, inputs=_guarded(decl, inputs), state=_guarded(decl, state))

    def update(self, request: api.UpdateRequest) -> Props:
        spec, decl = _spec(request.type), declaration(request.type)
        inputs = self._wishes(spec, reveal(request.inputs))
        old: State = {**reveal(request.old_state), "id": request.id}
        found = compare.changes(spec, decl, reveal(request.old_inputs), old, inputs)
        changed = frozenset(str(path[0]) for path in found)
        if request.preview:
            return _guarded(decl, planned_update(spec, decl, old, inputs, changed))
        ctx = self._context(spec, {"region": old.get("region"), **inputs}, request.urn, request.timeout_s)
        state = self._attempt(
            f"updating {_label(request)}", lambda: lifecycle.update(ctx, spec, decl, old, inputs, changed), decl
        )
        return _guarded(decl, state)

    def delete(self, request: api.DeleteRequest) -> None:
        spec, decl = _spec(request.type), declaration(request.type)
        state: State = {**reveal(request.inputs), **reveal(request.state), "id": request.id}
        ctx = self._context(spec, state, request.urn, request.timeout_s)
        self._attempt(f"deleting {_label(request)}", lambda: lifecycle.delete(ctx, spec, state), decl)

    def invoke(self, request: api.InvokeRequest) -> api.InvokeResult:
        function = FUNCTIONS.get(request.token)
        if function is None:
            raise api.ProviderError(f"{request.token}: the sandbox's AWS provider has no such function")
        args = reveal(request.args)
        if has_unknown(args):
            return api.InvokeResult()
        ctx = Context(
            self._aws,
            region=str(args.get("region") or self._aws.region),
            service=function.service,
            cancelled=self.cancelled,
            timeout_s=None,
        )
        result = self._attempt(f"invoking {request.token}", lambda: function.run(ctx, args), None)
        return api.InvokeResult(result=result)

    # -- shared ------------------------------------------------------------------------------------------------------

    def _wishes(self, spec: ResourceType, inputs: State) -> State:
        """Inputs with the tags that result from the provider's defaults."""
        return {**inputs, "tagsAll": all_tags(self._config.default_tags, inputs.get("tags"))} if spec.tags else inputs

    def _region(self, state: Mapping[str, Any]) -> str:
        region = state.get("region")
        return region if isinstance(region, str) and region else self._aws.region

    def _context(self, spec: ResourceType, state: Mapping[str, Any], urn: str, timeout_s: float | None) -> Context:
        self._aws.guard_account()
        return Context(
            self._aws,
            region=spec.home or self._region(state),
            service=spec.service,
            cancelled=self.cancelled,
            timeout_s=timeout_s,
            seed=urn,
        )

    def _undo_if_orphaned(self, spec: ResourceType, state: State, region: str) -> None:
        """Nobody is left to record what was created: take it away again."""
        if os.getppid() != self._parent:
            self._undo(spec, state, region)

    def _undo_unrecorded(self) -> None:
        """The engine was told of these, but died before it had written them into its state."""
        for urn, spec, state, region in reversed(self._created):
            if recorded.is_recorded(urn, str(state["id"])) is False:
                self._undo(spec, state, region)

    def _undo(self, spec: ResourceType, state: State, region: str) -> None:
        # Everything else was told to stop; this must still run to its end.
        ctx = Context(
            self._aws,
            region=region,
            service=spec.service,
            cancelled=threading.Event(),
            timeout_s=_ORPHANED_WAIT_S,
        )
        try:
            lifecycle.delete(ctx, spec, state)
        except (ClientError, BotoCoreError, TimeoutError, api.ProviderError) as error:
            self.log(explain(error, f"undoing {state['id']}"), severity=api.Severity.ERROR)

    def _attempt(self, doing: str, work: Callable[[], T], decl: Declaration | None) -> T:
        """`work`, with everything that AWS can answer turned into a sentence."""
        try:
            return work()
        except lifecycle.NotReady as partial:
            state = dict(partial.state)
            identity = str(state.get("id", ""))
            cause = partial.__cause__ or partial
            known = {k: v for k, v in state.items() if decl is None or k == "id" or k in decl.outputs}
            raise api.InitFailed(id=identity, state=_guarded(decl, known), reasons=(explain(cause, doing),)) from None
        except (ClientError, BotoCoreError, TimeoutError, InterruptedError) as error:
            raise api.ProviderError(explain(error, doing)) from None


_CREDENTIALS = frozenset({"accessKey", "secretKey", "token"})
_CONFIG_KEYS = _CREDENTIALS | words(
    "allowedAccountIds assumeRoles assumeRoleWithWebIdentity customCaBundle defaultTags ec2MetadataServiceEndpoint"
    " ec2MetadataServiceEndpointMode endpoints forbiddenAccountIds httpProxy httpsProxy ignoreTags insecure maxRetries"
    " noProxy profile region retryMode s3UsEast1RegionalEndpoint s3UsePathStyle sharedConfigFiles"
    " sharedCredentialsFiles skipCredentialsValidation skipMetadataApiCheck skipRegionValidation"
    " skipRequestingAccountId stsRegion tagPolicyCompliance tokenBucketRateLimiterCapacity useDualstackEndpoint"
    " useFipsEndpoint userAgents version pluginDownloadUrl"
)


def config_from(config: Mapping[str, Any]) -> Config:
    """The engine's form of the configuration (nested values are JSON text) as ours."""
    plain = {k: _parsed(v) for k, v in config.items()}
    tags = (plain.get("defaultTags") or {}).get("tags") or {}
    ignored = plain.get("ignoreTags") or {}
    return Config(
        region=str(plain.get("region") or ""),
        default_tags={str(k): str(v) for k, v in tags.items()},
        ignored_tags=frozenset(ignored.get("keys") or ()),
        ignored_prefixes=tuple(ignored.get("keyPrefixes") or ()),
        profile=plain.get("profile") or None,
        access_key=plain.get("accessKey") or None,
        secret_key=plain.get("secretKey") or None,
        session_token=plain.get("token") or None,
        max_retries=int(plain.get("maxRetries") or 25),
        allowed_accounts=tuple(str(a) for a in plain.get("allowedAccountIds") or ()),
        forbidden_accounts=tuple(str(a) for a in plain.get("forbiddenAccountIds") or ()),
    )


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _spec(token: str) -> ResourceType:
    spec = TYPES.get(token)
    if spec is None:
        reason = f"{token} is not supported by the sandbox's AWS provider; its page in docs/ lists the types"
        raise api.PropertyFailures(api.Failure(path="", reason=reason))
    return spec


def _label(request: api.Resource) -> str:
    return f"{request.type.split(':')[-1]} {request.name}"


def _guarded(decl: Declaration | None, state: State) -> State:
    """State with the properties that the SDK declares sensitive as secrets."""
    sensitive = decl.secrets if decl is not None else frozenset()
    return {k: Secret(v) if k in sensitive and not isinstance(v, Secret) else v for k, v in state.items()}


def _autonamed(spec: ResourceType, inputs: Mapping[str, Any], name: str) -> bool:
    """Whether the name looks like one that we made (then the successor gets another)."""
    rule = spec.name
    if rule is None:
        return False
    given = inputs.get(rule.property)
    if not isinstance(given, str):
        return True
    prefix = inputs.get(rule.prefix_property) if rule.prefix_property else None
    start = prefix if isinstance(prefix, str) else f"{rule.start}{name}{rule.separator}"
    start = start.lower() if rule.lower else start
    tail = given[len(start) :].split(".")[0]
    return given.startswith(start) and len(tail) == 7 and all(c in "0123456789abcdef" for c in tail)


def _region_of_import(identity: str) -> tuple[str, str]:
    """The official `id@region` form of an import id."""
    head, at, tail = identity.rpartition("@")
    return (head, tail) if at and tail.count("-") >= 2 and tail.replace("-", "").isalnum() else (identity, "")
