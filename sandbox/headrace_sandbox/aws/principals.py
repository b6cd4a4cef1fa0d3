"""Who a credential is. Any test credential is somebody, so that tests can be different principals."""

from __future__ import annotations

import re
from dataclasses import dataclass

from headrace_sandbox.aws.identity import ACCOUNT_ID
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import World


@dataclass(frozen=True, kw_only=True)
class Principal:
    """What GetCallerIdentity says: an IAM user, or a session of an assumed role."""

    arn: str
    user_id: str

    @property
    def iam_arn(self) -> str:
        """The IAM user or role behind it, as access entries name it."""
        session = re.fullmatch(r"arn:(aws[a-z-]*):sts::(\d+):assumed-role/([^/]+)/.+", self.arn)
        return f"arn:{session[1]}:iam::{session[2]}:role/{session[3]}" if session else self.arn


async def caller(world: World, access_key: str) -> Principal:
    """The IAM user that owns the access key, the role session that STS gave it to, or, for a key that neither knows,
    the user `arn:aws:iam::<account>:user/<access key>`."""
    known = await world.moto.as_caller(access_key)
    if ":user/moto" not in known["Arn"]:
        return Principal(arn=known["Arn"], user_id=known["UserId"])
    return Principal(
        arn=f"arn:aws:iam::{ACCOUNT_ID}:user/{access_key}", user_id=f"AIDA{access_key[-16:].upper():X<17}"[:21]
    )


async def get_caller_identity(world: World, call: Call) -> Doc:
    """GetCallerIdentity."""
    principal = await caller(world, call.access_key)
    return {"UserId": principal.user_id, "Account": ACCOUNT_ID, "Arn": principal.arn}


HANDLERS = {("sts", "GetCallerIdentity"): get_caller_identity}
