"""Kubernetes objects and EKS clusters for tests."""

from __future__ import annotations

import json
from typing import Any

from .plane import Plane

Object = dict[str, Any]


def pod_spec(*, gpus: int = 0, tolerate: bool = True, **container: Any) -> Object:
    """One container, with GPUs and the toleration that GPU nodes ask for."""
    resources = {"limits": {"nvidia.com/gpu": str(gpus)}} if gpus else {}
    spec: Object = {"containers": [{"name": "main", "image": "example.com/app:1", "resources": resources, **container}]}
    if tolerate:
        spec["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    return spec


def pod(name: str, **spec: Any) -> Object:
    """A pod."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod_spec(**spec)}


def deployment(name: str, replicas: int, **spec: Any) -> Object:
    """A Deployment of such pods."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec(**spec)},
        },
    }


def device_plugin() -> Object:
    """NVIDIA's device plugin as a DaemonSet."""
    labels = {"app": "nvidia-device-plugin"}
    image = "nvcr.io/nvidia/k8s-device-plugin:v0.18.0"
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "nvidia-device-plugin"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [{"name": "plugin", "image": image}],
                    "nodeSelector": {"nvidia.com/gpu.present": "true"},
                    "tolerations": [{"operator": "Exists"}],
                },
            },
        },
    }


def role(plane: Plane, name: str, service: str) -> str:
    """An IAM role that a service may assume; returns its ARN."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    arn: str = plane.aws("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    return arn


def eks_cluster(plane: Plane, name: str, *, network: int, creator_is_admin: bool = False) -> list[str]:
    """An active EKS cluster in 10.<network>.0.0/16 over two zones; returns its subnets."""
    ec2, eks = plane.aws("ec2"), plane.aws("eks")
    vpc = ec2.create_vpc(CidrBlock=f"10.{network}.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(
            VpcId=vpc, CidrBlock=f"10.{network}.{index}.0/24", AvailabilityZone=f"{plane.region}{letter}"
        )["Subnet"]["SubnetId"]
        for index, letter in enumerate("ab", start=1)
    ]
    eks.create_cluster(
        name=name,
        roleArn=role(plane, f"{name}-cluster", "eks.amazonaws.com"),
        resourcesVpcConfig={"subnetIds": subnets},
        accessConfig={"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": creator_is_admin},
    )
    eks.get_waiter("cluster_active").wait(name=name, WaiterConfig={"Delay": 1})
    return subnets
