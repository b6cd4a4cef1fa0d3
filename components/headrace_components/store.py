"""ModelStore: where immutable model releases and their images live."""

from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_aws as aws

from headrace.errors import refuse
from headrace.rules.facts import ModelStoreFacts, ReleaseFacts
from headrace.settings.releases import ModelRelease
from headrace.settings.store import ModelStoreSettings
from headrace_components import documents, inputs, logs
from headrace_components.images import Registry
from headrace_components.locked_bucket import locked_bucket
from headrace_components.place import Place, PlaceArgs, account_of, read_place
from headrace_components.pool_plan import release_facts
from headrace_components.repositories import CACHE_LIFECYCLE, MIRROR_LIFECYCLE, mirror_repositories, upstream_url
from headrace_components.tags import cost_tags

# Governance: a principal with a special permission can still remove a release that should never have been stored. The
# audit trail, which nobody may shorten, has compliance mode.
OBJECT_LOCK_MODE = "GOVERNANCE"
MAX_BUCKET_NAME = 63


class ModelStoreArgs(TypedDict):
    """Arguments of `ModelStore`."""

    place: PlaceArgs
    """Where the store belongs."""
    s3_endpoint_id: NotRequired[pulumi.Input[str]]
    """The S3 endpoint through which objects are read. Either this or `vpc_id`."""
    vpc_id: NotRequired[pulumi.Input[str]]
    """The VPC whose S3 endpoint reads objects, where that endpoint is somebody else's."""
    bucket_name: NotRequired[str]
    """Name of the bucket; `<organization>-<environment>-models-<account>` by default."""
    retention_days: NotRequired[int]
    """Days for which no stored release can be changed or deleted."""
    upstream_registries: NotRequired[dict[str, str]]
    """Repository prefix -> upstream registry to cache under it."""
    upstream_credential_arns: NotRequired[dict[str, str]]
    """Repository prefix -> secret with the upstream's login."""
    reader_role_arns: NotRequired[list[str]]
    """Roles that reach objects from outside the VPC, such as the one that publishes releases."""
    releases: NotRequired[dict[str, Any]]
    """The releases that settings name; images that no cache can serve get a repository."""
    images: NotRequired[list[str]]
    """Further images that nodes pull."""
    tags: NotRequired[dict[str, str]]
    """Tags beside the cost tags."""


