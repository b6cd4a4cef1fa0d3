"""Who a caller is follows from its IAM principal and the cluster's access entries, as on EKS."""

from __future__ import annotations

import functools
import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from headrace_sandbox.kubernetes.kube import Kube, KubeError

from .objects import Object, eks_cluster
from .plane import Plane, eventually

pytestmark = pytest.mark.engine

WHO: Object = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
_numbers = itertools.count()


class Principal:
    """A new IAM user with an access key."""

    def __init__(self, plane: Plane) -> None:
        self.name = f"person-{next(_numbers)}"
        iam = plane.aws("iam")
        self.arn: str = iam.create_user(UserName=self.name)["User"]["Arn"]
        key = iam.create_access_key(UserName=self.name)["AccessKey"]
        self.access_key: str = key["AccessKeyId"]
        self.secret_key: str = key["SecretAccessKey"]

    def client(self, plane: Plane, cluster: str) -> httpx.Client:
        """Its client for a cluster, with a fresh token."""
        return plane.as_token(plane.token(cluster, self.access_key, self.secret_key))


def who(client: httpx.Client) -> Any:
    """The caller as the API server sees it; None when it is not let in."""
    answer = client.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json=WHO)
    if answer.status_code == 401:
        return None
    return answer.raise_for_status().json()["status"]["userInfo"]


def let_in(plane: Plane, person: Principal, cluster: str) -> Any:
    """A principal as the API server sees it by a token made now."""
    return who(person.client(plane, cluster))


@pytest.fixture(scope="module")
def eks(plane: Plane) -> Iterator[Any]:
    """One cluster, whose creator is its administrator."""
    eks_cluster(plane, "people", network=30, creator_is_admin=True)
    client = plane.aws("eks")
    yield client
    for name in ("people", "others"):
        if name in client.list_clusters()["clusters"]:
            client.delete_cluster(name=name)


def test_an_unknown_principal_is_not_let_in(plane: Plane, eks: Any) -> None:
    stranger = Principal(plane)
    assert who(stranger.client(plane, "people")) is None
    log = (plane.context.logs / "eks-authenticator.log").read_text(encoding="utf-8")
    assert f"{stranger.arn} has no access entry in people" in log, "the operator learns why, the caller does not"


@pytest.mark.parametrize("token", ["k8s-aws-v1.aHR0cDovLzEyNy4wLjAuMTovP0FjdGlvbj1Y", "nonsense"])
def test_a_forged_token_is_not_let_in(plane: Plane, eks: Any, token: str) -> None:
    assert who(plane.as_token(token)) is None


def test_an_access_entry_gives_its_groups_and_rbac_does_the_rest(plane: Plane, eks: Any) -> None:
    person = Principal(plane)
    eks.create_access_entry(clusterName="people", principalArn=person.arn, kubernetesGroups=["ml-deployers"])
    client = person.client(plane, "people")
    user = who(client)
    assert user["username"] == person.arn
    assert set(user["groups"]) == {"ml-deployers", "system:authenticated"}
    path = plane.namespace("ml")
    assert client.get(f"{path}/pods").status_code == 403
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "deployers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "ml-deployers"}],
    }
    plane.kube.create("/apis/rbac.authorization.k8s.io/v1/namespaces/ml/rolebindings", binding)
    eventually(lambda: client.get(f"{path}/pods").status_code == 200, "the group's rights")
    assert client.get("/api/v1/namespaces/default/pods").status_code == 403


def test_an_access_policy_allows_within_its_scope_and_ends_with_its_entry(plane: Plane, eks: Any) -> None:
    person = Principal(plane)
    eks.create_access_entry(clusterName="people", principalArn=person.arn)
    eks.associate_access_policy(
        clusterName="people",
        principalArn=person.arn,
        policyArn="arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy",
        accessScope={"type": "namespace", "namespaces": ["seen-*"]},
    )
    seen, unseen = plane.namespace("seen-by-policy"), plane.namespace("hidden")
    client = person.client(plane, "people")
    assert client.get(f"{seen}/pods").status_code == 200
    assert client.get(f"{seen}/secrets").status_code == 403, "the view role has no secrets"
    assert client.delete(f"{seen}/pods/x").status_code == 403
    assert client.get(f"{unseen}/pods").status_code == 403
    assert client.get("/api/v1/nodes").status_code == 403
    eks.delete_access_entry(clusterName="people", principalArn=person.arn)
    eventually(lambda: who(client) is None, "the entry's end to count")


