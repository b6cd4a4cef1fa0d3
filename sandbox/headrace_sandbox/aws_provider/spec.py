"""The form of the table: what the provider must know of a resource type beyond the SDK's and botocore's own models.

Templates (`fill`): `"{name}"` stands for a property of the resource, for `id`, `account`, `region` or `partition`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from headrace_sandbox.aws_provider.context import Context

State: TypeAlias = dict[str, Any]
Params: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One API operation.

    `args` are templates by member. `props` are properties that travel as members of the request, found by name or by
    the type's `rename`; None means every property that the operation knows. `under` puts them into a nested member.
    """

    op: str
    args: Mapping[str, Any] = field(default_factory=dict)
    props: tuple[str, ...] | None = ()
    under: str = ""
    rename: Mapping[str, str] = field(default_factory=dict)
    finish: Callable[[Params, State, State], bool | None] | None = None
    """Completes the parameters in place, given the state so far and the new inputs; False means: no call is needed."""


@dataclass(frozen=True, kw_only=True)
class Read(Call):
    """How to find the resource. `at` is a JMESPath into the response; a null there, or one of the error codes in
    `missing`, means that it doesn't exist; so does a `status` (JMESPath into the resource) in `gone`."""

    at: str = ""
    missing: tuple[str, ...] = ()
    status: str = ""
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Ready:
    """When a created or updated resource may be used. `status` is a JMESPath into the resource."""

    status: str
    good: tuple[str, ...]
    bad: tuple[str, ...] = ()
    reason: str = ""
    timeout_s: float = 1800.0


@dataclass(frozen=True, kw_only=True)
class Update(Call):
    """An update operation and the properties whose change asks for it (`on`; they travel unless `props` says
    otherwise)."""

    on: tuple[str, ...]

    @property
    def sent(self) -> tuple[str, ...]:
        """The properties in the request."""
        return self.props or self.on


@dataclass(frozen=True, kw_only=True)
class Tags:
    """How a service keeps tags. `create` is the member at creation (a map or a list of pairs, botocore knows which);
    with `resource_type` it is EC2's TagSpecifications. `tag` and `untag` change them on `target`."""

    create: str = ""
    resource_type: str = ""
    tag: str = ""
    tag_member: str = "tags"
    untag: str = ""
    untag_member: str = "tagKeys"
    target: Mapping[str, Any] = field(default_factory=dict)
    read: str = ""
    list: Read | None = None


@dataclass(frozen=True, kw_only=True)
class Name:
    """Autonaming: the property that gets the resource's name with seven random hex digits, unless the program set it
    or `prefix_property`. `limit` is AWS's limit in characters."""

    property: str = "name"
    prefix_property: str = ""
    limit: int = 255
    lower: bool = False
    separator: str = "-"
    start: str = ""
    """What every name of the type begins with (`alias/`)."""
    suffix_from: tuple[str, str] = ("", "")
    """(property, suffix): the name of a FIFO queue or topic ends in `.fifo`."""


Hook: TypeAlias = "Callable[[Context, State], Any]"
UpdateHook: TypeAlias = "Callable[[Context, State, State, frozenset[str]], object]"


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    """One row of the table.

    `id` is a template over the state after the first read, unless `created` captures it from the create response
    (property -> JMESPath). `import_id` names the properties that an id is made of, in order, with `separator`.

    `replace`: a change needs a new resource, as with the official provider (its "ForceNew").
    `computed`: AWS or the provider fills it in where the program is silent, and silence keeps what is there.
    `defaults`: what the official provider fills in where the program is silent.
    `strict`: silence means empty, so that a value set behind the provider's back is drift.
    `local`: only steers the provider and never reaches AWS. `hooked`: sent by one of the hooks.
    `refused`: official properties that the sandbox doesn't support; giving one fails at check instead of being lost.
    `ordered`: lists of plain values in which order counts (others are sets). `documents`: JSON texts.
    `write_only`: AWS never returns it, so the state keeps what the program said.
    `unknown`: outputs that an in-place change of anything may change.
    """

    type: str
    service: str
    create: Call | None = None
    read: Read | None = None
    updates: tuple[Update, ...] = ()
    delete: Call | None = None
    id: str = "{id}"
    created: Mapping[str, str] = field(default_factory=dict)
    import_id: tuple[str, ...] = ()
    separator: str = ":"
    import_region: str = ""
    rename: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    arn: str = ""
    replace: frozenset[str] = frozenset()
    computed: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    strict: frozenset[str] = frozenset()
    local: frozenset[str] = frozenset()
    hooked: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    ordered: frozenset[str] = frozenset()
    object_sets: frozenset[str] = frozenset()
    documents: frozenset[str] = frozenset()
    write_only: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    replace_when: Mapping[str, Callable[[Any, Any], bool]] = field(default_factory=dict)
    """For properties that AWS changes in place in some cases only: (old, new) -> whether a new resource is needed."""
    name: Name | None = None
    tags: Tags | None = None
    ready: Ready | None = None
    home: str = ""
    """The one region in which a global service is called."""
    absent: tuple[str, ...] = ()
    """Error codes of delete that mean it is gone already."""
    busy: tuple[str, ...] = ()
    """Error codes of delete (`Code`, or `Code~words of the message`) that pass while AWS lets go of what depended on
    it."""
    settle: tuple[str, ...] = ()
    """Error codes of create, in the same form, that pass while a new IAM role becomes known."""
    delete_before_replace: bool = False
    wait_deleted: bool = False
    on_check: Callable[[State], list[tuple[str, str]]] | None = None
    """More rules on the inputs: (path, reason) of each that is broken. Unknown values may be among them."""
    on_create: Hook | None = None
    """Replaces `create`: returns what is known of the new resource (with `id`)."""
    after_create: Hook | None = None
    """Completes a resource that one call cannot make whole."""
    on_read: Hook | None = None
    """Replaces `read`: returns the resource as AWS describes it, or None."""
    amend: Callable[[Context, State, State, State], None] | None = None
    """(context, resource as AWS describes it, state, what was known): adds to the state what AWS says in a form of its
    own."""
    on_update: UpdateHook | None = None
    """Called before `updates` with the old state, the new wishes and the changed properties."""
    hook_updates: frozenset[str] = frozenset()
    """The properties whose change `on_update` applies; `hooked` unless given."""
    on_delete: Hook | None = None
    """Replaces `delete`."""
    before_delete: Hook | None = None