class ModelStore(pulumi.ComponentResource):
    """A versioned, KMS-encrypted bucket with object lock that only the VPC endpoint and named roles pass, and the
    registries from which nodes without internet pull: repositories with immutable tags and scanning, and pull-through
    caches."""

    bucket_name: pulumi.Output[str]
    """The bucket of model releases."""
    key_arn: pulumi.Output[str]
    """The key that encrypts releases and images."""
    registry_host: pulumi.Output[str]
    """Host of the account's registry."""

    def __init__(self, name: str, args: ModelStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        place = read_place(args["place"])
        settings = inputs.read(ModelStoreSettings, args, "modelStore")
        releases = {
            release: inputs.read_model(ModelRelease, values, f"releases.{release}")
            for release, values in args.get("releases", {}).items()
        }
        account = account_of(opts)
        self.registry = Registry(account_id=account.id, region=place.region, caches=dict(settings.upstream_registries))
        images = [*(release.image for release in releases.values()), *args.get("images", [])]
        repositories = mirror_repositories(self.registry, images)
        bucket_name = settings.bucket_name or default_bucket_name(place, account.id)
        facts = store_facts(
            place,
            settings,
            bucket_name,
            self.registry,
            repositories,
            tuple(release_facts(release, values) for release, values in sorted(releases.items())),
        ).to_props()
        super().__init__("headrace:index:ModelStore", name, {"facts": facts}, opts)
        self._options = pulumi.ResourceOptions(parent=self)
        self._tags = cost_tags(place.owner(), "model-store", args.get("tags"))
        self._place = place
        self._account = account
        key = logs.encryption_key(
            self,
            name,
            f"Model releases and images of {place.prefix}",
            documents.key_policy(account),
            f"headrace/{place.prefix}/{name}",
            self._tags,
        )
        self._bucket(name, settings, bucket_name, key, *_source(args))
        self._repositories(name, repositories, key)
        self._caches(name, settings, key)
        self.bucket_name = pulumi.Output.from_input(bucket_name)
        self.key_arn = key.arn
        self.registry_host = pulumi.Output.from_input(self.registry.host)
        self.register_outputs(
            {
                "bucket_name": self.bucket_name,
                "key_arn": self.key_arn,
                "registry_host": self.registry_host,
                "facts": facts,
            }
        )

    def _bucket(
        self,
        name: str,
        settings: ModelStoreSettings,
        bucket_name: str,
        key: aws.kms.Key,
        source_key: str,
        source: pulumi.Input[str],
    ) -> None:
        bucket = locked_bucket(
            self,
            name,
            bucket_name=bucket_name,
            key=key,
            lock_mode=OBJECT_LOCK_MODE,
            retention_days=settings.retention_days,
            tags=self._tags,
        )
        aws.s3.BucketPolicy(
            name,
            bucket=bucket.id,
            policy=pulumi.Output.all(bucket.arn, key.arn, source).apply(
                lambda parts: documents.model_bucket_policy(
                    parts[0], parts[1], source_key, parts[2], settings.reader_role_arns
                )
            ),
            opts=self._options,
        )

    def _repositories(self, name: str, repositories: tuple[str, ...], key: aws.kms.Key) -> None:
        for repository in repositories:
            short = f"{name}-{repository.replace('/', '-').replace('.', '-')}"
            created = aws.ecr.Repository(
                short,
                name=repository,
                image_tag_mutability="IMMUTABLE",
                image_scanning_configuration={"scan_on_push": True},
                encryption_configurations=[{"encryption_type": "KMS", "kms_key": key.arn}],
                force_delete=False,
                tags=self._tags,
                opts=self._options,
            )
            aws.ecr.LifecyclePolicy(short, repository=created.name, policy=MIRROR_LIFECYCLE, opts=self._options)
        aws.ecr.RegistryScanningConfiguration(
            name,
            scan_type="BASIC",
            rules=[
                {
                    "scan_frequency": "SCAN_ON_PUSH",
                    "repository_filters": [{"filter": "*", "filter_type": "WILDCARD"}],
                }
            ],
            opts=self._options,
        )

    def _caches(self, name: str, settings: ModelStoreSettings, key: aws.kms.Key) -> None:
        if not settings.upstream_registries:
            return
        role = aws.iam.Role(
            f"{name}-cache",
            assume_role_policy=documents.trust("ecr.amazonaws.com"),
            description="ECR creates repositories of pull-through caches",
            tags=self._tags,
            opts=self._options,
        )
        allowed = aws.iam.RolePolicy(
            f"{name}-cache",
            role=role.name,
            policy=key.arn.apply(
                lambda arn: documents.creation_template_policy(self._account, self._place.region, arn)
            ),
            opts=self._options,
        )
        for prefix, upstream in sorted(settings.upstream_registries.items()):
            template = aws.ecr.RepositoryCreationTemplate(
                f"{name}-{prefix}",
                prefix=prefix,
                description=f"Cache of {upstream}",
                applied_fors=["PULL_THROUGH_CACHE"],
                image_tag_mutability="IMMUTABLE",
                encryption_configurations=[{"encryption_type": "KMS", "kms_key": key.arn}],
                lifecycle_policy=CACHE_LIFECYCLE,
                custom_role_arn=role.arn,
                resource_tags=self._tags,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[allowed]),
            )
            aws.ecr.PullThroughCacheRule(
                f"{name}-{prefix}",
                ecr_repository_prefix=prefix,
                upstream_registry_url=upstream_url(upstream),
                credential_arn=settings.upstream_credential_arns.get(prefix),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[template]),
            )


def default_bucket_name(place: Place, account_id: str) -> str:
    """`<organization>-<environment>-models-<account>`: the account id keeps strangers from taking the name first."""
    name = f"{place.prefix}-models-{account_id}"
    if len(name) > MAX_BUCKET_NAME:
        raise refuse(
            "modelStore.bucketName",
            name,
            f"must have at most {MAX_BUCKET_NAME} characters",
            reason="S3 allows no more",
            next_step="set `modelStore.bucketName`",
        )
    return name


def _source(args: ModelStoreArgs) -> tuple[str, pulumi.Input[str]]:
    """The condition key and value that mark a request as coming from our network."""
    if "s3_endpoint_id" in args:
        return "aws:SourceVpce", args["s3_endpoint_id"]
    if "vpc_id" in args:
        return "aws:SourceVpc", args["vpc_id"]
    raise refuse(
        "modelStore.s3EndpointId",
        None,
        "must be given, or else `vpcId`",
        reason="objects can be read only from inside the network",
        next_step="pass the S3 endpoint of `PrivateNetwork`",
    )


def store_facts(
    place: Place,
    settings: ModelStoreSettings,
    bucket_name: str,
    registry: Registry,
    repositories: tuple[str, ...],
    releases: tuple[ReleaseFacts, ...],
) -> ModelStoreFacts:
    """What the store is, as settings say it."""
    return ModelStoreFacts(
        **place.facts(),
        bucket=bucket_name,
        versioned=True,
        encrypted=True,
        key_rotation=True,
        object_lock_mode=OBJECT_LOCK_MODE.lower(),
        retention_days=settings.retention_days,
        public_access_blocked=True,
        restricted_to_endpoint=True,
        reader_role_arns=tuple(settings.reader_role_arns),
        registries=(registry.host,),
        immutable_tags=True,
        scan_on_push=True,
        pull_through_upstreams=tuple(sorted(settings.upstream_registries.values())),
        repositories=repositories,
        replication_regions=(),
        releases=releases,
    )
