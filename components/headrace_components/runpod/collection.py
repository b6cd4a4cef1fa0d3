"""What all of RunPod's resources share: a collection of objects with ids and names, adopted rather than made twice."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from headrace.protocol.values import Props
from headrace_components.provider import compare
from headrace_components.provider.fields import Field
from headrace_components.provider.resource import Call, Live, ProviderError, ResourceType
from headrace_components.runpod.answers import Json, Uncertain

if TYPE_CHECKING:
    from headrace_components.runpod.client import RunPodClient

CREATE_ATTEMPTS: Final = 4


class Collection(ResourceType):
    """A resource under `/<path>`, listed under `key` of the answer."""

    path: ClassVar[str]
    key: ClassVar[str]
    noun: ClassVar[str]

    def request(self, inputs: Props) -> Json:
        """The body of a create."""
        return {name: value for name, value in inputs.items() if name in self.fields}

    def change(self, old: Props, new: Props, changed: set[str]) -> Json:
        """The body of a PATCH: nothing but the properties in `changed` (top-level names)."""
        return {name: new[name] for name in changed if name in new}

    @abstractmethod
    def inputs_of(self, live: Json) -> Props:
        """The inputs that would have made the vendor's object."""

    def outputs_of(self, live: Json) -> Props:
        """What the vendor adds."""
        return {}

    async def create(self, call: Call, inputs: Props) -> Live:
        """Adopt what an earlier try made, else create. A create that may have happened is looked for before another."""
        client = call.vendors.runpod()
        name = str(inputs["name"])
        fresh = False
        for attempt in range(CREATE_ATTEMPTS):
            found = await self._named(client, call, name, fresh=fresh)
            if found is not None:
                return await self._adopt(call, found, inputs)
            try:
                return self._live(await client.post(call, self.path, self.request(inputs)))
            except Uncertain as doubt:
                call.log(f"it is not certain that {self.noun} {name!r} was made ({doubt}); looking for it")
                fresh = True
                if attempt == CREATE_ATTEMPTS - 1:
                    raise
                await call.sleep(min(0.5 * 2**attempt, call.seconds_left()))
        raise AssertionError("the last attempt returns or raises")

    async def _named(self, client: RunPodClient, call: Call, name: str, *, fresh: bool) -> Json | None:
        found = [one for one in await client.known(call, self.path, self.key, fresh=fresh) if one.get("name") == name]
        if len(found) > 1:
            ids = ", ".join(str(one.get("id")) for one in found)
            raise ProviderError(
                f"there are {len(found)} {self.noun}s named {name!r} ({ids}), so it is not clear which one is meant; "
                "delete all but one in the vendor's console, or import the right one"
            )
        # The list is from the start of the run, so make sure that it still exists.
        return await client.get(call, f"{self.path}/{found[0]['id']}") if found else None

    async def _adopt(self, call: Call, found: Json, inputs: Props) -> Live:
        live = self._live(found)
        difference = compare.changes(self.fields, {**inputs, **self._given(live.inputs, inputs)}, inputs)
        if not call.own_name and (difference or self._secret_unseen()):
            what = ", ".join(sorted(difference)) or "what the vendor doesn't show"
            raise ProviderError(
                f"{self.noun} {live.id} is named {inputs['name']!r} already and may be somebody else's (it differs in "
                f"{what}); import it with `pulumi import {self.urn_type} NAME {live.id}`, or choose another name"
            )
        call.log(f"adopted {self.noun} {live.id}, which an earlier run made")
        return await self.update(call, live.id, {**inputs, **self._given(live.inputs, inputs)}, inputs)

    def _given(self, live: Props, inputs: Props) -> Props:
        """Live values of the properties that the program sets."""
        return {name: live.get(name) for name in inputs if name in self.fields and not self.fields[name].write_only}

    def _secret_unseen(self) -> bool:
        return any(spec.write_only and spec.required for spec in self.fields.values())

    async def read(self, call: Call, id: str, state: Props) -> Live | None:
        found = await call.vendors.runpod().get(call, f"{self.path}/{id}")
        return None if found is None else self._live(found)

    async def update(self, call: Call, id: str, old: Props, new: Props) -> Live:
        changed = self.differ(old, new, compare.changes(self.fields, old, new))
        body = self.change(old, new, {path.split(".", 1)[0].split("[", 1)[0] for path in changed})
        client = call.vendors.runpod()
        if body:
            return self._live(await client.patch(call, f"{self.path}/{id}", body))
        live = await self.read(call, id, {})
        if live is None:
            raise ProviderError(f"{self.noun} {id} is gone; run `pulumi refresh`, then the update again")
        return live

    async def delete(self, call: Call, id: str) -> None:
        await call.vendors.runpod().delete(call, f"{self.path}/{id}")

    def _live(self, found: Json) -> Live:
        return Live(id=str(found["id"]), inputs=self.inputs_of(found), outputs=self.outputs_of(found))


def pick(live: Mapping[str, Any], fields: Mapping[str, Field]) -> Props:
    """The vendor's values of our properties, nulls dropped."""
    return {name: live[name] for name in fields if live.get(name) is not None}
