"""headrace:modal:Secret and Volume."""

from __future__ import annotations

from typing import ClassVar

from headrace.protocol.values import Props
from headrace_components.modal.app import NAME, in_thread
from headrace_components.provider.fields import Field, Kind
from headrace_components.provider.resource import Call, Live, ProviderError, ResourceType

_NAME = Field(
    kind=Kind.STRING, pattern=NAME, replace=True, description="Name; made from the resource's URN by default."
)
_VOLUME_VERSION = 2


class Secret(ResourceType):
    """Environment variables that the vendor never gives back."""

    urn_type = "headrace:modal:Secret"
    description = (
        "Environment variables for apps. The vendor never gives the values back, so drift of them is not seen."
    )
    fields: ClassVar = {
        "name": _NAME,
        "values": Field(
            kind=Kind.MAP,
            items=Field(kind=Kind.STRING, description=""),
            required=True,
            secret=True,
            write_only=True,
            description="The variables.",
        ),
    }
    outputs: ClassVar = {"secretId": Field(kind=Kind.STRING, description="The vendor's id.")}

    async def create(self, call: Call, inputs: Props) -> Live:
        client, name = call.vendors.modal(), str(inputs["name"])
        if await in_thread(call, client.secret_id, name) is None:
            await in_thread(call, client.create_secret, name, inputs["values"])
            return await self._live(call, name)
        if not call.own_name:
            raise ProviderError(
                f"a secret named {name!r} exists already and may be somebody else's; choose another name, or import it "
                f"with `pulumi import {self.urn_type} NAME {name}`"
            )
        call.log(f"adopting the secret {name}, which an earlier run made")
        await in_thread(call, client.update_secret, name, inputs["values"])
        return await self._live(call, name)

    async def read(self, call: Call, id: str, state: Props) -> Live | None:
        found = await in_thread(call, call.vendors.modal().secret_id, id)
        return None if found is None else Live(id=id, inputs={"name": id}, outputs={"secretId": found})

    async def update(self, call: Call, id: str, old: Props, new: Props) -> Live:
        client = call.vendors.modal()
        before, now = old.get("values") or {}, new["values"]
        if set(before) - set(now):
            # Keys can only be added or changed in place.
            call.log(f"the secret {id} loses keys, so it is made anew; apps need a deployment to see it", warning=True)
            await in_thread(call, client.delete_secret, id)
            await in_thread(call, client.create_secret, id, now)
        else:
            changed = {key: value for key, value in now.items() if before.get(key) != value}
            if changed:
                await in_thread(call, client.update_secret, id, changed)
        return await self._live(call, id)

    async def delete(self, call: Call, id: str) -> None:
        await in_thread(call, call.vendors.modal().delete_secret, id)

    async def _live(self, call: Call, name: str) -> Live:
        live = await self.read(call, name, {})
        if live is None:
            raise ProviderError(f"the secret {name} is gone; run `pulumi refresh`, then the update again")
        return live


class Volume(ResourceType):
    """Files that containers share."""

    urn_type = "headrace:modal:Volume"
    description = "A file system that containers share. Deleting it deletes its files."
    fields: ClassVar = {"name": _NAME}
    outputs: ClassVar = {"volumeId": Field(kind=Kind.STRING, description="The vendor's id.")}

    async def create(self, call: Call, inputs: Props) -> Live:
        client, name = call.vendors.modal(), str(inputs["name"])
        found = await in_thread(call, client.volume_id, name)
        if found is not None and not call.own_name:
            raise ProviderError(
                f"a volume named {name!r} exists already and may hold somebody else's files; choose another name, or "
                f"import it with `pulumi import {self.urn_type} NAME {name}`"
            )
        if found is None:
            await in_thread(call, client.create_volume, name, _VOLUME_VERSION)
        live = await self.read(call, name, {})
        if live is None:
            raise ProviderError(f"the volume {name} is not there although it was made; run the command again")
        return live

    async def read(self, call: Call, id: str, state: Props) -> Live | None:
        found = await in_thread(call, call.vendors.modal().volume_id, id)
        return None if found is None else Live(id=id, inputs={"name": id}, outputs={"volumeId": found})

    async def update(self, call: Call, id: str, old: Props, new: Props) -> Live:
        live = await self.read(call, id, {})
        if live is None:
            raise ProviderError(f"the volume {id} is gone; run `pulumi refresh`, then the update again")
        return live

    async def delete(self, call: Call, id: str) -> None:
        await in_thread(call, call.vendors.modal().delete_volume, id)
