"""A caller becomes the user and groups of its access entry, and an access policy allows exactly its rules."""

from __future__ import annotations

import pytest

from headrace_sandbox.kubernetes.authenticator import access, policies
from headrace_sandbox.kubernetes.authenticator.directory import Refusal, caller_of

ROLE = access.Caller(
    arn="arn:aws:sts::111122223333:assumed-role/deployer/alice@example.com",
    user_id="AROAX:alice",
    account="111122223333",
)
USER = access.Caller(arn="arn:aws:iam::111122223333:user/bob", user_id="AIDAX", account="111122223333")


def entry(principal: str, *, cluster: str = "prod", username: str = "", groups: tuple[str, ...] = ()) -> access.Entry:
    return access.Entry(cluster=cluster, principal_arn=principal, username=username, groups=groups)


def test_a_role_session_is_its_role_and_a_user_itself() -> None:
    assert ROLE.canonical_arn == "arn:aws:iam::111122223333:role/deployer"
    assert USER.canonical_arn == USER.arn


@pytest.mark.parametrize(
    ("principal", "matches"),
    [
        ("arn:aws:iam::111122223333:role/deployer", True),
        ("arn:aws:iam::111122223333:role/teams/ml/deployer", True),
        ("arn:aws:iam::111122223333:role/other-deployer", False),
        ("arn:aws:iam::999922223333:role/deployer", False),
        ("arn:aws:iam::111122223333:user/deployer", False),
    ],
)
def test_an_entry_is_found_by_role_whatever_its_path(principal: str, matches: bool) -> None:
    assert access.principal_matches(principal, ROLE.canonical_arn) is matches


def test_the_user_name_is_the_entrys_template_or_the_callers_arn() -> None:
    named = access.user(ROLE, entry("r", username="ml:{{SessionName}}", groups=("ml",)), access_key="AKIA", region="r")
    assert (named.username, named.groups) == ("ml:alice-example.com", ("ml",)), "@ has a meaning in Kubernetes"
    assert access.user(ROLE, entry("r"), access_key="AKIA", region="r").username == ROLE.arn.replace("@", "-")
    assert access.user(USER, entry("u"), access_key="AKIA", region="r").username == USER.arn


def test_entries_in_several_clusters_without_a_proof_of_which_are_refused() -> None:
    assert access.only_entry([]) is None
    with pytest.raises(access.Ambiguous, match=r"dev, prod"):
        access.only_entry([entry("r"), entry("r", cluster="dev")])


@pytest.mark.parametrize("mode", ["CONFIG_MAP", None])
def test_entries_count_only_where_the_cluster_heeds_them(mode: str | None) -> None:
    assert not access.uses_entries({"accessConfig": {"authenticationMode": mode}})
    assert access.uses_entries({"accessConfig": {"authenticationMode": "API"}})


def test_sts_is_understood_in_xml_and_json_and_nothing_else() -> None:
    xml = (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        "<Arn>arn:aws:iam::1:user/u</Arn><UserId>A</UserId><Account>1</Account>"
        "</GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
    json = (
        '{"GetCallerIdentityResponse": {"GetCallerIdentityResult":'
        ' {"Arn": "arn:aws:iam::1:user/u", "UserId": "A", "Account": "1"}}}'
    )
    assert caller_of(xml) == caller_of(json)
    for other in ("", "{}", "<html/>", "[]"):
        with pytest.raises(Refusal):
            caller_of(other)


ROLES = policies.RoleRules(
    by_role={
        "view": policies.rules_of({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]}),
        "edit": policies.rules_of({"rules": [{"apiGroups": ["apps"], "resources": ["*/scale"], "verbs": ["*"]}]}),
    }
)


def ask(policy: str, request: policies.Request, namespaces: tuple[str, ...] | None = None) -> bool:
    return policies.decide(request, [policies.Association(policy=policy, namespaces=namespaces)], ROLES).allowed


POD = policies.Request(verb="get", namespace="ml-a", resource="pods", name="x")


def test_a_policy_allows_its_rules_and_nothing_else() -> None:
    assert ask("AmazonEKSViewPolicy", POD)
    assert not ask("AmazonEKSViewPolicy", policies.Request(verb="delete", namespace="ml-a", resource="pods"))
    assert not ask("AmazonEKSViewPolicy", policies.Request(verb="get", namespace="ml-a", resource="secrets"))
    assert not ask("AmazonEKSViewPolicy", policies.Request(verb="get", namespace="ml-a", group="x.io", resource="pods"))
    assert not ask("AmazonEKSViewPolicy", policies.Request(verb="get", namespace="ml-a", resource="pods/log"))
    assert ask("AmazonEKSEditPolicy", policies.Request(verb="update", group="apps", resource="deployments/scale"))
    assert not ask("AmazonEKSEditPolicy", policies.Request(verb="update", group="apps", resource="scale"))


def test_cluster_admin_may_do_everything_and_an_unknown_policy_nothing() -> None:
    everything = (POD, policies.Request(verb="get", url="/metrics"), policies.Request(verb="escalate", resource="x"))
    assert all(ask("AmazonEKSClusterAdminPolicy", request) for request in everything)
    assert not any(ask("AmazonEKSSomeNewPolicy", request) for request in everything)


def test_a_namespace_scope_ends_at_its_namespaces() -> None:
    admin = "AmazonEKSClusterAdminPolicy"
    assert ask(admin, POD, ("ml-*",))
    assert not ask(admin, POD, ("web-*",))
    assert not ask(admin, policies.Request(verb="list", resource="nodes"), ("*",)), "not for cluster-wide requests"
    assert not ask(admin, policies.Request(verb="get", url="/metrics"), ("*",))


def test_no_association_means_no_opinion() -> None:
    assert not policies.decide(POD, [], ROLES).allowed


def test_a_review_is_read_with_its_subresource() -> None:
    spec = {"resourceAttributes": {"verb": "create", "namespace": "a", "resource": "pods", "subresource": "eviction"}}
    assert policies.request_of(spec) == policies.Request(verb="create", namespace="a", resource="pods/eviction")
    other = policies.request_of({"nonResourceAttributes": {"verb": "get", "path": "/livez"}})
    assert other == policies.Request(verb="get", url="/livez")
