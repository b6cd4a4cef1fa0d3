"""One thing broken at a time, and exactly the rules that must notice. `RAW` adds a resource by hand to a good stack,
`CHANGED` changes settings, what a component registered, or what it made."""

# ruff: noqa: E501 - two tables, one mutation a line

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from headrace.rules.facts import AuditTrailFacts, DataStoresFacts, Facts, HourlyFloorFacts, RouterFacts
from tests.unit.rules.good_stacks import Case, resource

DIGEST: Final = "sha256:" + "a" * 64
ECR: Final = f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/mirror/x@{DIGEST}"
EU_KEY: Final = "arn:aws:kms:eu-central-1:123456789012:key/1"
US_KEY: Final = "arn:aws:kms:us-east-1:123456789012:key/1"
ALLOW_ALL: Final = '{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
TO_ALL: Final = (
    '{"Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*","Principal":"*"}]}'
)


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """A change of a good stack and the rules that must find it."""

    name: str
    stack: str
    change: Callable[[Case], Case]
    expected: frozenset[str]


def _pod(container: dict[str, Any], kind: str = "apps/v1:Deployment", **spec: Any) -> tuple[str, dict[str, Any]]:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [container]}}
    return f"kubernetes:{kind}", {
        "metadata": {"namespace": "gpu-system"},
        "spec": {"replicas": 1, "template": template, **spec},
    }


def _endpoint(**props: Any) -> tuple[str, dict[str, Any]]:
    good = {
        "type": "QUEUE",
        "image": f"docker.io/vllm/vllm-openai@{DIGEST}",
        "gpu": {"pools": ["AMPERE_24"], "minCudaVersion": "12.8"},
        "workers": {"min": 0, "max": 2, "idleTimeout": 60},
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
        "dataCenterIds": ["EU-RO-1"],
        "timeout": 600000,
    }
    return "headrace:runpod:Endpoint", {**good, **props}


def _app(**props: Any) -> tuple[str, dict[str, Any]]:
    good = {
        "image": f"docker.io/vllm/vllm-openai@{DIGEST}",
        "gpu": "L4",
        "maxContainers": 2,
        "scaledownWindow": 60,
        "regions": ["eu-west"],
        "routingRegion": "eu-west",
        "timeout": 600,
    }
    return "headrace:modal:App", {**good, **props}


