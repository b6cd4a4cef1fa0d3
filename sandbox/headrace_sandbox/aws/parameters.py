"""SSM's public parameters for the EKS images, and the account's default key for EBS."""

from __future__ import annotations

import hashlib
import json
import re

from headrace.catalog.load import eks_versions
from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.identity import partition
from headrace_sandbox.aws.store import Kind
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import Handler, World, exists

EBS_KEY = Kind(service="ec2", name="ebs-default-key")

# EKS User Guide "Retrieve recommended Amazon Linux AMI IDs" and Bottlerocket README (2026-11).
_AL2023 = re.compile(
    r"/aws/service/eks/optimized-ami/(?P<version>\d\.\d+)/amazon-linux-2023/(x86_64|arm64)/(standard|nvidia|neuron)/"
    r"(recommended|amazon-eks-node-al2023-[a-z0-9_.-]+)(/(?P<leaf>image_id|release_version|image_name))?"
)
_BOTTLEROCKET = re.compile(
    r"/aws/service/bottlerocket/aws-k8s-(?P<version>\d\.\d+)(-nvidia|-fips|-nvidia-fips)?/(x86_64|arm64)/(latest|\d+\.\d+\.\d+)/(?P<leaf>image_id|image_version)"
)
_RELEASE = "20260917"
_BOTTLEROCKET_RELEASE = "1.68.0"


def _value(region: str, name: str) -> str | None:
    """The value of a public parameter; None where AWS has none of that name. Image ids have the true shape but are made
    from the name: there are no images here."""
    match = _AL2023.fullmatch(name) or _BOTTLEROCKET.fullmatch(name)
    if match is None or match["version"] not in eks_versions():
        return None
    stem = name.removesuffix(f"/{match['leaf']}")
    image = f"ami-0{hashlib.sha256(f'{region}{stem}'.encode()).hexdigest()[:16]}"
    release = f"{match['version']}.0-{_RELEASE}"
    leaves = {
        "image_id": image,
        "release_version": release,
        "image_name": f"amazon-eks-node-al2023-{release}",
        "image_version": _BOTTLEROCKET_RELEASE,
    }
    if match["leaf"]:
        return leaves[match["leaf"]]
    return json.dumps({"schema_version": "1", **{k: v for k, v in leaves.items() if k != "image_version"}})


def _parameter(world: World, region: str, name: str, value: str) -> Doc:
    return {
        "Name": name,
        "Type": "String",
        "Value": value,
        "Version": 1,
        "LastModifiedDate": 1789603200.0,
        "DataType": "text",
        "ARN": f"arn:{partition(region)}:ssm:{region}::parameter{name}",
    }


async def get_parameter(world: World, call: Call) -> Doc:
    """GetParameter: public image parameters from here, all others from moto."""
    name = call.params["Name"]
    if not name.startswith(("/aws/service/eks/", "/aws/service/bottlerocket/")):
        return await world.moto("ssm", "GetParameter", call.region, call.params)
    value = _value(call.region, name)
    if value is None:
        raise AwsError("ParameterNotFound", f"Parameter {name} not found.")
    return {"Parameter": _parameter(world, call.region, name, value)}


async def get_parameters(world: World, call: Call) -> Doc:
    """GetParameters."""
    public = {name: value for name in call.params["Names"] if (value := _value(call.region, name)) is not None}
    result: Doc = {"Parameters": [], "InvalidParameters": []}
    if others := [name for name in call.params["Names"] if name not in public]:
        result = await world.moto("ssm", "GetParameters", call.region, {**call.params, "Names": others})
    result["Parameters"] = [_parameter(world, call.region, n, v) for n, v in public.items()] + result.get(
        "Parameters", []
    )
    return result


async def get_ebs_key(world: World, call: Call) -> Doc:
    """GetEbsDefaultKmsKeyId."""
    return {"KmsKeyId": (world.store.get(EBS_KEY, call.region, "key") or {"id": "alias/aws/ebs"})["id"]}


async def set_ebs_key(world: World, call: Call) -> Doc:
    """ModifyEbsDefaultKmsKeyId."""
    found = await exists(world, "kms", "DescribeKey", call.region, {"KeyId": call.params["KmsKeyId"]})
    if found is None:
        raise AwsError("InvalidParameterValue", f"The KMS key {call.params['KmsKeyId']} does not exist", status=400)
    world.store.put(EBS_KEY, call.region, "key", {"id": found["KeyMetadata"]["Arn"]})
    return {"KmsKeyId": found["KeyMetadata"]["Arn"]}


async def reset_ebs_key(world: World, call: Call) -> Doc:
    """ResetEbsDefaultKmsKeyId."""
    world.store.delete(EBS_KEY, call.region, "key")
    return await get_ebs_key(world, call)


HANDLERS: dict[tuple[str, str], Handler] = {
    ("ssm", "GetParameter"): get_parameter,
    ("ssm", "GetParameters"): get_parameters,
    ("ec2", "GetEbsDefaultKmsKeyId"): get_ebs_key,
    ("ec2", "ModifyEbsDefaultKmsKeyId"): set_ebs_key,
    ("ec2", "ResetEbsDefaultKmsKeyId"): reset_ebs_key,
}
