"""The calls of Modal's service that deploying, reading and stopping a server takes. Everything else answers
UNIMPLEMENTED, with the call's name."""

from __future__ import annotations

import hashlib
import inspect
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2
from modal_proto.api_grpc import ModalClientBase

Stream = Any
"""`grpclib.server.Stream`, whose type parameters differ per call."""
# Calls that change something; get-or-create calls count only where they made something.
WRITES: Final = frozenset(
    {
        "AppPublish",
        "AppStop",
        "AppCreate",
        "FunctionCreate",
        "FunctionUpdateSchedulingParams",
        "SecretUpdate",
        "SecretDelete",
        "VolumeDelete",
        "AppSetTags",
        "create:st",
        "create:vo",
    }
)
_IDLE_SECONDS: Final = 60  # the vendor's default scaledown window


@dataclass
class App:
    """An app; deployed once it is published under a name."""

    id: str
    name: str
    tags: dict[str, str] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    deployed: bool = False
    stopped: bool = False


@dataclass
class Function:
    """A deployed function, its static autoscaler settings and what was set over them."""

    id: str
    app_id: str
    data: api_pb2.FunctionData
    override: api_pb2.AutoscalerSettings = field(default_factory=api_pb2.AutoscalerSettings)

    def settings(self) -> api_pb2.AutoscalerSettings:
        """What the autoscaler works with now."""
        merged = api_pb2.AutoscalerSettings()
        merged.CopyFrom(self.data.autoscaler_settings)
        merged.MergeFrom(self.override)
        return merged


@dataclass
class Named:
    """A secret or a volume."""

    id: str
    name: str
    values: dict[str, str] = field(default_factory=dict)
    created: float = field(default_factory=time.time)


@dataclass
class Workspace:
    """All that the stand-in knows."""

    apps: dict[str, App] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    secrets: dict[str, Named] = field(default_factory=dict)
    volumes: dict[str, Named] = field(default_factory=dict)
    images: dict[str, api_pb2.Image] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    due: dict[str, deque[str]] = field(default_factory=dict)
    _counter: int = 0

    def new_id(self, prefix: str) -> str:
        """The next id of a kind."""
        self._counter += 1
        return f"{prefix}-{self._counter:08d}"

    def deployed(self, name: str) -> App | None:
        """The running app of that name."""
        return next((app for app in self.apps.values() if app.name == name and app.deployed and not app.stopped), None)

    def function(self, app_name: str, tag: str) -> Function:
        """A function of a running app."""
        app = self.deployed(app_name)
        if app is None or tag not in app.functions:
            raise GRPCError(Status.NOT_FOUND, f"no function {tag} in a deployed app {app_name}")
        return self.functions[app.functions[tag]]

    def count(self, name: str) -> None:
        """Count a call; fail it if a test ordered that."""
        self.calls[name] += 1
        waiting = self.due.get(name)
        if waiting:
            status = waiting.popleft()
            raise GRPCError(Status[status], f"ordered by a test ({name})")

    def writes(self) -> int:
        """Calls that change something."""
        return sum(count for name, count in self.calls.items() if name in WRITES)


