"""Map an AWS caller to the user and groups of its EKS access entry (EKS user guide, "Grant IAM users access")."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_ASSUMED: Final = re.compile(r"^arn:(aws[a-z-]*):sts::(\d{12}):assumed-role/([^/]+)/(.+)$")
_IAM: Final = re.compile(r"^arn:(aws[a-z-]*):iam::(\d{12}):(user|role)/(.+)$")
_ENTRY_MODES: Final = frozenset({"API", "API_AND_CONFIG_MAP"})


@dataclass(frozen=True, kw_only=True)
class Caller:
    """What STS says of a caller. `session` is empty for IAM users; `account` is the root of an account as well."""

    arn: str
    user_id: str
    account: str

    @property
    def canonical_arn(self) -> str:
        """The IAM principal: an assumed role's session becomes its role (without path, which STS doesn't tell)."""
        assumed = _ASSUMED.match(self.arn)
        return f"arn:{assumed[1]}:iam::{assumed[2]}:role/{assumed[3]}" if assumed else self.arn

    @property
    def session(self) -> str:
        """The role session's name."""
        assumed = _ASSUMED.match(self.arn)
        return assumed[4] if assumed else ""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An access entry of a cluster."""

    cluster: str
    principal_arn: str
    username: str
    groups: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class User:
    """Who a caller is in Kubernetes."""

    username: str
    uid: str
    groups: tuple[str, ...]
    extra: Mapping[str, tuple[str, ...]]


def uses_entries(cluster: Mapping[str, object]) -> bool:
    """Whether a described cluster's authentication mode heeds access entries (CONFIG_MAP alone does not)."""
    access = cluster.get("accessConfig")
    mode = access.get("authenticationMode") if isinstance(access, Mapping) else None
    return mode in _ENTRY_MODES


def principal_matches(principal_arn: str, canonical_arn: str) -> bool:
    """Whether an entry's principal is the caller: equal, or a role with a path that ends in the caller's role name."""
    if principal_arn == canonical_arn:
        return True
    entry, caller = _IAM.match(principal_arn), _IAM.match(canonical_arn)
    if entry is None or caller is None or entry[3] != "role" or caller[3] != "role":
        return False
    return (entry[1], entry[2]) == (caller[1], caller[2]) and entry[4].rsplit("/", 1)[-1] == caller[4]


def user(caller: Caller, entry: Entry, *, access_key: str, region: str) -> User:
    """Username (template or EKS's default), the entry's groups, and the extra fields that EKS sets."""
    default = f"{caller.arn.rsplit('/', 1)[0]}/{{{{SessionName}}}}" if caller.session else caller.arn
    # EKS replaces @ in a session's name, since Kubernetes gives it a meaning.
    name = (entry.username or default).replace("{{SessionName}}", caller.session.replace("@", "-"))
    extra = {
        "accessKeyId": (access_key,),
        "arn": (caller.arn,),
        "canonicalArn": (caller.canonical_arn,),
        "principalId": (caller.user_id.split(":", 1)[0],),
        "sessionName": (caller.session,),
        CLUSTER_EXTRA: (f"{region}/{entry.cluster}",),
        PRINCIPAL_EXTRA: (entry.principal_arn,),
    }
    uid = f"aws-iam-authenticator:{caller.account}:{caller.user_id.split(':', 1)[0]}"
    return User(username=name, uid=uid, groups=entry.groups, extra=extra)


CLUSTER_EXTRA: Final = "sandbox.headrace/cluster"
"""`<region>/<cluster>` the token was for: several clusters of the stand-in share this API server."""

PRINCIPAL_EXTRA: Final = "sandbox.headrace/principal"
"""The access entry's own principal ARN."""


class Ambiguous(Exception):
    """A caller has different entries in several clusters and its token doesn't show which it means."""


def only_entry(entries: Sequence[Entry]) -> Entry | None:
    """The entry to use when the token's cluster can't be told: the only one, or None.

    Raises `Ambiguous` otherwise, because a guess could give the rights of one cluster in another.
    """
    if not entries:
        return None
    if len(entries) > 1:
        clusters = ", ".join(sorted(entry.cluster for entry in entries))
        raise Ambiguous(
            f"{entries[0].principal_arn} has access entries in several clusters of the region ({clusters}) and the "
            "secret of its key is unknown here, so the signed cluster name can't be checked"
        )
    return entries[0]
