"""headrace:runpod:Template, NetworkVolume and RegistryAuth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from headrace.protocol.values import Props, Unknown, bare, is_empty
from headrace_components.provider.compare import Change, Operation
from headrace_components.provider.fields import Failure, Field, Kind
from headrace_components.provider.resource import Call, Live, ProviderError
from headrace_components.runpod.answers import Json
from headrace_components.runpod.collection import Collection, pick
from headrace_components.runpod.container import CONTAINER, CUDA_VERSION, IMAGE, NOTHING, image_by_digest

_NAME = Field(kind=Kind.STRING, description="Name; made from the resource's URN by default.")


class Template(Collection):
    """Container settings to start endpoints from."""

    urn_type = "headrace:runpod:Template"
    description = "Container settings that endpoints can be made from. Endpoints made earlier keep what they had."
    path, key, noun = "/templates", "templates", "template"
    fields: ClassVar = {
        "name": _NAME,
        "image": Field(kind=Kind.STRING, required=True, description=IMAGE.description),
        **CONTAINER,
        "allowedCudaVersions": Field(
            kind=Kind.ARRAY,
            items=Field(kind=Kind.STRING, pattern=CUDA_VERSION, description="a version as major.minor"),
            order_free=True,
            description="CUDA versions that a host may have, matched exactly.",
        ),
        "category": Field(
            kind=Kind.STRING,
            default="NVIDIA",
            type_name="TemplateCategory",
            enum={"CPU": "No GPU.", "NVIDIA": "NVIDIA GPUs.", "AMD": "AMD GPUs."},
            description="How the vendor's console groups it.",
        ),
        "mounts": Field(
            kind=Kind.OBJECT,
            type_name="TemplateMounts",
            description="Storage that comes with the container.",
            fields={
                "persistent": Field(
                    kind=Kind.OBJECT,
                    type_name="PersistentMount",
                    description="Storage of the host; lost with the host.",
                    fields={
                        "size": Field(kind=Kind.INTEGER, required=True, minimum=10, description="Size in GB."),
                        "path": Field(kind=Kind.STRING, required=True, description="Where it is mounted."),
                    },
                )
            },
        ),
        "public": Field(kind=Kind.BOOLEAN, default=False, description="Whether other users of RunPod see it."),
        "serverless": Field(kind=Kind.BOOLEAN, default=True, description="For endpoints (true) or pods (false)."),
        "startJupyter": Field(kind=Kind.BOOLEAN, default=False, description="Start JupyterLab (pods only)."),
        "startSsh": Field(kind=Kind.BOOLEAN, default=False, description="Let people in over SSH (pods only)."),
    }
    outputs: ClassVar[dict[str, Field]] = {}

    def rules(self, inputs: Props) -> Iterator[Failure]:
        yield from image_by_digest(inputs)
        if bare(inputs.get("public")) is True and not is_empty(inputs.get("env")):
            yield Failure(path="public", reason="must be false where env is set: everybody could read the variables")

    def differ(self, old: Props, new: Props, changed: dict[str, Change]) -> dict[str, Change]:
        """A PATCH can change a mount but not take it away, so that needs a new template."""
        kept = {
            path: change
            for path, change in changed.items()
            if not (path == "disk" and change.operation is Operation.DELETE)
        }
        for path, change in kept.items():
            if path in ("mounts", "mounts.persistent") and change.operation is Operation.DELETE:
                kept[path] = Change(operation=change.operation, replace=True)
        return kept

    def change(self, old: Props, new: Props, changed: set[str]) -> Json:
        nothing = {**NOTHING, "allowedCudaVersions": []}
        return {
            name: new[name] if new.get(name) is not None else nothing[name]
            for name in changed
            if new.get(name) is not None or name in nothing
        }

    def inputs_of(self, live: Json) -> Props:
        return pick(live, self.fields)


class NetworkVolume(Collection):
    """Storage in one data centre that several workers mount."""

    urn_type = "headrace:runpod:NetworkVolume"
    description = "Persistent storage in one data centre. Paid until it is deleted; it can only grow."
    path, key, noun = "/network-volumes", "networkVolumes", "network volume"
    fields: ClassVar = {
        "name": _NAME,
        "size": Field(
            kind=Kind.INTEGER, required=True, minimum=10, maximum=4096, description="Size in GB; only grows."
        ),
        "dataCenter": Field(kind=Kind.STRING, required=True, replace=True, description="Data centre, for ever."),
        "type": Field(
            kind=Kind.STRING,
            replace=True,
            type_name="VolumeType",
            enum={"STANDARD": "Ordinary storage.", "HIGH_PERFORMANCE": "Faster storage, where the data centre has it."},
            description="Storage tier, for ever. The data centre's own default.",
        ),
    }
    outputs: ClassVar[dict[str, Field]] = {}

    def check_change(self, old: Props, inputs: Props) -> Iterator[Failure]:
        before, now = bare(old.get("size")), bare(inputs.get("size"))
        same_place = bare(old.get("dataCenter")) == bare(inputs.get("dataCenter"))
        if same_place and isinstance(before, int) and isinstance(now, int) and now < before:
            yield Failure(
                path="size",
                reason=f"is {now} GB, less than the {before} GB it has: the vendor never shrinks a volume; make a "
                "second one, copy what you need and delete this one",
            )

    def inputs_of(self, live: Json) -> Props:
        return pick(live, self.fields)

    def differ(self, old: Props, new: Props, changed: dict[str, Change]) -> dict[str, Change]:
        """A tier that the program never named is the data centre's default, not a change."""
        return {
            path: change
            for path, change in changed.items()
            if not (path == "type" and change.operation is Operation.DELETE)
        }


class RegistryAuth(Collection):
    """Credentials of a private container registry."""

    urn_type = "headrace:runpod:RegistryAuth"
    description = "Credentials with which workers pull private images. The vendor never gives them back."
    path, key, noun = "/registries", "registries", "registry credential"
    fields: ClassVar = {
        "name": Field(kind=Kind.STRING, replace=True, description=_NAME.description),
        "username": Field(
            kind=Kind.STRING, required=True, replace=True, secret=True, write_only=True, description="User name."
        ),
        "password": Field(
            kind=Kind.STRING,
            required=True,
            replace=True,
            secret=True,
            write_only=True,
            description="Password or token.",
        ),
    }
    outputs: ClassVar[dict[str, Field]] = {}

    def generated_name(self, urn: str, inputs: Props) -> str | Unknown:
        """By the URN alone: the other inputs are secrets, and the name itself is what we make."""
        made = super().generated_name(urn, {})
        return str(made)

    async def _adopt(self, call: Call, found: Json, inputs: Props) -> Live:
        """What is stored can't be compared, so one of our own is made anew (nothing uses it before a state names
        it)."""
        if not call.own_name:
            raise ProviderError(
                f"{self.noun} {found['id']} is named {inputs['name']!r} already and may be somebody else's; delete it "
                "or choose another name"
            )
        client = call.vendors.runpod()
        await client.delete(call, f"{self.path}/{found['id']}")
        return self._live(await client.post(call, self.path, self.request(inputs)))

    def inputs_of(self, live: Json) -> Props:
        return {"name": live["name"]}
