"""The one program of every environment: settings in, a platform out."""

import pulumi
import pulumi_aws as aws

from headrace_components import HybridPlatform
from headrace_components.config import settings_of_stack

settings = settings_of_stack()
# The account's provider, in the settings' region whatever `aws:region` says; endpoint and credentials come from the
# environment.
provider = aws.Provider("aws", region=settings.get("region"))
platform = HybridPlatform("platform", {"settings": settings}, pulumi.ResourceOptions(providers=[provider]))

pulumi.export("clusterName", platform.cluster_name)
pulumi.export("kubeconfig", platform.kubeconfig)
pulumi.export("modelBucket", platform.model_bucket)
pulumi.export("pools", platform.pool_urls)
pulumi.export("serverlessPools", platform.serverless_urls)
if platform.router is not None:
    pulumi.export(
        "router",
        {
            "internalUrl": platform.router.internal_url,
            "loadBalancer": platform.router.load_balancer,
            "policyVersion": platform.router.policy_version,
        },
    )
pulumi.export("tenantSpaces", [space.namespace for space in platform.spaces])
pulumi.export("alertTopic", platform.spend.topic_arn)
