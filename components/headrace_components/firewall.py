"""Rules of security groups that more than one component makes."""

from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

HTTPS = 443


def admit_https(
    parent: pulumi.Resource,
    name: str,
    group_id: pulumi.Input[str],
    cidr: str,
    description: str,
    tags: Mapping[str, str],
) -> None:
    """Lets `cidr` in on port 443."""
    aws.vpc.SecurityGroupIngressRule(
        name,
        security_group_id=group_id,
        ip_protocol="tcp",
        from_port=HTTPS,
        to_port=HTTPS,
        cidr_ipv4=cidr,
        description=description,
        tags=dict(tags),
        opts=pulumi.ResourceOptions(parent=parent),
    )
