"""headrace:modal:App: one server of a model release as a Modal app.

The app is one web function around the image's own command (`client.server`); no code of the user's is deployed. Its
name is its identity: a deployment under the same name is an update, so a retry after a crash adopts what the first
try made. The autoscaler's settings are set again after each deployment, which resets them."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterator
from typing import ClassVar, Final, TypeVar

from headrace.protocol.values import Props, Unknown, bare, is_empty
from headrace_components.modal.client import Autoscaler, Deployment, LiveApp, ModalClient
from headrace_components.provider import compare
from headrace_components.provider.fields import Failure, Field, Kind
from headrace_components.provider.resource import Call, Cancelled, Live, NotReady, ProviderError, ResourceType

T = TypeVar("T")
# The SDK's own name rule (modal._utils.name_utils, 1.6.4): letters, digits, dashes, underscores, dots; at most 64.
NAME: Final = r"[a-zA-Z0-9._-]{1,64}"
# What changes without a deployment.
AUTOSCALER: Final = frozenset({"minContainers", "maxContainers", "bufferContainers", "scaledownWindow"})
_TEXT: Final = Field(kind=Kind.STRING, description="")
_HOUR: Final = Field(kind=Kind.INTEGER, minimum=0, maximum=167, description="an hour of the week, from Monday 00:00")


class App(ResourceType):
    """See the module."""

    urn_type = "headrace:modal:App"
    description = "A server of a model release on Modal, without any code of yours."
    fields: ClassVar = {
        "name": Field(
            kind=Kind.STRING, pattern=NAME, replace=True, description="Name; made from the resource's URN by default."
        ),
        "image": Field(
            kind=Kind.STRING,
            required=True,
            description="Container image by digest (`repository@sha256:…`); it must have bash and glibc.",
        ),
        "command": Field(
            kind=Kind.ARRAY,
            items=_TEXT,
            required=True,
            min_items=1,
            description="What starts the server, for instance `vllm serve …`. It must listen on `port`.",
        ),
        "gpu": Field(kind=Kind.STRING, required=True, description="Modal's name of the GPU, for instance `L40S`."),
        "gpuCount": Field(kind=Kind.INTEGER, default=1, minimum=1, maximum=8, description="GPUs of one container."),
        "gpuFallbacks": Field(
            kind=Kind.ARRAY, items=_TEXT, description="GPUs to take where `gpu` is not free, in this order."
        ),
        "minContainers": Field(
            kind=Kind.INTEGER, default=0, minimum=0, description="Containers that always run, and are always paid."
        ),
        "maxContainers": Field(kind=Kind.INTEGER, required=True, minimum=1, description="Most containers at once."),
        "bufferContainers": Field(
            kind=Kind.INTEGER, default=0, minimum=0, description="Idle containers beyond what the load needs."
        ),
        "scaledownWindow": Field(
            kind=Kind.INTEGER,
            default=60,
            minimum=2,
            maximum=3600,
            description="Seconds that an idle container is kept, and paid.",
        ),
        "targetConcurrency": Field(
            kind=Kind.INTEGER, default=32, minimum=1, description="Requests per container that the autoscaler aims at."
        ),
        "maxConcurrency": Field(
            kind=Kind.INTEGER, minimum=1, description="Most requests of one container. `targetConcurrency` by default."
        ),
        "regions": Field(
            kind=Kind.ARRAY,
            items=_TEXT,
            order_free=True,
            description="Regions where containers may run. Anywhere by default; naming them raises the price.",
        ),
        "routingRegion": Field(
            kind=Kind.STRING,
            default="us-east",
            replace=True,
            type_name="RoutingRegion",
            enum={"us-east": "US East.", "us-west": "US West.", "eu-west": "EU West.", "ap-south": "Asia, South."},
            description="Where requests enter. Another region is another address, so a new app.",
        ),
        "cloud": Field(kind=Kind.STRING, description="Cloud to run on; the vendor chooses by default."),
        "nonpreemptible": Field(
            kind=Kind.BOOLEAN, default=False, description="Never on machines that may be taken away."
        ),
        "env": Field(kind=Kind.MAP, items=_TEXT, write_only=True, description="Environment variables."),
        "secrets": Field(
            kind=Kind.ARRAY,
            items=_TEXT,
            write_only=True,
            description="Names of Modal secrets whose keys become environment variables.",
        ),
        "volumes": Field(
            kind=Kind.MAP, items=_TEXT, write_only=True, description="Mount path -> name of a Modal volume."
        ),
        "port": Field(
            kind=Kind.INTEGER, default=8000, minimum=1, maximum=65535, write_only=True, description="The server's port."
        ),
        "proxyAuth": Field(
            kind=Kind.BOOLEAN,
            default=True,
            description="Let in only requests with a proxy token of the workspace (headers Modal-Key, Modal-Secret).",
        ),
        "timeout": Field(
            kind=Kind.INTEGER,
            default=600,
            minimum=1,
            maximum=86400,
            description="Seconds after which a request is cut off.",
        ),
        "startupTimeout": Field(
            kind=Kind.INTEGER,
            default=900,
            minimum=1,
            maximum=3600,
            write_only=True,
            description="Seconds that the server may take until it listens.",
        ),
        "warmUp": Field(
            kind=Kind.ARRAY,
            write_only=True,
            description="Hours of the week with more containers, applied by a timer of the app itself. A program that "
            "sets this should ignore changes of `minContainers`.",
            items=Field(
                kind=Kind.OBJECT,
                type_name="WarmUpWindow",
                description="Hours of the week and the least containers in them.",
                fields={
                    "hours": Field(kind=Kind.ARRAY, items=_HOUR, required=True, description="0 (Monday 00:00) to 167."),
                    "minInstances": Field(kind=Kind.INTEGER, required=True, minimum=0, description="Least containers."),
                    "timeZone": Field(kind=Kind.STRING, required=True, description="IANA time zone."),
                },
            ),
        ),
        "warmUpLeadTime": Field(
            kind=Kind.INTEGER,
            minimum=0,
            write_only=True,
            description="Seconds before a window at which the minimum rises.",
        ),
    }
    outputs: ClassVar = {
        "appId": Field(kind=Kind.STRING, description="The vendor's id; another one after the app was stopped."),
        "imageId": Field(kind=Kind.STRING, description="The vendor's id of the built image."),
        "url": Field(kind=Kind.STRING, description="Address of the server."),
        "openaiBaseUrl": Field(kind=Kind.STRING, description="Base address of the OpenAI-compatible API."),
    }

    def rules(self, inputs: Props) -> Iterator[Failure]:
        image = bare(inputs.get("image"))
        if isinstance(image, str) and "@sha256:" not in image:
            yield Failure(path="image", reason=f"{image!r} must name an image by digest (repository@sha256:…)")
        yield from _at_most(inputs, "minContainers", "maxContainers")
        yield from _at_most(inputs, "targetConcurrency", "maxConcurrency")
        for path in ("gpu", "gpuFallbacks"):
            names = bare(inputs.get(path))
            for name in names if isinstance(names, list) else [names]:
                if isinstance(bare(name), str) and ":" in bare(name):
                    yield Failure(path=path, reason=f"{bare(name)!r}: the count belongs into gpuCount")

    def differ(self, old: Props, new: Props, changed: dict[str, compare.Change]) -> dict[str, compare.Change]:
        """An import has no command to go by, and then what the vendor never tells is taken from the program."""
        if "command" in old:
            return changed
        untold = {name for name, spec in self.fields.items() if spec.write_only} | {
            "command",
            "image",
            "maxConcurrency",
        }
        return {path: change for path, change in changed.items() if re.split(r"[.\[]", path)[0] not in untold}

    async def create(self, call: Call, inputs: Props) -> Live:
        client, name = call.vendors.modal(), str(inputs["name"])
        found = await in_thread(call, client.owner, name)
        if found is not None and found[1] != owner_mark(call.urn) and not call.own_name:
            raise ProviderError(
                f"an app named {name!r} ({found[0]}) runs already and is not of this resource; import it with "
                f"`pulumi import {self.urn_type} NAME {name}`, or choose another name"
            )
        if found is not None:
            call.log(f"adopting the app {name}, which an earlier run deployed")
        return await self._deploy(call, client, inputs)

    async def read(self, call: Call, id: str, state: Props) -> Live | None:
        client = call.vendors.modal()
        live = await in_thread(call, client.read, id)
        return None if live is None else Live(id=id, inputs=_inputs_of(id, live, state), outputs=_outputs_of(live))

    async def update(self, call: Call, id: str, old: Props, new: Props) -> Live:
        client = call.vendors.modal()
        changed = {path.split(".", 1)[0].split("[", 1)[0] for path in compare.changes(self.fields, old, new)}
        if changed - AUTOSCALER:
            return await self._deploy(call, client, new)
        if changed:
            await in_thread(call, client.assert_autoscaler, id, _autoscaler(new))
        return await self._live(call, client, new)

    async def delete(self, call: Call, id: str) -> None:
        await in_thread(call, call.vendors.modal().stop, id)

    async def _deploy(self, call: Call, client: ModalClient, inputs: Props) -> Live:
        wanted = deployment(call.urn, inputs)
        call.log(f"deploying {wanted.name}; a new image is built first")
        await in_thread(call, client.deploy, wanted)
        try:
            await in_thread(call, client.assert_autoscaler, wanted.name, wanted.autoscaler)
            return await self._live(call, client, inputs)
        except ProviderError as error:
            # The app is deployed, so the engine must know of it.
            unknown = dict.fromkeys(self.outputs, "")
            raise NotReady(Live(id=wanted.name, inputs={}, outputs=unknown), str(error)) from error

    async def _live(self, call: Call, client: ModalClient, inputs: Props) -> Live:
        name = str(inputs["name"])
        live = await in_thread(call, client.read, name)
        if live is None:
            raise ProviderError(f"the app {name} is gone; run `pulumi refresh`, then the update again")
        known = {"image": inputs["image"], "imageId": live.image_id, "command": inputs["command"]}
        return Live(id=name, inputs=_inputs_of(name, live, known), outputs=_outputs_of(live))


async def in_thread(call: Call, work: Callable[..., T], *arguments: object) -> T:
    """A blocking call of the SDK, within the operation's time limit. Its thread can't be stopped, but nobody waits."""
    if call.cancelled.is_set():
        raise Cancelled
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    stopping = asyncio.ensure_future(call.cancelled.wait())
    try:
        done, _ = await asyncio.wait(
            {running, stopping}, timeout=max(call.seconds_left(), 0.0), return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        stopping.cancel()
    if running in done:
        return running.result()
    if call.cancelled.is_set():
        raise Cancelled
    raise ProviderError("Modal took longer than the operation's time limit; run the command again to go on")


def owner_mark(urn: str) -> str:
    """What our apps are tagged with."""
    return hashlib.sha256(urn.encode()).hexdigest()[:16]


def deployment(urn: str, inputs: Props) -> Deployment:
    """Inputs as the client wants them."""
    count = int(inputs.get("gpuCount", 1))
    return Deployment(
        name=str(inputs["name"]),
        owner=owner_mark(urn),
        image=str(inputs["image"]),
        command=tuple(inputs["command"]),
        gpus=tuple(f"{name}:{count}" for name in (inputs["gpu"], *(inputs.get("gpuFallbacks") or ()))),
        env=dict(inputs.get("env") or {}),
        secrets=tuple(inputs.get("secrets") or ()),
        volumes=dict(inputs.get("volumes") or {}),
        regions=tuple(inputs.get("regions") or ()),
        routing_region=str(inputs.get("routingRegion", "us-east")),
        cloud=inputs.get("cloud"),
        nonpreemptible=bool(inputs.get("nonpreemptible", False)),
        port=int(inputs.get("port", 8000)),
        proxy_auth=bool(inputs.get("proxyAuth", True)),
        timeout=int(inputs.get("timeout", 600)),
        startup_timeout=int(inputs.get("startupTimeout", 900)),
        target_concurrency=int(inputs.get("targetConcurrency", 32)),
        max_concurrency=int(inputs.get("maxConcurrency") or inputs.get("targetConcurrency", 32)),
        autoscaler=_autoscaler(inputs),
        schedule=tuple(inputs.get("warmUp") or ()),
        lead_time_s=int(inputs.get("warmUpLeadTime") or 0),
    )


def _autoscaler(inputs: Props) -> Autoscaler:
    return Autoscaler(
        min_containers=int(inputs.get("minContainers", 0)),
        max_containers=int(inputs["maxContainers"]),
        buffer_containers=int(inputs.get("bufferContainers", 0)),
        scaledown_window=int(inputs.get("scaledownWindow", 60)),
    )


def _inputs_of(name: str, live: LiveApp, state: Props) -> Props:
    """Live inputs. The vendor tells an image's id but not its reference: while the id is the one we deployed, so is the
    reference; another id is somebody else's deployment."""
    ours = not is_empty(state.get("image")) and live.image_id == state.get("imageId")
    inputs: Props = {
        "name": name,
        "image": state["image"] if ours else f"(built image {live.image_id})",
        "minContainers": live.autoscaler.min_containers,
        "maxContainers": live.autoscaler.max_containers,
        "bufferContainers": live.autoscaler.buffer_containers,
        "scaledownWindow": live.autoscaler.scaledown_window,
        "targetConcurrency": live.target_concurrency or live.max_concurrency,
        "maxConcurrency": live.max_concurrency,
        "regions": list(live.regions),
        "routingRegion": live.routing_region,
        "cloud": live.cloud,
        "nonpreemptible": live.nonpreemptible,
        "proxyAuth": live.proxy_auth,
        "timeout": live.timeout,
        "command": state.get("command"),
    }
    if live.gpus:
        inputs["gpu"], inputs["gpuCount"] = live.gpus[0]
        inputs["gpuFallbacks"] = [kind for kind, _count in live.gpus[1:]]
    return {key: value for key, value in inputs.items() if value is not None}


def _outputs_of(live: LiveApp) -> Props:
    return {
        "appId": live.app_id,
        "imageId": live.image_id,
        "url": live.url,
        "openaiBaseUrl": f"{live.url.rstrip('/')}/v1",
    }


def _at_most(inputs: Props, small: str, large: str) -> Iterator[Failure]:
    least, most = bare(inputs.get(small)), bare(inputs.get(large))
    if isinstance(least, Unknown) or isinstance(most, Unknown) or least is None or most is None:
        return
    if least > most:
        yield Failure(path=small, reason=f"is {least}, more than {large} ({most})")