_LT = "aws:ec2/launchTemplate:LaunchTemplate"
_IMDS = {"metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1}}
_CLUSTER = {
    "vpcConfig": {"endpointPublicAccess": False, "endpointPrivateAccess": True},
    "encryptionConfig": {"provider": {"keyArn": EU_KEY}},
}
_RBAC = "kubernetes:rbac.authorization.k8s.io/v1:"
_NS = "kubernetes:core/v1:Namespace"
_RULE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
_GUARDS = {
    "namespace-without-quota",
    "namespace-without-limits",
    "namespace-without-network-policy",
    "namespace-without-pod-security",
}
_LABELLED = {"pod-security.kubernetes.io/enforce": "restricted"}
_BLOCK = dict.fromkeys(("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True)

_REDIS = {
    "atRestEncryptionEnabled": True,
    "transitEncryptionEnabled": True,
    "authToken": "made elsewhere",
    "multiAzEnabled": True,
    "automaticFailoverEnabled": True,
}
_RDS = {
    "storageEncrypted": True,
    "publiclyAccessible": False,
    "multiAz": True,
    "deletionProtection": True,
    "backupRetentionPeriod": 14,
}
_TIER = {"key": "headrace.dev/tier", "operator": "Equal", "value": "router", "effect": "NoSchedule"}
_SPREAD = {"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}


def _router_pods(namespace: str = "router", replicas: int = 2, **spec: Any) -> tuple[str, dict[str, Any]]:
    """A router that somebody composed by hand, on the router's nodes, with a budget of its own."""
    pod = {"containers": [{"image": ECR}], "tolerations": [_TIER], "topologySpreadConstraints": [_SPREAD], **spec}
    template = {"metadata": {"labels": {"app.kubernetes.io/name": "router"}}, "spec": pod}
    return "kubernetes:apps/v1:StatefulSet", {
        "metadata": {"namespace": namespace},
        "spec": {"replicas": replicas, "template": template},
    }


# name, type, properties, rules that must find it
RAW: Final[list[tuple[str, tuple[str, dict[str, Any]], set[str]]]] = [
    # images
    ("tag", _pod({"image": ECR.split("@")[0] + ":1.0"}), {"image-without-digest"}),
    ("latest", _pod({"image": ECR.split("@")[0] + ":latest"}), {"image-without-digest"}),
    ("short digest", _pod({"image": ECR[:-3]}), {"image-without-digest"}),
    ("no image", _pod({"name": "x"}), {"image-without-digest", "image-from-foreign-registry"}),
    ("docker hub", _pod({"image": f"docker.io/library/x@{DIGEST}"}), {"image-from-foreign-registry"}),
    ("docker hub implied", _pod({"image": f"library/x@{DIGEST}"}), {"image-from-foreign-registry"}),
    ("quay", _pod({"image": f"quay.io/x/y@{DIGEST}"}), {"image-from-foreign-registry"}),
    ("daemon set", _pod({"image": f"quay.io/x/y@{DIGEST}"}, "apps/v1:DaemonSet"), {"image-from-foreign-registry"}),
    ("job", _pod({"image": ECR.split("@")[0]}, "batch/v1:Job"), {"image-without-digest"}),
    ("stateful set", _pod({"image": ECR.split("@")[0]}, "apps/v1:StatefulSet"), {"image-without-digest"}),
    ("endpoint tag", _endpoint(image="docker.io/vllm/vllm-openai:v1"), {"image-without-digest"}),
    ("app tag", _app(image="docker.io/vllm/vllm-openai:v1"), {"image-without-digest"}),
    ("litellm image", _pod({"image": ECR, "env": [{"name": "V", "value": "litellm==1.82.7"}]}), {"compromised-release"}),
    ("litellm chart", ("kubernetes:helm.sh/v3:Release", {"chart": "litellm", "version": "x", "values": {"v": "litellm-1.82.8"}}), {"compromised-release"}),
    ("litellm october", _pod({"image": ECR, "args": ["pip install litellm==1.107.0"]}), {"compromised-release"}),
    # secrets
    ("env literal", _pod({"image": ECR, "env": [{"name": "API_KEY", "value": "x"}]}), {"plaintext-secret"}),
    ("env token", _pod({"image": ECR, "env": [{"name": "HF_TOKEN", "value": "x"}]}), {"plaintext-secret"}),
    ("env password", _pod({"image": ECR, "env": [{"name": "DB_PASSWORD", "value": "x"}]}), {"plaintext-secret"}),
    ("aws key", ("kubernetes:core/v1:ConfigMap", {"data": {"a": "AKIA" + "Q" * 16}}), {"plaintext-secret"}),
    ("private key", ("kubernetes:core/v1:ConfigMap", {"data": {"a": "-----BEGIN RSA PRIVATE " + "KEY-----"}}), {"plaintext-secret"}),
    ("hugging face", ("kubernetes:core/v1:ConfigMap", {"data": {"a": "hf_" + "a" * 34}}), {"plaintext-secret"}),
    ("runpod key", _endpoint(env={"K": "rpa_" + "A" * 40}), {"plaintext-secret"}),
    ("open ai key", _app(env={"K": "sk-" + "a" * 40}), {"plaintext-secret"}),
    ("github token", ("aws:ec2/launchTemplate:LaunchTemplate", {**_IMDS, "userData": "ghp_" + "a" * 36}), {"plaintext-secret"}),
    ("slack webhook", ("kubernetes:core/v1:ConfigMap", {"data": {"u": "https://hooks.slack.com/services/T/B/x"}}), {"plaintext-secret"}),
    # machines
    ("no metadata options", (_LT, {}), {"imds-v1"}),
    ("optional tokens", (_LT, {"metadataOptions": {"httpTokens": "optional"}}), {"imds-v1"}),
    ("two hops", (_LT, {"metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 2}}), {"imds-v1"}),
    ("instance", ("aws:ec2/instance:Instance", {}), {"imds-v1"}),
    ("spot template", (_LT, {**_IMDS, "instanceMarketOptions": {"marketType": "spot"}}), {"preemptible-without-checkpoint"}),
    ("spot request", ("aws:ec2/spotInstanceRequest:SpotInstanceRequest", {}), {"preemptible-without-checkpoint"}),
    ("spot fleet", ("aws:ec2/spotFleetRequest:SpotFleetRequest", {}), {"preemptible-without-checkpoint"}),
    ("template volume", (_LT, {**_IMDS, "blockDeviceMappings": [{"ebs": {"encrypted": False}}]}), {"unencrypted-storage"}),
    ("template volume unset", (_LT, {**_IMDS, "blockDeviceMappings": [{"ebs": {"volumeSize": 9}}]}), {"unencrypted-storage"}),
    # storage
    ("volume", ("aws:ebs/volume:Volume", {}), {"unencrypted-storage"}),
    ("volume false", ("aws:ebs/volume:Volume", {"encrypted": False}), {"unencrypted-storage"}),
    ("snapshot copy", ("aws:ebs/snapshotCopy:SnapshotCopy", {"sourceRegion": "eu-central-1"}), {"unencrypted-storage"}),
    ("efs", ("aws:efs/fileSystem:FileSystem", {}), {"unencrypted-storage"}),
    ("lustre", ("aws:fsx/lustreFileSystem:LustreFileSystem", {}), {"unencrypted-storage"}),
    ("rds cluster", ("aws:rds/cluster:Cluster", {}), {"unencrypted-storage"}),
    ("rds instance", ("aws:rds/instance:Instance", {**_RDS, "storageEncrypted": False}), {"unencrypted-storage"}),
    ("redis", ("aws:elasticache/replicationGroup:ReplicationGroup", {**_REDIS, "atRestEncryptionEnabled": False}), {"unencrypted-storage"}),
    ("redis in plain text", ("aws:elasticache/replicationGroup:ReplicationGroup", {**_REDIS, "transitEncryptionEnabled": False}), {"connection-in-plain-text"}),
    ("redis asks nobody", ("aws:elasticache/replicationGroup:ReplicationGroup", {**_REDIS, "authToken": None}), {"connection-in-plain-text"}),
    ("database takes plain text", ("aws:rds/parameterGroup:ParameterGroup", {"family": "postgres17", "parameters": [{"name": "rds.force_ssl", "value": "0"}]}), {"connection-in-plain-text"}),
    ("plain listener", ("aws:lb/listener:Listener", {"protocol": "HTTP", "defaultActions": [{"type": "forward"}]}), {"connection-in-plain-text"}),
    ("listener without action", ("aws:lb/listener:Listener", {"protocol": "HTTP"}), {"connection-in-plain-text"}),
    ("public database", ("aws:rds/instance:Instance", {**_RDS, "publiclyAccessible": True}), {"data-store-exposed"}),
    ("database public by default", ("aws:rds/instance:Instance", {**_RDS, "publiclyAccessible": None}), {"data-store-exposed"}),
    ("public cluster instance", ("aws:rds/clusterInstance:ClusterInstance", {"publiclyAccessible": True}), {"data-store-exposed"}),
    ("public warehouse", ("aws:redshift/cluster:Cluster", {"publiclyAccessible": True}), {"data-store-exposed"}),
    ("queue", ("aws:sqs/queue:Queue", {}), {"unencrypted-storage"}),
    ("topic", ("aws:sns/topic:Topic", {}), {"unencrypted-storage"}),
    ("log group", ("aws:cloudwatch/logGroup:LogGroup", {"name": "x"}), {"unencrypted-storage"}),
    ("trail", ("aws:cloudtrail/trail:Trail", {}), {"unencrypted-storage"}),
    ("firehose", ("aws:kinesis/firehoseDeliveryStream:FirehoseDeliveryStream", {}), {"unencrypted-storage"}),
    ("dynamodb", ("aws:dynamodb/table:Table", {}), {"unencrypted-storage"}),
    ("repository", ("aws:ecr/repository:Repository", {}), {"unencrypted-storage"}),
    ("repository aes", ("aws:ecr/repository:Repository", {"encryptionConfigurations": [{"encryptionType": "AES256"}]}), {"unencrypted-storage"}),
    ("bucket aes", ("aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration", {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]}), {"unencrypted-storage"}),
    ("cluster secrets", ("aws:eks/cluster:Cluster", {"vpcConfig": _CLUSTER["vpcConfig"]}), {"unencrypted-storage"}),
    ("audit bucket", ("aws:s3/bucket:Bucket", {"bucket": "acme-audit"}), {"bucket-without-object-lock"}),
    ("record bucket", ("aws:s3/bucket:Bucket", {"bucket": "acme-records", "objectLockEnabled": False}), {"bucket-without-object-lock"}),
    ("public acls", ("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", {**_BLOCK, "blockPublicAcls": False}), {"bucket-without-object-lock"}),
    ("public policy", ("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", {**_BLOCK, "blockPublicPolicy": False}), {"bucket-without-object-lock"}),
    ("public ignored", ("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", {**_BLOCK, "ignorePublicAcls": False}), {"bucket-without-object-lock"}),
    ("public bucket", ("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", {**_BLOCK, "restrictPublicBuckets": False}), {"bucket-without-object-lock"}),
    ("versions suspended", ("aws:s3/bucketVersioning:BucketVersioning", {"versioningConfiguration": {"status": "Suspended"}}), {"bucket-without-object-lock"}),
    ("short audit lock", ("aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration", {"bucket": "audit", "rule": {"defaultRetention": {"days": 90}}}), {"retention-too-short"}),
    ("short audit log", ("aws:cloudwatch/logGroup:LogGroup", {"name": "/audit", "kmsKeyId": EU_KEY, "retentionInDays": 90}), {"retention-too-short"}),
    ("key", ("aws:kms/key:Key", {}), {"key-without-rotation"}),
    ("key off", ("aws:kms/key:Key", {"enableKeyRotation": False}), {"key-without-rotation"}),
    # identity
    ("allow all", ("aws:iam/policy:Policy", {"policy": ALLOW_ALL}), {"unscoped-iam"}),
    ("role allow all", ("aws:iam/rolePolicy:RolePolicy", {"policy": ALLOW_ALL}), {"unscoped-iam"}),
    ("user allow all", ("aws:iam/userPolicy:UserPolicy", {"policy": ALLOW_ALL}), {"unscoped-iam"}),
    ("group allow all", ("aws:iam/groupPolicy:GroupPolicy", {"policy": ALLOW_ALL}), {"unscoped-iam"}),
    ("service allow all", ("aws:iam/policy:Policy", {"policy": ALLOW_ALL.replace('"*"', '"s3:*"', 1)}), {"unscoped-iam"}),
    ("administrator", ("aws:iam/rolePolicyAttachment:RolePolicyAttachment", {"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}), {"unscoped-iam"}),
    ("power user", ("aws:iam/userPolicyAttachment:UserPolicyAttachment", {"policyArn": "arn:aws:iam::aws:policy/PowerUserAccess"}), {"unscoped-iam"}),
    ("open bucket", ("aws:s3/bucketPolicy:BucketPolicy", {"policy": TO_ALL}), {"unscoped-iam"}),
    ("open topic", ("aws:sns/topicPolicy:TopicPolicy", {"policy": TO_ALL}), {"unscoped-iam"}),
    ("open queue", ("aws:sqs/queuePolicy:QueuePolicy", {"policy": TO_ALL}), {"unscoped-iam"}),
    ("open repository", ("aws:ecr/repositoryPolicy:RepositoryPolicy", {"policy": TO_ALL}), {"unscoped-iam"}),
    ("open trust", ("aws:iam/role:Role", {"assumeRolePolicy": '{"Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"*"}}]}'}), {"unscoped-iam"}),
    ("rbac verbs", (f"{_RBAC}Role", {"rules": [{**_RULE, "verbs": ["*"]}]}), {"rbac-wildcard"}),
    ("rbac resources", (f"{_RBAC}ClusterRole", {"rules": [{**_RULE, "resources": ["*"]}]}), {"rbac-wildcard"}),
    ("rbac groups", (f"{_RBAC}Role", {"rules": [{**_RULE, "apiGroups": ["*"]}]}), {"rbac-wildcard"}),
    ("rbac urls", (f"{_RBAC}ClusterRole", {"rules": [{"nonResourceURLs": ["*"], "verbs": ["get"]}]}), {"rbac-wildcard"}),
    ("cluster admin", (f"{_RBAC}ClusterRoleBinding", {"roleRef": {"name": "cluster-admin"}}), {"rbac-wildcard"}),
    ("masters", (f"{_RBAC}RoleBinding", {"roleRef": {"name": "x"}, "subjects": [{"name": "system:masters"}]}), {"rbac-wildcard"}),
    # namespaces
    ("bare namespace", (_NS, {"metadata": {"name": "loose"}}), _GUARDS),
    ("unguarded namespace", (_NS, {"metadata": {"name": "loose", "labels": _LABELLED}}), _GUARDS - {"namespace-without-pod-security"}),
    ("privileged tenant", (_NS, {"metadata": {"name": "search-assistant-sandbox", "labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}), {"namespace-without-pod-security"}),
    ("no drain budget", _pod({"image": ECR}, replicas=2), {"deployment-without-disruption-budget"}),
    ("no drain budget for state", _pod({"image": ECR}, "apps/v1:StatefulSet", replicas=3), {"deployment-without-disruption-budget"}),
    ("silent budget", ("aws:budgets/budget:Budget", {}), {"budget-missing"}),
    ("empty notifications", ("aws:budgets/budget:Budget", {"notifications": []}), {"budget-missing"}),
    # network
    ("open ingress", ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", {"cidrIpv4": "0.0.0.0/0"}), {"open-security-group"}),
    ("open ingress v6", ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", {"cidrIpv6": "::/0"}), {"open-security-group"}),
    ("open rule", ("aws:ec2/securityGroupRule:SecurityGroupRule", {"type": "ingress", "cidrBlocks": ["0.0.0.0/0"]}), {"open-security-group"}),
    ("open group", ("aws:ec2/securityGroup:SecurityGroup", {"ingress": [{"cidrBlocks": ["10.0.0.0/8", "0.0.0.0/0"]}]}), {"open-security-group"}),
    ("open default group", ("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", {"ingress": [{"ipv6CidrBlocks": ["::/0"]}]}), {"open-security-group"}),
    ("public api", ("aws:eks/cluster:Cluster", {**_CLUSTER, "vpcConfig": {"endpointPublicAccess": True, "endpointPrivateAccess": True}}), {"public-cluster-endpoint"}),
    ("public api by default", ("aws:eks/cluster:Cluster", {**_CLUSTER, "vpcConfig": {"endpointPrivateAccess": True}}), {"public-cluster-endpoint"}),
    ("no private api", ("aws:eks/cluster:Cluster", {**_CLUSTER, "vpcConfig": {"endpointPublicAccess": False}}), {"public-cluster-endpoint"}),
    ("vpc", ("aws:ec2/vpc:Vpc", {}), {"vpc-without-flow-logs"}),
    ("way out for the private subnet", ("aws:ec2/route:Route", {"routeTableId": "network-private-a-id", "destinationCidrBlock": "0.0.0.0/0", "natGatewayId": "nat-1"}), {"gpu-nodes-only-in-private-subnets", "egress-beside-the-router"}),
    ("way out for the control plane", ("aws:ec2/route:Route", {"routeTableId": "network-intra-a-id", "destinationCidrBlock": "0.0.0.0/0", "gatewayId": "igw-1"}), {"egress-beside-the-router"}),
    ("gpu group elsewhere", ("aws:eks/nodeGroup:NodeGroup", {"instanceTypes": ["g6.xlarge"], "subnetIds": ["network-router-a-id"]}), {"gpu-nodes-only-in-private-subnets"}),
    ("gpu group unknown subnet", ("aws:eks/nodeGroup:NodeGroup", {"instanceTypes": ["p5.48xlarge"], "subnetIds": ["subnet-9"]}), {"gpu-nodes-only-in-private-subnets"}),
    ("cpu group behind nat", ("aws:eks/nodeGroup:NodeGroup", {"instanceTypes": ["m7i.xlarge"], "subnetIds": ["network-router-a-id"]}), {"egress-beside-the-router"}),
    ("spot group", ("aws:eks/nodeGroup:NodeGroup", {"instanceTypes": ["m7i.xlarge"], "subnetIds": ["network-private-a-id"], "capacityType": "SPOT"}), {"preemptible-without-checkpoint"}),
    ("one router", _router_pods(replicas=1), {"router-not-redundant"}),
    ("router in one zone", _router_pods(replicas=1, topologySpreadConstraints=[]), {"router-not-redundant"}),
    ("guest on the router's nodes", _router_pods(namespace="search-assistant-sandbox", replicas=0), {"egress-beside-the-router", "router-not-redundant"}),
    ("a stranger in a warm-up's place", _router_pods(namespace="serverless-other", replicas=0), {"egress-beside-the-router", "router-not-redundant"}),
    ("nodes with another taint", ("aws:eks/nodeGroup:NodeGroup", {"instanceTypes": ["m7i.xlarge"], "subnetIds": ["network-router-a-id"], "taints": [{"key": "headrace.dev/tier", "value": "batch", "effect": "NO_SCHEDULE"}]}), {"egress-beside-the-router"}),
    ("a taint that keeps nobody off", ("aws:eks/nodeGroup:NodeGroup", {"instanceTypes": ["m7i.xlarge"], "subnetIds": ["network-router-a-id"], "taints": [{"key": "headrace.dev/tier", "value": "router", "effect": "PREFER_NO_SCHEDULE"}]}), {"egress-beside-the-router"}),
    # residency
    ("provider elsewhere", ("pulumi:providers:aws", {"region": "us-east-1"}), {"compute-outside-jurisdiction"}),
    ("provider nowhere", ("pulumi:providers:aws", {"region": "mars-north-1"}), {"compute-outside-jurisdiction"}),
    ("function elsewhere", ("aws:lambda/function:Function", {"region": "us-east-1"}), {"compute-outside-jurisdiction"}),
    ("group role elsewhere", ("aws:autoscaling/group:Group", {"region": "us-west-2"}), {"compute-outside-jurisdiction"}),
    ("bucket elsewhere", ("aws:s3/bucket:Bucket", {"region": "us-east-1"}), {"storage-outside-jurisdiction"}),
    ("replica of a repository", ("aws:ecr/replicationConfiguration:ReplicationConfiguration", {"replicationConfiguration": {"rules": [{"destinations": [{"region": "us-east-1"}]}]}}), {"storage-outside-jurisdiction"}),
    ("snapshot from elsewhere", ("aws:ebs/snapshotCopy:SnapshotCopy", {"sourceRegion": "us-east-1", "encrypted": True}), {"storage-outside-jurisdiction"}),
    ("efs replica", ("aws:efs/replicationConfiguration:ReplicationConfiguration", {"destination": {"region": "ap-south-1"}}), {"storage-outside-jurisdiction"}),
    ("backup copy", ("aws:backup/plan:Plan", {"rules": [{"copyActions": [{"destinationVaultArn": "arn:aws:backup:us-east-1:1:backup-vault:v"}]}]}), {"storage-outside-jurisdiction"}),
    ("dynamodb replica", ("aws:dynamodb/table:Table", {"serverSideEncryption": {"enabled": True}, "replicas": [{"regionName": "us-east-1"}]}), {"storage-outside-jurisdiction"}),
    ("volume key elsewhere", ("aws:ebs/volume:Volume", {"encrypted": True, "kmsKeyId": US_KEY}), {"storage-outside-jurisdiction"}),
    ("logs elsewhere", ("aws:cloudwatch/logSubscriptionFilter:LogSubscriptionFilter", {"destinationArn": "arn:aws:kinesis:us-east-1:1:stream/x"}), {"logs-outside-jurisdiction"}),
    ("metrics elsewhere", ("aws:amp/workspace:Workspace", {"region": "us-east-1"}), {"logs-outside-jurisdiction"}),
    ("trail elsewhere", ("aws:cloudtrail/trail:Trail", {"kmsKeyId": EU_KEY, "cloudWatchLogsGroupArn": "arn:aws:logs:us-east-1:1:log-group:x:*"}), {"logs-outside-jurisdiction"}),
    ("stream elsewhere", ("aws:kinesis/stream:Stream", {"region": "us-west-2"}), {"logs-outside-jurisdiction"}),
    ("key replica", ("aws:kms/replicaKey:ReplicaKey", {"region": "us-east-1"}), {"keys-outside-jurisdiction"}),
    ("key replica in London", ("aws:kms/replicaKey:ReplicaKey", {"region": "eu-west-2"}), {"keys-outside-jurisdiction"}),
    ("secret replica", ("aws:secretsmanager/secret:Secret", {"replicas": [{"region": "us-east-1"}]}), {"keys-outside-jurisdiction"}),
    ("endpoint anywhere", _endpoint(dataCenterIds=[]), {"serverless-outside-jurisdiction"}),
    ("endpoint in the US", _endpoint(dataCenterIds=["US-KS-2"]), {"serverless-outside-jurisdiction"}),
    ("endpoint in Norway", _endpoint(dataCenterIds=["EUR-NO-1"]), {"serverless-outside-jurisdiction"}),
    ("endpoint nowhere", _endpoint(dataCenterIds=["MOON-1"]), {"serverless-outside-jurisdiction"}),
    ("app anywhere", _app(regions=[]), {"serverless-outside-jurisdiction"}),
    ("app in the US", _app(regions=["us-east"]), {"serverless-outside-jurisdiction"}),
    ("ingress unset", _app(routingRegion=None), {"ingress-outside-jurisdiction"}),
    ("ingress in the US", _app(routingRegion="us-west"), {"ingress-outside-jurisdiction"}),
    # serverless by hand
    ("endpoint without maximum", _endpoint(workers={"min": 0, "idleTimeout": 60}), {"serverless-without-maximum"}),
    ("endpoint with none", _endpoint(workers={"min": 0, "max": 0, "idleTimeout": 60}), {"serverless-without-maximum"}),
    ("app without maximum", _app(maxContainers=None), {"serverless-without-maximum"}),
    ("endpoint idles", _endpoint(workers={"max": 2, "idleTimeout": 3600}), {"idle-timeout-out-of-bounds"}),
    ("endpoint never idles", _endpoint(workers={"max": 2, "idleTimeout": 1}), {"idle-timeout-out-of-bounds"}),
    ("app idles", _app(scaledownWindow=3000), {"idle-timeout-out-of-bounds"}),
    ("endpoint for ever", _endpoint(timeout=0), {"no-execution-timeout"}),
    ("endpoint without timeout", _endpoint(timeout=None), {"no-execution-timeout"}),
    ("endpoint too long", _endpoint(timeout=7200000), {"no-execution-timeout"}),
    ("app too long", _app(timeout=7200), {"no-execution-timeout"}),
    ("any cuda", _endpoint(gpu={"pools": ["AMPERE_24"]}), {"driver-too-old"}),
    ("old cuda", _endpoint(gpu={"pools": ["AMPERE_24"], "minCudaVersion": "12.1"}), {"driver-too-old"}),
    ("old cuda among", _endpoint(gpu={"pools": ["AMPERE_24"], "allowedCudaVersions": ["12.8", "12.4"]}), {"driver-too-old"}),
    # purchases
    ("savings plan", ("aws:savingsplans/savingsPlan:SavingsPlan", {"commitment": "5"}), {"purchase-without-approval"}),
    ("capacity block", ("aws:ec2/capacityBlockReservation:CapacityBlockReservation", {}), {"purchase-without-approval"}),
    ("reserved database", ("aws:rds/reservedInstance:ReservedInstance", {}), {"purchase-without-approval"}),
    ("dedicated host", ("aws:ec2/dedicatedHost:DedicatedHost", {}), {"purchase-without-approval"}),
]  # fmt: skip


def _added(type_: str, props: dict[str, Any]) -> Callable[[Case], Case]:
    return lambda case: case.with_resource(resource(type_, {key: v for key, v in props.items() if v is not None}))


def _set(path: str, value: Any) -> Callable[[Case], Case]:
    def change(case: Case) -> Case:
        *parents, last = path.split("/")
        at: Any = case.settings
        for part in parents:
            at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
        if value is None:
            at.pop(last, None)
        else:
            at[last] = value
        return replace(case, resources=tuple(one for one in case.resources if not _registers_pools(one.type)))

    return change


def _registers_pools(type_: str) -> bool:
    # settings are changed after the recording, so what endpoints registered would be of before
    return type_ == "headrace:index:ServerlessEndpoint"


def _put(at: Any, path: str, value: Any) -> None:
    *parents, last = path.split("/")
    for part in parents:
        at = at[int(part)] if isinstance(at, list) else at[part]
    at[int(last) if isinstance(at, list) else last] = value


def _facts(type_: str, name: str, path: str, value: Any) -> Callable[[Case], Case]:
    def change(case: Case) -> Case:
        case, props = case.change(f"headrace:index:{type_}", name)
        _put(props["facts"], path, value)
        return case

    return change


def _chain(*changes: Callable[[Case], Case]) -> Callable[[Case], Case]:
    def change(case: Case) -> Case:
        for one in changes:
            case = one(case)
        return case

    return change


def _dropped(type_: str, name: str) -> Callable[[Case], Case]:
    def change(case: Case) -> Case:
        left = tuple(one for one in case.resources if (one.type, one.name) != (type_, name))
        assert len(left) == len(case.resources) - 1, f"no {type_} {name} in the stack"
        return replace(case, resources=left)

    return change


def _property(type_: str, name: str, path: str, value: Any) -> Callable[[Case], Case]:
    def change(case: Case) -> Case:
        case, props = case.change(type_, name)
        _put(props, path, value)
        return case

    return change


_PLACE = {
    "organization": "acme",
    "environment": "prod-eu",
    "stage": "production",
    "region": "eu-central-1",
    "jurisdiction": "eu",
}
_ROUTER = RouterFacts(
    **_PLACE, name="router", engine="headrace", image="x", min_replicas=2, max_replicas=6, zones=("eu-central-1a", "eu-central-1b"),
    nodes=2, instance_type="m7i.xlarge", disruption_budget=True, spread_over_zones=True, autoscaled=True, runs_as_root=False,
    read_only_root=True, load_balancer_internal=True, load_balancer_tls=True, network_default_deny=True,
    egress_to=("chat-floor", "data-stores"), egress_to_internet=False, journal_durable=True, journal_encrypted=True,
    journal_outlives_stack=True, drain_timeout_s=600, pools=("chat-floor",), prices_of="2026-11-01", api_keys=1,
)  # fmt: skip
_STORES = DataStoresFacts(
    **_PLACE, name="stores", zones=("eu-central-1a", "eu-central-1b"), subnets_private=True, publicly_accessible=False,
    admits=("router",), key_rotation=True, cache_engine="valkey", cache_version="8.0", cache_nodes=2, cache_multi_zone=True,
    cache_encrypted_at_rest=True, cache_encrypted_in_transit=True, cache_authenticated=True, database_engine="postgres",
    database_version="17", database_multi_zone=True, database_encrypted_at_rest=True, database_tls_required=True,
    database_password_managed=True, database_deletion_protection=True, database_backup_retention_days=14,
    database_logs_exported=("postgresql",), database_log_retention_days=90, credentials_in_secrets_manager=True,
)  # fmt: skip
_TRAIL = AuditTrailFacts(
    **_PLACE, name="audit", bucket="b", object_lock_mode="COMPLIANCE", retention_days=730, versioned=True, encrypted=True,
    key_rotation=True, key_rotation_days=365, public_access_blocked=True, tls_required=True, checkpoint_interval_s=300,
)  # fmt: skip
_FLOOR = HourlyFloorFacts(
    **_PLACE, name="floor-chat", pool="chat", workload="chat", image="i@sha256:" + "a" * 64, floor_nodes=1, ceiling_nodes=2,
    replicas_per_node=1, schedule="51 * * * *", runs_as_root=False, read_only_root=True, egress_to=("data-stores", "aws-endpoints"),
)  # fmt: skip
_TYPE_OF = {
    RouterFacts: "Router",
    DataStoresFacts: "DataStores",
    AuditTrailFacts: "AuditTrail",
    HourlyFloorFacts: "HourlyFloor",
}


def _registered(facts: Facts, **changed: Any) -> Callable[[Case], Case]:
    """A component more, whose facts differ from good ones as given. A router comes with an audit trail."""
    props = {"facts": replace(facts, **changed).to_props()}
    return _added(f"headrace:index:{_TYPE_OF[type(facts)]}", props)


def _without(*types: str) -> Callable[[Case], Case]:
    kinds = {f"headrace:index:{type_}" for type_ in types}
    return lambda case: replace(case, resources=tuple(one for one in case.resources if one.type not in kinds))


def _with_trail(change: Callable[[Case], Case]) -> Callable[[Case], Case]:
    return _chain(_without("AuditTrail"), _registered(_TRAIL), change)


_PLAN = {"kind": "compute", "commitmentUsdPerHour": 3, "termYears": 1, "startsOn": "2026-07-01"}
_CONTRACT = {"provider": "runpod", "minimumUsdPerMonth": 500, "startsOn": "2026-01-01", "endsOn": "2027-12-01"}

CHANGED: Final[list[tuple[str, str, Callable[[Case], Case], set[str]]]] = [
    ("plan above the floor", "sandbox", _set("commitments/savingsPlans", {"p": {**_PLAN, "commitmentUsdPerHour": 40}}), {"commitment-above-floor"}),
    ("three years", "sandbox", _set("commitments/savingsPlans", {"p": {**_PLAN, "termYears": 3}}), {"commitment-term-too-long"}),
    ("long contract", "sandbox", _set("commitments/contracts", {"c": _CONTRACT}), {"commitment-term-too-long"}),
    ("family for three years", "sandbox", _set("commitments", {"maxTermMonths": 36, "savingsPlans": {"p": {**_PLAN, "kind": "ec2-instance", "instanceFamily": "g6", "termYears": 3}}}), {"generation-lock-in"}),
    ("plan expires", "sandbox", _set("commitments/savingsPlans", {"p": {**_PLAN, "startsOn": "2025-12-01"}}), {"commitment-expires-soon"}),
    ("contract's notice", "sandbox", _set("commitments", {"maxTermMonths": 36, "contracts": {"c": {**_CONTRACT, "endsOn": "2027-01-10"}}}), {"commitment-expires-soon"}),
    ("exit", "sandbox", _set("commitments", {"maxExitUsd": 1000, "savingsPlans": {"p": _PLAN}}), {"exit-too-expensive"}),
    ("floor above the cap", "sandbox", _set("commitments/maxCommittedUsdPerMonth", 1000), {"too-much-promised"}),
    ("organisation's cap", "sandbox", _set("commitments", {"organizationCapUsdPerMonth": 10000, "otherEnvironmentsUsdPerMonth": 9000}), {"too-much-promised"}),
    ("budget below the floor", "sandbox", _chain(_set("dedicatedPools/chat-floor/ceilingNodes", 9), _set("dedicatedPools/chat-floor/floorNodes", 8)), {"cost-over-budget"}),
    ("hourly floor above the budget", "sandbox", _chain(_set("dedicatedPools/chat-floor/ceilingNodes", 9), _set("dedicatedPools/chat-floor/hourlyFloor", {})), {"cost-over-budget"}),
    ("no router replica", "sandbox", _set("router/minReplicas", 1), {"router-not-redundant"}),
    ("audit too short", "sandbox", _set("audit/retentionDays", 30), {"retention-too-short"}),
    ("workers above the account", "sandbox", _set("limits/runpod", {"workersTotal": 2}), {"over-account-limit"}),
    ("spend above the account", "sandbox", _set("limits/runpod", {"spendUsdPerHour": 1}), {"over-account-limit"}),
    ("workers without a limit", "staging", _set("limits", None), {"over-account-limit"}),
    ("gpus above the workspace", "sandbox", _set("limits/modal", {"concurrentGpus": 3}), {"over-account-limit"}),
    ("enterprise without a number", "sandbox", _set("limits/modal", {"plan": "enterprise"}), {"over-account-limit"}),
    ("vcpus above the quota", "prod-eu", _set("limits/aws/onDemandGVcpus", 100), {"over-account-limit"}),
    ("p vcpus above the quota", "prod-us", _set("limits/aws/onDemandPVcpus", 100), {"over-account-limit"}),
    ("capacity blocks", "prod-us", _set("limits/aws/capacityBlocks", 0), {"over-account-limit"}),
    ("peak", "sandbox", _set("workloads/chat/peakParallelRequests", 5000), {"peak-not-absorbed"}),
    ("peak that only nodes would take that nobody brings", "sandbox", _set("workloads/chat/peakParallelRequests", 150), {"peak-not-absorbed"}),
    ("peak of research", "prod-eu", _set("workloads/research/peakParallelRequests", 5000), {"peak-not-absorbed"}),
    ("cold overflow", "staging", _set("serverlessPools/chat-overflow/warmUp", []), {"cold-for-latency-sensitive"}),
    ("cold overflow in production", "prod-us", _set("serverlessPools/chat-overflow", {"provider": "modal", "workload": "chat", "gpu": "L40S", "minInstances": 0, "maxInstances": 20, "regions": ["us-east"], "ingressRegion": "us-east"}), {"cold-for-latency-sensitive"}),
    ("pool idles", "sandbox", _set("serverlessPools/chat-overflow/idleTimeoutS", 3000), {"idle-timeout-out-of-bounds"}),
    ("pool never idles", "sandbox", _set("serverlessPools/chat-overflow/idleTimeoutS", 2), {"idle-timeout-out-of-bounds"}),
    ("pool runs long", "sandbox", _set("serverlessPools/chat-overflow/executionTimeoutS", 9000), {"no-execution-timeout"}),
    ("late warm-up", "sandbox", _set("serverlessPools/chat-overflow/warmUpLeadTimeS", 60), {"warm-up-after-the-peak"}),
    ("pool anywhere", "sandbox", _set("serverlessPools/digest-overflow/regions", []), {"serverless-outside-jurisdiction"}),
    ("runpod anywhere", "sandbox", _chain(_set("serverlessPools/chat-overflow/regions", []), _set("serverlessPools/chat-overflow/volume", "vol-1")), {"serverless-outside-jurisdiction"}),
    ("pool in the US", "sandbox", _set("serverlessPools/digest-overflow/regions", ["us-east"]), {"serverless-outside-jurisdiction"}),
    ("runpod in Iceland", "sandbox", _set("serverlessPools/chat-overflow/regions", ["EUR-IS-1"]), {"serverless-outside-jurisdiction"}),
    ("ingress of a pool unset", "sandbox", _set("serverlessPools/digest-overflow/ingressRegion", None), {"ingress-outside-jurisdiction"}),
    ("ingress of a pool in the US", "sandbox", _set("serverlessPools/digest-overflow/ingressRegion", "us-east"), {"ingress-outside-jurisdiction"}),
    ("confidential on a preference", "sandbox", _set("workloads/chat/dataClassification", "confidential"), {"serverless-outside-jurisdiction", "ingress-outside-jurisdiction"}),
    ("restricted on serverless", "prod-eu", _set("workloads/chat/dataClassification", "restricted"), {"restricted-data-on-serverless"}),
    ("consumer GPU with cuda-compat", "sandbox", _set("releases/llama-3-1-8b-fp8/forwardCompatibilityPackage", True), set()),
    ("gpu without fp8", "sandbox", _facts("ServerlessEndpoint", "digest-overflow", "gpus/1", "A100-80GB"), {"gpu-too-old"}),
    ("gpu without kernels", "sandbox", _facts("ServerlessEndpoint", "digest-overflow", "gpus/1", "T4"), {"gpu-too-old"}),
    ("gpu without price", "sandbox", _set("serverlessPools/digest-overflow/gpuFallbacks", ["RTX-PRO-6000"]), {"serverless-without-price"}),
    ("one zone", "prod-us", _chain(_set("serverlessPools", {}), _set("workloads/chat/peakParallelRequests", 96), _set("dedicatedPools/chat-floor/zones", ["us-east-1a"])), {"single-point-of-capacity"}),
    ("serverless alone", "prod-us", _set("dedicatedPools/chat-floor/workload", "agents"), {"single-point-of-capacity"}),
    ("three zones alone", "prod-us", _chain(_set("serverlessPools", {}), _set("workloads/chat/peakParallelRequests", 96)), set()),
    ("compat on a workstation card", "sandbox", _chain(_facts("DedicatedPool", "chat-floor", "gpuClass", "workstation"), _facts("DedicatedPool", "chat-floor", "release/forwardCompatibilityPackage", True)), {"compat-package-on-consumer-gpu"}),
    ("span of serverless", "sandbox", _facts("ServerlessEndpoint", "chat-overflow", "release/tensorParallel", 2), {"model-does-not-fit"}),
    ("context of serverless", "sandbox", _facts("ServerlessEndpoint", "chat-overflow", "workload/contextTokens", 20000), {"model-does-not-fit"}),
    ("compat on a consumer card", "sandbox", _chain(_facts("ServerlessEndpoint", "chat-overflow", "gpus/0", "RTX-4090"), _facts("ServerlessEndpoint", "chat-overflow", "release/forwardCompatibilityPackage", True)), {"compat-package-on-consumer-gpu"}),
    # what components registered
    ("old driver", "sandbox", _facts("DedicatedPool", "chat-floor", "drivers", ["470.1"]), {"driver-too-old"}),
    ("one of two drivers old", "sandbox", _facts("DedicatedPool", "chat-floor", "drivers", ["580.1", "510.9"]), {"driver-too-old"}),
    ("driver not known", "sandbox", _facts("DedicatedPool", "chat-floor", "drivers", []), {"driver-too-old"}),
    ("cuda not known", "sandbox", _facts("DedicatedPool", "chat-floor", "release/cudaVersion", "99.0"), {"driver-too-old"}),
    ("cuda newer than the driver", "sandbox", _facts("DedicatedPool", "chat-floor", "drivers", ["560.1"]), set()),
    ("capability", "sandbox", _facts("DedicatedPool", "chat-floor", "release/minimumComputeCapability", "9.0"), {"gpu-too-old"}),
    ("gpu not in the catalogue", "sandbox", _facts("DedicatedPool", "chat-floor", "gpu", "L5"), {"gpu-too-old"}),
    ("weights", "sandbox", _facts("DedicatedPool", "chat-floor", "release/weightsGib", 40.0), {"model-does-not-fit"}),
    ("context", "sandbox", _facts("DedicatedPool", "chat-floor", "workload/contextTokens", 20000), {"model-does-not-fit"}),
    ("span", "sandbox", _facts("DedicatedPool", "digest-floor", "release/tensorParallel", 2), {"model-does-not-fit"}),
    ("compat on a workstation", "sandbox", _facts("DedicatedPool", "chat-floor", "gpuClass", "workstation"), set()),
    ("another image", "sandbox", _facts("DedicatedPool", "digest-floor", "workload/name", "chat"), set()),
    ("another release", "sandbox", _facts("DedicatedPool", "chat-floor", "release/name", "other"), {"release-differs-between-pools"}),
    ("serverless release", "sandbox", _facts("ServerlessEndpoint", "chat-overflow", "release/artifactDigest", DIGEST), {"release-differs-between-pools"}),
    ("serverless image", "sandbox", _facts("ServerlessEndpoint", "chat-overflow", "release/image", f"x/y@{DIGEST}"), {"release-differs-between-pools"}),
    ("serverless arguments", "sandbox", _facts("ServerlessEndpoint", "chat-overflow", "release/servingArgs", ["--seed=1"]), {"release-differs-between-pools"}),
    ("serverless quantization", "sandbox", _facts("ServerlessEndpoint", "digest-overflow", "release/quantization", "int8"), {"release-differs-between-pools"}),
    ("release from elsewhere", "sandbox", _facts("DedicatedPool", "chat-floor", "release/artifactUri", "s3://other/x"), {"model-artifact-from-elsewhere"}),
    ("image release not pinned", "sandbox", _facts("DedicatedPool", "chat-floor", "nodeReleaseVersion", None), {"lineage-missing"}),
    ("no artifact digest", "sandbox", _facts("DedicatedPool", "chat-floor", "release/artifactDigest", "latest"), {"lineage-missing", "release-differs-between-pools"}),
    ("no release name", "sandbox", _facts("ServerlessEndpoint", "chat-overflow", "release/name", ""), {"lineage-missing", "release-differs-between-pools"}),
    ("no environment budget", "sandbox", _facts("SpendGuard", "spend", "budgets/0/scope", "other"), {"budget-missing"}),
    ("no alerts", "sandbox", _facts("SpendGuard", "spend", "budgets/0/alertThresholdsPercent", []), {"budget-missing"}),
    ("nobody alerted", "sandbox", _facts("SpendGuard", "spend", "alertEmails", []), {"budget-missing"}),
    ("tenant without budget", "sandbox", _facts("TenantSpace", "search-assistant", "tenant", "unknown"), {"budget-missing", "quotas-exceed-pools"}),
    ("project without budget", "sandbox", _facts("TenantSpace", "search-assistant", "project", "unknown"), {"budget-missing"}),
    ("quota above the pools", "sandbox", _facts("TenantSpace", "search-assistant", "quota/gpus", 100), {"quotas-exceed-pools"}),
    ("project above its tenant", "sandbox", _facts("TenantSpace", "search-assistant", "budgetUsdPerMonth", 90000), {"quotas-exceed-pools"}),
    ("tenant above the environment", "sandbox", _facts("TenantSpace", "search-assistant", "tenantBudgetUsdPerMonth", 90000), set()),
    ("environment below its tenants", "sandbox", _facts("HybridPlatform", "platform", "environmentBudgetUsdPerMonth", 10), {"quotas-exceed-pools"}),
    # the router, its data stores and its audit trail, as their components register them
    ("good router", "prod-eu", _with_trail(_registered(_ROUTER)), set()),
    ("good stores", "prod-eu", _registered(_STORES), set()),
    ("one replica", "prod-eu", _with_trail(_registered(_ROUTER, min_replicas=1)), {"router-not-redundant"}),
    ("one zone for the router", "prod-eu", _with_trail(_registered(_ROUTER, zones=("eu-central-1a",))), {"router-not-redundant"}),
    ("replicas side by side", "prod-eu", _with_trail(_registered(_ROUTER, spread_over_zones=False)), {"router-not-redundant"}),
    ("one node for two zones", "prod-eu", _with_trail(_registered(_ROUTER, nodes=1)), {"router-not-redundant"}),
    ("router drained at once", "prod-eu", _with_trail(_registered(_ROUTER, disruption_budget=False)), {"router-not-redundant"}),
    ("router allows all", "prod-eu", _with_trail(_registered(_ROUTER, network_default_deny=False)), {"egress-beside-the-router"}),
    ("router reaches more", "prod-eu", _with_trail(_registered(_ROUTER, egress_to=("chat-floor", "internet"))), {"egress-beside-the-router"}),
    ("good floor job", "prod-eu", _registered(_FLOOR), set()),
    ("floor job reaches more", "prod-eu", _registered(_FLOOR, egress_to=("data-stores", "internet")), {"egress-beside-the-router"}),
    ("router in plain text", "prod-eu", _with_trail(_registered(_ROUTER, load_balancer_tls=False)), {"connection-in-plain-text"}),
    ("plain text outside production", "prod-eu", _with_trail(_registered(_ROUTER, load_balancer_tls=False, stage="staging")), set()),
    ("journal dies with its pod", "prod-eu", _with_trail(_registered(_ROUTER, journal_durable=False)), {"audit-trail-incomplete"}),
    ("journal in plain text", "prod-eu", _with_trail(_registered(_ROUTER, journal_encrypted=False)), {"audit-trail-incomplete"}),
    ("router without a trail", "prod-eu", _chain(_without("AuditTrail"), _registered(_ROUTER)), {"audit-trail-incomplete"}),
    ("trail unlocked", "prod-eu", _registered(_TRAIL, object_lock_mode=""), {"audit-trail-incomplete"}),
    ("trail without versions", "prod-eu", _registered(_TRAIL, versioned=False), {"audit-trail-incomplete"}),
    ("trail not encrypted", "prod-eu", _registered(_TRAIL, encrypted=False), {"audit-trail-incomplete"}),
    ("trail's key stays", "prod-eu", _registered(_TRAIL, key_rotation=False), {"audit-trail-incomplete"}),
    ("public trail", "prod-eu", _registered(_TRAIL, public_access_blocked=False), {"audit-trail-incomplete"}),
    ("trail over HTTP", "prod-eu", _registered(_TRAIL, tls_required=False), {"audit-trail-incomplete"}),
    ("rare checkpoints", "prod-eu", _registered(_TRAIL, checkpoint_interval_s=86400), {"audit-trail-incomplete"}),
    ("no checkpoints", "prod-eu", _registered(_TRAIL, checkpoint_interval_s=0), {"audit-trail-incomplete"}),
    ("short trail", "prod-eu", _registered(_TRAIL, retention_days=90), {"retention-too-short"}),
    ("public stores", "prod-eu", _registered(_STORES, publicly_accessible=True), {"data-store-exposed"}),
    ("stores in public subnets", "prod-eu", _registered(_STORES, subnets_private=False), {"data-store-exposed"}),
    ("stores admit others", "prod-eu", _registered(_STORES, admits=("router", "search-assistant")), {"data-store-exposed"}),
    ("cache in plain text", "prod-eu", _registered(_STORES, cache_encrypted_in_transit=False), {"connection-in-plain-text"}),
    ("cache asks nobody", "prod-eu", _registered(_STORES, cache_authenticated=False), {"connection-in-plain-text"}),
    ("database in plain text", "prod-eu", _registered(_STORES, database_tls_required=False), {"connection-in-plain-text"}),
    ("password by hand", "prod-eu", _registered(_STORES, database_password_managed=False), {"connection-in-plain-text"}),
    ("credentials elsewhere", "prod-eu", _registered(_STORES, credentials_in_secrets_manager=False), {"connection-in-plain-text"}),
    ("one cache node", "prod-eu", _registered(_STORES, cache_nodes=1), {"data-store-can-be-lost"}),
    ("cache in one zone", "prod-eu", _registered(_STORES, cache_multi_zone=False), {"data-store-can-be-lost"}),
    ("database in one zone", "prod-eu", _registered(_STORES, database_multi_zone=False), {"data-store-can-be-lost"}),
    ("database can be deleted", "prod-eu", _registered(_STORES, database_deletion_protection=False), {"data-store-can-be-lost"}),
    ("backups for a day", "prod-eu", _registered(_STORES, database_backup_retention_days=1), {"data-store-can-be-lost"}),
    ("small stores outside production", "prod-eu", _registered(_STORES, stage="sandbox", database_multi_zone=False, cache_nodes=1), set()),
    ("lone database by hand", "prod-eu", _added("aws:rds/instance:Instance", {**_RDS, "multiAz": False}), {"data-store-can-be-lost"}),
    ("deletable database by hand", "prod-eu", _added("aws:rds/instance:Instance", {**_RDS, "deletionProtection": None}), {"data-store-can-be-lost"}),
    ("no backups by hand", "prod-eu", _added("aws:rds/instance:Instance", {**_RDS, "backupRetentionPeriod": 0}), {"data-store-can-be-lost"}),
    ("lone cache by hand", "prod-eu", _added("aws:elasticache/replicationGroup:ReplicationGroup", {**_REDIS, "multiAzEnabled": False}), {"data-store-can-be-lost"}),
    ("no failover by hand", "prod-eu", _added("aws:elasticache/replicationGroup:ReplicationGroup", {**_REDIS, "automaticFailoverEnabled": None}), {"data-store-can-be-lost"}),
    ("deletable cluster by hand", "prod-eu", _added("aws:rds/cluster:Cluster", {"storageEncrypted": True, "backupRetentionPeriod": 7}), {"data-store-can-be-lost"}),
    ("good stores by hand", "prod-eu", _chain(_added("aws:rds/instance:Instance", _RDS), _added("aws:elasticache/replicationGroup:ReplicationGroup", _REDIS)), set()),
    ("the router's own nodes", "prod-eu", _added("aws:eks/nodeGroup:NodeGroup", {"instanceTypes": ["m7i.xlarge"], "subnetIds": ["network-router-a-id"], "taints": [{"key": "headrace.dev/tier", "value": "router", "effect": "NO_SCHEDULE"}]}), set()),
    # what components made, changed or taken away
    ("no flow log", "sandbox", _dropped("aws:ec2/flowLog:FlowLog", "network"), {"vpc-without-flow-logs"}),
    ("rejected traffic only", "sandbox", _property("aws:ec2/flowLog:FlowLog", "network", "trafficType", "REJECT"), {"vpc-without-flow-logs"}),
    ("no quota", "sandbox", _dropped("kubernetes:core/v1:ResourceQuota", "search-assistant"), {"namespace-without-quota"}),
    ("no limits", "sandbox", _dropped("kubernetes:core/v1:LimitRange", "search-assistant"), {"namespace-without-limits"}),
    ("api opened", "sandbox", _property("aws:eks/cluster:Cluster", "gpu", "vpcConfig/endpointPublicAccess", True), {"public-cluster-endpoint"}),
    ("public subnet", "sandbox", _property("aws:ec2/subnet:Subnet", "network-private-a", "mapPublicIpOnLaunch", True), {"gpu-nodes-only-in-private-subnets"}),
    ("imds opened", "sandbox", _property(_LT, "chat-floor", "metadataOptions/httpTokens", "optional"), {"imds-v1"}),
    ("hops raised", "sandbox", _property(_LT, "chat-floor", "metadataOptions/httpPutResponseHopLimit", 3), {"imds-v1"}),
    ("store unlocked", "sandbox", _property("aws:s3/bucket:Bucket", "models", "objectLockEnabled", False), {"bucket-without-object-lock"}),
    ("key stops rotating", "sandbox", _property("aws:kms/key:Key", "models-key", "enableKeyRotation", False), {"key-without-rotation"}),
    ("no drain budget any more", "prod-eu", _dropped("kubernetes:policy/v1:PodDisruptionBudget", "research-floor"), {"deployment-without-disruption-budget"}),
]  # fmt: skip


def mutations() -> list[Mutation]:
    """All of them."""
    raw = [
        Mutation(name=name, stack="sandbox", change=_added(*given), expected=frozenset(expected))
        for name, given, expected in RAW
    ]
    return raw + [
        Mutation(name=name, stack=stack, change=change, expected=frozenset(expected))
        for name, stack, change, expected in CHANGED
        if expected
    ]


def harmless() -> list[Mutation]:
    """Changes that look like the ones above and break nothing."""
    return [
        Mutation(name=name, stack=stack, change=change, expected=frozenset())
        for name, stack, change, expected in CHANGED
        if not expected
    ]