def test_the_creator_of_a_cluster_is_its_administrator_when_the_flag_says_so(plane: Plane, eks: Any) -> None:
    with plane.as_token(plane.token("people")) as client:
        assert client.get("/api/v1/secrets").status_code == 200
        made = client.post(
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            json={
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "given-by-creator"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "nobody"}],
            },
        )
        assert made.status_code == 201, f"an administrator may give rights that no RBAC rule gave it: {made.text}"


def test_two_clusters_share_the_api_server_and_the_token_says_which(plane: Plane, eks: Any) -> None:
    eks_cluster(plane, "others", network=31)
    person = Principal(plane)
    for cluster, group in (("people", "readers"), ("others", "writers")):
        eks.create_access_entry(clusterName=cluster, principalArn=person.arn, kubernetesGroups=[group])
    assert who(person.client(plane, "others")) is None, "with an unknown secret the cluster can't be told"
    known = json.loads(plane.at.aws_credentials.read_text(encoding="utf-8"))
    known[person.access_key] = person.secret_key
    plane.at.aws_credentials.write_text(json.dumps(known), encoding="utf-8")
    for cluster, group in (("people", "readers"), ("others", "writers")):
        # The API server remembers a refused token for seconds, and two of the same second are the same text.
        user = eventually(functools.partial(let_in, plane, person, cluster), f"a token for {cluster}")
        assert group in user["groups"]
        assert user["extra"]["sandbox.headrace/cluster"] == [f"eu-central-1/{cluster}"]
    forged = plane.as_token(plane.token("others", person.access_key, "another-secret"))
    assert who(forged) is None, "a known key's signature is checked"


def test_the_kubeconfig_of_an_eks_user_works_through_its_exec_credential(plane: Plane, eks: Any) -> None:
    described = eks.describe_cluster(name="people")["cluster"]
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "people",
                "cluster": {
                    "server": described["endpoint"],
                    "certificate-authority-data": described["certificateAuthority"]["data"],
                },
            }
        ],
        "users": [
            {
                "name": "me",
                "user": {
                    "exec": {
                        "apiVersion": "client.authentication.k8s.io/v1beta1",
                        "command": "aws",
                        "args": ["eks", "get-token", "--cluster-name", "people", "--region", "eu-central-1"],
                        "interactiveMode": "Never",
                    }
                },
            }
        ],
        "contexts": [{"name": "people", "context": {"cluster": "people", "user": "me"}}],
        "current-context": "people",
    }
    file = plane.context.directory / "people.kubeconfig"
    file.write_text(json.dumps(kubeconfig), encoding="utf-8")
    program = (
        "import sys; from kubernetes import client, config; config.load_kube_config(sys.argv[1]);"
        "print(len(client.CoreV1Api().list_namespace().items))"
    )
    python = os.fspath(next(p for p in (plane.context.bin / "aws").read_text().split("'") if "python" in p))
    ran = subprocess.run(
        [python, "-c", program, file], env=plane.environment(), capture_output=True, text=True, check=True
    )
    assert int(ran.stdout) >= 4


@pytest.mark.parametrize(
    "arguments",
    [["s3", "ls"], [], ["eks", "get-token"], ["eks", "get-token", "--cluster-name", "x", "--output", "text"]],
)
def test_the_aws_executable_refuses_everything_else_in_a_sentence(plane: Plane, arguments: list[str]) -> None:
    ran = subprocess.run(["aws", *arguments], env=plane.environment(), capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert "the sandbox's `aws` knows only `eks get-token" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_reviews_are_answered_to_the_api_server_alone(plane: Plane) -> None:
    url = f"https://127.0.0.1:{plane.at.authenticator}"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "x"}}
    with Kube.of(url, plane.at.pki, "scheduler") as other, pytest.raises(KubeError) as refused:
        other.create("/authenticate", body)
    assert refused.value.status == 403
    with Kube.of(url, plane.at.pki, "webhook-client") as api_server:
        assert api_server.create("/authenticate", body)["status"] == {"authenticated": False}