class Servicer(ModalClientBase):
    """One workspace with one pair of credentials."""

    def __init__(self, workspace: Workspace, token: tuple[str, str]) -> None:
        self.workspace = workspace
        self._token = token

    def _asked(self, stream: Stream, name: str) -> None:
        given = stream.metadata.get("x-modal-token-id"), stream.metadata.get("x-modal-token-secret")
        if given != self._token:
            raise GRPCError(Status.UNAUTHENTICATED, "Token ID or secret is wrong")
        self.workspace.count(name)

    # -- client and environment

    async def ClientHello(self, stream: Stream) -> None:
        await stream.recv_message()
        await stream.send_message(api_pb2.ClientHelloResponse(image_builder_version="2025.06"))

    async def EnvironmentGetOrCreate(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        name = asked.deployment_name or "main"
        settings = api_pb2.EnvironmentSettings(image_builder_version="2025.06", webhook_suffix="")
        metadata = api_pb2.EnvironmentMetadata(name=name, settings=settings)
        await stream.send_message(api_pb2.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata))

    # -- apps

    async def AppCreate(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        app = App(id=self.workspace.new_id("ap"), name=asked.description, tags=dict(asked.tags))
        self.workspace.apps[app.id] = app
        await stream.send_message(api_pb2.AppCreateResponse(app_id=app.id))

    async def AppGetByDeploymentName(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        app = self.workspace.deployed(asked.name)
        await stream.send_message(
            api_pb2.AppGetByDeploymentNameResponse(app_id=app.id if app else "", environment_name="main")
        )

    async def AppGetOrCreate(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        app = self.workspace.deployed(asked.app_name)
        if app is None:
            raise GRPCError(Status.NOT_FOUND, f"no app named {asked.app_name}")
        await stream.send_message(api_pb2.AppGetOrCreateResponse(app_id=app.id))

    async def AppGetLayout(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        app = self.workspace.apps[asked.app_id]
        objects = [
            api_pb2.Object(object_id=id, function_handle_metadata=_handle(self.workspace.functions[id]))
            for id in app.functions.values()
        ]
        layout = api_pb2.AppLayout(objects=objects, function_ids=app.functions)
        await stream.send_message(api_pb2.AppGetLayoutResponse(app_layout=layout))

    async def AppPublish(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        app = self.workspace.apps[asked.app_id]
        app.name, app.tags, app.functions = asked.name, dict(asked.tags), dict(asked.function_ids)
        app.deployed = True
        # A deployment wipes what was set over the declared settings.
        for id in app.functions.values():
            self.workspace.functions[id].override = api_pb2.AutoscalerSettings()
        await stream.send_message(
            api_pb2.AppPublishResponse(
                url=f"https://modal.com/apps/sandbox/main/deployed/{app.name}", deployed_at=time.time()
            )
        )

    async def AppGetTags(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        await stream.send_message(api_pb2.AppGetTagsResponse(tags=self.workspace.apps[asked.app_id].tags))

    async def AppSetTags(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        self.workspace.apps[asked.app_id].tags = dict(asked.tags)
        await stream.send_message(Empty())

    async def AppList(self, stream: Stream) -> None:
        await stream.recv_message()
        items = [
            api_pb2.AppListResponse.AppListItem(
                app_id=app.id,
                description=app.name,
                name=app.name,
                state=api_pb2.APP_STATE_STOPPED if app.stopped else api_pb2.APP_STATE_DEPLOYED,
                created_at=time.time(),
            )
            for app in self.workspace.apps.values()
            if app.deployed
        ]
        await stream.send_message(api_pb2.AppListResponse(apps=items))

    async def AppStop(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        self.workspace.apps[asked.app_id].stopped = True
        await stream.send_message(Empty())

    async def AppHeartbeat(self, stream: Stream) -> None:
        await stream.recv_message()
        await stream.send_message(Empty())

    async def AppClientDisconnect(self, stream: Stream) -> None:
        await stream.recv_message()
        await stream.send_message(Empty())

    # -- functions

    async def FunctionPrecreate(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        id = asked.existing_function_id or self.workspace.new_id("fu")
        metadata = api_pb2.FunctionHandleMetadata(function_name=asked.function_name, function_type=asked.function_type)
        if asked.webhook_config.type:
            metadata.web_url = _url(self.workspace.apps[asked.app_id].name, asked.function_name)
        await stream.send_message(api_pb2.FunctionPrecreateResponse(function_id=id, handle_metadata=metadata))

    async def FunctionCreate(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        data = asked.function_data if asked.HasField("function_data") else _as_data(asked.function)
        if asked.HasField("schedule"):
            data.schedule.CopyFrom(asked.schedule)
        id = asked.existing_function_id or self.workspace.new_id("fu")
        if data.webhook_config.type:
            data.web_url = _url(self.workspace.apps[asked.app_id].name, data.function_name)
        function = Function(id=id, app_id=asked.app_id, data=data)
        if id in self.workspace.functions:
            function.override = self.workspace.functions[id].override
        self.workspace.functions[id] = function
        await stream.send_message(
            api_pb2.FunctionCreateResponse(
                function_id=id, function=asked.function, function_data=data, handle_metadata=_handle(function)
            )
        )

    async def FunctionGet(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        await stream.send_message(_got(self.workspace.function(asked.app_name, asked.object_tag)))

    async def FunctionGetById(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        found = self.workspace.functions.get(asked.function_id)
        if found is None:
            raise GRPCError(Status.NOT_FOUND, f"no function {asked.function_id}")
        got = _got(found)
        await stream.send_message(
            api_pb2.FunctionGetByIdResponse(handle_metadata=got.handle_metadata, function=got.function)
        )

    async def FunctionGetSchedulingParams(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        function = self.workspace.functions[asked.function_id]
        configuration = api_pb2.AutoscalerConfiguration(
            settings=function.settings(),
            static_settings=function.data.autoscaler_settings,
            override_settings=function.override,
        )
        await stream.send_message(api_pb2.FunctionGetSchedulingParamsResponse(autoscaler_configuration=configuration))

    async def FunctionUpdateSchedulingParams(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        function = self.workspace.functions[asked.function_id]
        function.override.MergeFrom(asked.settings)
        await stream.send_message(api_pb2.FunctionUpdateSchedulingParamsResponse(current_settings=function.settings()))

    async def FunctionGetCurrentStats(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        running = self.workspace.functions[asked.function_id].settings().min_containers
        await stream.send_message(api_pb2.FunctionStats(backlog=0, num_total_tasks=running))

    # -- images, mounts, secrets, volumes

    async def ImageGetOrCreate(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        digest = hashlib.sha256(asked.image.SerializeToString(deterministic=True)).hexdigest()[:16]
        id = f"im-{digest}"
        self.workspace.images[id] = asked.image
        done = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS)
        await stream.send_message(api_pb2.ImageGetOrCreateResponse(image_id=id, result=done))

    async def MountGetOrCreate(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        name = hashlib.sha256(asked.SerializeToString(deterministic=True)).hexdigest()[:12]
        metadata = api_pb2.MountHandleMetadata(content_checksum_sha256_hex=name)
        await stream.send_message(api_pb2.MountGetOrCreateResponse(mount_id=f"mo-{name}", handle_metadata=metadata))

    async def SecretGetOrCreate(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        found = self._get_or_create(self.workspace.secrets, "st", asked, dict(asked.env_dict))
        metadata = api_pb2.SecretMetadata(name=found.name, keys=sorted(found.values))
        await stream.send_message(api_pb2.SecretGetOrCreateResponse(secret_id=found.id, metadata=metadata))

    async def SecretUpdate(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        self.workspace.secrets[asked.secret_id].values.update({one.key: one.value for one in asked.updates})
        await stream.send_message(Empty())

    async def SecretDelete(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        self.workspace.secrets.pop(asked.secret_id, None)
        await stream.send_message(Empty())

    async def VolumeGetOrCreate(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        found = self._get_or_create(self.workspace.volumes, "vo", asked, {})
        metadata = api_pb2.VolumeMetadata(name=found.name, version=asked.version)
        await stream.send_message(
            api_pb2.VolumeGetOrCreateResponse(volume_id=found.id, version=asked.version, metadata=metadata)
        )

    async def VolumeDelete(self, stream: Stream) -> None:
        asked = await stream.recv_message()
        self.workspace.volumes.pop(asked.volume_id, None)
        await stream.send_message(Empty())

    def _get_or_create(self, kept: dict[str, Named], prefix: str, asked: Any, values: dict[str, str]) -> Named:
        name, how = asked.deployment_name, asked.object_creation_type
        found = next((one for one in kept.values() if one.name == name), None) if name else None
        if found is not None:
            if how == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
                raise GRPCError(Status.ALREADY_EXISTS, f"{name} exists already")
            return found
        if how == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
            raise GRPCError(Status.NOT_FOUND, f"there is no {name}")
        made = Named(id=self.workspace.new_id(prefix), name=name, values=values)
        kept[made.id] = made
        self.workspace.calls["create:" + prefix] += 1
        return made


def _url(app: str, function: str) -> str:
    return f"https://sandbox--{app}-{function.replace('_', '-')}.modal.run"


def _as_data(function: api_pb2.Function) -> api_pb2.FunctionData:
    """A function as the ranked form that newer SDKs read: fields of the same name are shared."""
    data = api_pb2.FunctionData()
    names = {one.name for one in data.DESCRIPTOR.fields}
    for one, value in function.ListFields():
        if one.name not in names:
            continue
        if one.message_type is not None and one.message_type.GetOptions().map_entry:
            for key, item in value.items():
                target = getattr(data, one.name)
                if hasattr(item, "CopyFrom"):
                    target[key].CopyFrom(item)
                else:
                    target[key] = item
        elif hasattr(value, "extend") or not hasattr(value, "CopyFrom"):
            if hasattr(value, "append"):
                getattr(data, one.name).extend(value)
            else:
                setattr(data, one.name, value)
        else:
            getattr(data, one.name).CopyFrom(value)
    data.ranked_functions.add(rank=0).function.CopyFrom(function)
    return data


def _handle(function: Function) -> api_pb2.FunctionHandleMetadata:
    return api_pb2.FunctionHandleMetadata(
        function_name=function.data.function_name,
        function_type=function.data.function_type,
        web_url=function.data.web_url,
        definition_id=f"de-{function.id}",
        app_id=function.app_id,
    )


def _got(function: Function) -> api_pb2.FunctionGetResponse:
    return api_pb2.FunctionGetResponse(
        function_id=function.id, handle_metadata=_handle(function), function=function.data
    )


def make_servicer(workspace: Workspace, token: tuple[str, str]) -> Servicer:
    """A servicer in which every declared call exists: ours are counted and authenticated, others say so."""
    methods: dict[str, Any] = {}
    for name, declared in inspect.getmembers(ModalClientBase, inspect.isfunction):
        if name.startswith("_"):
            continue
        own = getattr(Servicer, name)
        methods[name] = _unimplemented(name) if own is declared else _counted(name, own)
    made: type[Servicer] = type("StandIn", (Servicer,), methods)
    made.__abstractmethods__ = frozenset()
    return made(workspace, token)


Handler = Callable[[Servicer, Stream], Coroutine[Any, Any, None]]


def _counted(name: str, handler: Handler) -> Handler:
    async def call(self: Servicer, stream: Stream) -> None:
        self._asked(stream, name)
        await handler(self, stream)

    return call


def _unimplemented(name: str) -> Handler:
    async def call(self: Servicer, stream: Stream) -> None:
        self.workspace.calls[f"unimplemented:{name}"] += 1
        raise GRPCError(Status.UNIMPLEMENTED, f"the stand-in for Modal has no {name}")

    return call
