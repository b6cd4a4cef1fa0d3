"""Every row of the table against the two things it connects: the SDK's declarations and botocore's models."""

from __future__ import annotations

import pytest
from botocore.model import StructureShape

from headrace_sandbox.aws_provider import requests
from headrace_sandbox.aws_provider.context import Aws, Config
from headrace_sandbox.aws_provider.sdk import Declaration, declaration
from headrace_sandbox.aws_provider.spec import Call, ResourceType
from headrace_sandbox.aws_provider.table import TYPES

ROWS = pytest.mark.parametrize("row", TYPES.values(), ids=list(TYPES))
AWS = Aws(Config(region="us-east-1"))
NOT_SENT = {"tags", "tagsAll", "region"}


def shape_of(row: ResourceType, op: str) -> StructureShape:
    return AWS.input_shape(row.service, op)


def settable(decl: Declaration) -> set[str]:
    return set(decl.inputs) - NOT_SENT


@ROWS
def test_every_official_input_is_sent_steers_the_provider_or_is_refused_by_name(row: ResourceType) -> None:
    sent: set[str] = set()
    if row.create is not None:
        sent = requests.carried(row, row.create, shape_of(row, row.create.op), settable(declaration(row.type)))
    lost = settable(declaration(row.type)) - sent - row.hooked - row.local - row.refused
    assert not lost, f"{row.type}: a program may set these, and nothing would happen: {sorted(lost)}"
    assert not sent & row.refused, "what is refused is not sent"


@ROWS
def test_every_change_replaces_or_has_an_update(row: ResourceType) -> None:
    updated = {name for step in row.updates for name in step.on}
    updated |= row.hook_updates or row.hooked
    replaced = row.replace | set(row.replace_when)
    only_at_creation = row.local | row.refused | row.write_only
    stuck = settable(declaration(row.type)) - updated - replaced - only_at_creation
    assert not stuck, f"{row.type}: a change of these would come back at every preview: {sorted(stuck)}"


@ROWS
def test_every_member_that_the_table_names_is_in_the_service_model(row: ResourceType) -> None:
    calls: list[Call | None] = [row.create, row.read, row.delete, *row.updates, row.tags.list if row.tags else None]
    for call in calls:
        if call is None:
            continue
        shape = shape_of(row, call.op)
        assert set(call.args) <= set(shape.members), f"{call.op}: {set(call.args) - set(shape.members)}"
        for name in call.props or ():
            assert requests.member_of(row, call, shape, name), f"{call.op} has no member for {name}"
    for step in row.updates:
        for name in step.sent:
            found = requests.member_of(row, step, shape_of(row, step.op), name)
            assert found or step.finish, f"{step.op} has no member for {name}"


@ROWS
def test_every_property_that_the_table_names_is_the_sdks(row: ResourceType) -> None:
    decl = declaration(row.type)
    known = set(decl.inputs) | set(decl.outputs)
    sets = (row.replace, row.computed, row.strict, row.local, row.hooked, row.refused, row.write_only, row.documents)
    named = {n.partition(".")[0] for s in sets for n in s} | set(row.defaults) | set(row.outputs) | set(row.import_id)
    assert named - known <= {"associationId"}, f"{row.type} names {sorted(named - known)}"
    assert decl.required <= set(decl.inputs)


@ROWS
def test_tags_are_kept_where_the_sdk_has_them_and_their_calls_exist(row: ResourceType) -> None:
    assert (row.tags is not None) == ("tags" in declaration(row.type).inputs)
    tags = row.tags
    if tags is None or not tags.tag:
        return
    assert {*tags.target, tags.tag_member} <= set(shape_of(row, tags.tag).members)
    assert {*tags.target, tags.untag_member} <= set(shape_of(row, tags.untag).members)
    if tags.create and row.create:
        assert tags.create in shape_of(row, row.create.op).members


@ROWS
def test_a_row_can_make_find_and_delete_its_resource(row: ResourceType) -> None:
    assert row.create or row.on_create, "create"
    assert row.on_read or (row.read and row.read.op), "read"
    assert row.delete or row.on_delete, "delete"
    assert row.created.get("id") or row.id != "{id}" or row.on_create, "an id"
