"""DataStores: what the router's replicas share, a cache for leases and a database for records."""

import secrets
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_aws as aws

from headrace.rules.facts import DataStoresFacts
from headrace.settings.data_stores import DataStoreSettings
from headrace_components import documents, inputs, logs
from headrace_components.place import Place, PlaceArgs, account_of, read_place
from headrace_components.tags import cost_tags, named

REDIS_PORT = 6379
POSTGRES_PORT = 5432
DATABASE = "headrace"
MASTER = "headrace_master"
ROUTER_ROLE = "headrace_router"
FLOOR_ROLE = "headrace_floor"
# Where the router's image keeps the certificates of RDS (images/router/Dockerfile).
CERTIFICATES = "/etc/ssl/certs/rds-global-bundle.pem"
LOGS = ("postgresql", "upgrade")
# Leases must not be evicted to make room: a share that vanishes is given out twice.
CACHE_PARAMETERS = {"maxmemory-policy": "noeviction"}
DATABASE_PARAMETERS = {
    "rds.force_ssl": "1",
    "log_connections": "1",
    "log_disconnections": "1",
    "log_min_duration_statement": "1000",
}


class CacheArgs(TypedDict):
    """The cache."""

    node_type: NotRequired[str]
    """Machine of each node."""
    engine_version: NotRequired[str]
    """Valkey version."""
    nodes: NotRequired[int]
    """Primary and replicas."""
    snapshot_retention_days: NotRequired[int]
    """Days that snapshots are kept."""


class DatabaseArgs(TypedDict):
    """The database."""

    instance_class: NotRequired[str]
    """Machine."""
    engine_version: NotRequired[str]
    """PostgreSQL's major version."""
    storage_gib: NotRequired[int]
    """Storage at the start."""
    max_storage_gib: NotRequired[int]
    """Most that storage grows to by itself."""
    multi_zone: NotRequired[bool]
    """Whether a standby in another zone takes over."""
    backup_retention_days: NotRequired[int]
    """Days that point-in-time recovery reaches back."""
    deletion_protection: NotRequired[bool]
    """Whether the database refuses to be deleted."""
    log_retention_days: NotRequired[int]
    """Days that logs are kept."""


class DataStoresArgs(TypedDict):
    """Arguments of `DataStores`."""

    place: PlaceArgs
    """Where the stores belong."""
    vpc_id: pulumi.Input[str]
    """Their VPC."""
    subnet_ids: dict[str, pulumi.Input[str]]
    """Subnets by zone; none may have a route to the internet."""
    cache: NotRequired[CacheArgs]
    """The cache."""
    database: NotRequired[DatabaseArgs]
    """The database."""
    credentials_version: NotRequired[int]
    """Raise it to replace the credentials by new ones."""
    hourly_floor: NotRequired[bool]
    """Whether a floor follows its traffic, for which the database has a role of its own."""
    tags: NotRequired[dict[str, str]]
    """Tags beside the cost tags."""


class DataStores(pulumi.ComponentResource):
    """A Valkey replication group and a PostgreSQL instance over zones, in subnets without a way out, encrypted at rest
    and in transit, that admit one security group: whoever is in it may connect. Credentials are made here and kept in
    Secrets Manager; the database's master password never leaves RDS."""

    client_security_group_id: pulumi.Output[str]
    """Members of this group may connect."""
    redis_url: pulumi.Output[str]
    """Address of the cache with its credential; a secret."""
    postgres_dsn: pulumi.Output[str]
    """Address of the database with the router's credential; a secret."""
    floor_dsn: pulumi.Output[str]
    """Address of the database with the credential of the hourly floor's role; a secret, empty where there is none."""
    master_secret_arn: pulumi.Output[str]
    """The secret that RDS keeps the master's password in; only whoever makes tables needs it."""
    key_arn: pulumi.Output[str]
    """The key of stores and credentials."""

    def __init__(self, name: str, args: DataStoresArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        place = read_place(args["place"])
        settings = inputs.read(DataStoreSettings, args, "dataStores")
        facts = data_stores_facts(name, place, settings, tuple(args["subnet_ids"])).to_props()
        super().__init__("headrace:index:DataStores", name, {"facts": facts}, opts)
        self._name = name
        self._args = args
        self._place = place
        self._options = pulumi.ResourceOptions(parent=self)
        self._tags = cost_tags(place.owner(), name, args.get("tags"))
        self._account = account_of(opts)
        self._generation = settings.credentials_version
        self._key = logs.encryption_key(
            self,
            name,
            f"Data stores of the router of {place.prefix}",
            documents.key_policy(self._account),
            f"headrace/{place.prefix}/{name}",
            self._tags,
        )
        self.key_arn = self._key.arn
        clients = self._group("clients", "Those who may connect to the router's data stores")
        self.client_security_group_id = clients.id
        self._cache(settings, clients)
        self._database(settings, clients)
        self.register_outputs(
            {
                "client_security_group_id": self.client_security_group_id,
                "redis_url": self.redis_url,
                "postgres_dsn": self.postgres_dsn,
                "floor_dsn": self.floor_dsn,
                "master_secret_arn": self.master_secret_arn,
                "key_arn": self.key_arn,
                "facts": facts,
            }
        )

    def _group(self, role: str, description: str) -> aws.ec2.SecurityGroup:
        """A security group without any rule."""
        return aws.ec2.SecurityGroup(
            f"{self._name}-{role}",
            vpc_id=self._args["vpc_id"],
            description=description,
            tags=named(self._tags, f"{self._place.prefix}-{self._name}-{role}"),
            opts=self._options,
        )

    def _admitting(self, role: str, clients: aws.ec2.SecurityGroup, port: int) -> aws.ec2.SecurityGroup:
        """A group that lets `clients` in on one port, and nothing out."""
        group = self._group(role, f"The {role} of the router: its clients in, nothing out")
        aws.vpc.SecurityGroupIngressRule(
            f"{self._name}-{role}",
            security_group_id=group.id,
            referenced_security_group_id=clients.id,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description="The router's machines",
            tags=self._tags,
            opts=self._options,
        )
        return group

    def _credential(self, role: str, description: str) -> pulumi.Output[str]:
        """A random credential, made once and kept in Secrets Manager."""
        secret = aws.secretsmanager.Secret(
            f"{self._name}-{role}",
            name=f"headrace/{self._place.prefix}/{self._name}/{role}",
            description=description,
            kms_key_id=self._key.arn,
            recovery_window_in_days=documents.recovery_days(self._place.stage),
            tags=self._tags,
            opts=self._options,
        )
        version = aws.secretsmanager.SecretVersion(
            f"{self._name}-{role}{f'-{self._generation}' if self._generation > 1 else ''}",
            secret_id=secret.id,
            # Of the alphabet that both a URL and ElastiCache take. Each run makes one, the first one is kept.
            secret_string=pulumi.Output.secret(secrets.token_urlsafe(48)),
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["secretString"]),
        )
        return version.secret_string.apply(str)

    def _cache(self, settings: DataStoreSettings, clients: aws.ec2.SecurityGroup) -> None:
        name, cache = self._name, settings.cache
        token = self._credential("cache", "AUTH token of the router's cache")
        subnets = aws.elasticache.SubnetGroup(
            name,
            description=f"Cache of the router of {self._place.prefix}",
            subnet_ids=list(self._args["subnet_ids"].values()),
            tags=self._tags,
            opts=self._options,
        )
        parameters = aws.elasticache.ParameterGroup(
            name,
            family=f"valkey{cache.engine_version.partition('.')[0]}",
            description=f"Cache of the router of {self._place.prefix}",
            parameters=[{"name": key, "value": value} for key, value in sorted(CACHE_PARAMETERS.items())],
            tags=self._tags,
            opts=self._options,
        )
        group = aws.elasticache.ReplicationGroup(
            name,
            description=f"Leases and counters of the router of {self._place.prefix}",
            engine="valkey",
            engine_version=cache.engine_version,
            node_type=cache.node_type,
            num_cache_clusters=cache.nodes,
            automatic_failover_enabled=cache.nodes > 1,
            multi_az_enabled=cache.nodes > 1,
            port=REDIS_PORT,
            at_rest_encryption_enabled=True,
            kms_key_id=self._key.arn,
            transit_encryption_enabled=True,
            auth_token=token,
            parameter_group_name=parameters.name,
            subnet_group_name=subnets.name,
            security_group_ids=[self._admitting("cache", clients, REDIS_PORT).id],
            snapshot_retention_limit=cache.snapshot_retention_days,
            auto_minor_version_upgrade=True,
            tags=named(self._tags, f"{self._place.prefix}-{name}"),
            opts=self._options,
        )
        self.redis_url = pulumi.Output.secret(
            pulumi.Output.all(token, group.primary_endpoint_address).apply(
                lambda parts: f"rediss://:{parts[0]}@{parts[1]}:{REDIS_PORT}/0"
            )
        )

    def _database(self, settings: DataStoreSettings, clients: aws.ec2.SecurityGroup) -> None:
        name, wanted = self._name, settings.database
        identifier = f"{self._place.prefix}-records"
        password = self._credential("database", f"Password of {ROUTER_ROLE}, the router's role in the database")
        log_groups = [
            logs.log_group(
                self,
                f"{name}-{kind}",
                account=self._account,
                region=self._place.region,
                # The names that RDS writes to; made here, they have a retention and a key.
                log_group_name=f"/aws/rds/instance/{identifier}/{kind}",
                retention_days=wanted.log_retention_days,
                tags=self._tags,
            )
            for kind in LOGS
        ]
        subnets = aws.rds.SubnetGroup(
            name,
            description=f"Database of the router of {self._place.prefix}",
            subnet_ids=list(self._args["subnet_ids"].values()),
            tags=self._tags,
            opts=self._options,
        )
        parameters = aws.rds.ParameterGroup(
            name,
            family=f"postgres{wanted.engine_version}",
            description=f"Database of the router of {self._place.prefix}",
            parameters=[
                {"name": key, "value": value, "apply_method": "immediate"}
                for key, value in sorted(DATABASE_PARAMETERS.items())
            ],
            tags=self._tags,
            opts=self._options,
        )
        database = aws.rds.Instance(
            name,
            identifier=identifier,
            engine="postgres",
            engine_version=wanted.engine_version,
            instance_class=wanted.instance_class,
            allocated_storage=wanted.storage_gib,
            max_allocated_storage=wanted.max_storage_gib,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=self._key.arn,
            db_name=DATABASE,
            username=MASTER,
            # RDS makes, keeps and rotates the master's password; it is in no state and no program.
            manage_master_user_password=True,
            master_user_secret_kms_key_id=self._key.arn,
            multi_az=wanted.multi_zone,
            publicly_accessible=False,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[self._admitting("database", clients, POSTGRES_PORT).id],
            parameter_group_name=parameters.name,
            backup_retention_period=wanted.backup_retention_days,
            copy_tags_to_snapshot=True,
            deletion_protection=wanted.deletion_protection,
            enabled_cloudwatch_logs_exports=list(LOGS),
            auto_minor_version_upgrade=True,
            delete_automated_backups=not wanted.deletion_protection,
            skip_final_snapshot=not wanted.deletion_protection,
            final_snapshot_identifier=f"{identifier}-final" if wanted.deletion_protection else None,
            tags=named(self._tags, identifier),
            opts=pulumi.ResourceOptions(parent=self, depends_on=log_groups),
        )
        self.master_secret_arn = database.master_user_secrets.apply(_secret_arn)
        self.postgres_dsn = _dsn(ROUTER_ROLE, password, database.address)
        self.floor_dsn = pulumi.Output.secret("")
        if self._args.get("hourly_floor"):
            following = self._credential("floor", f"Password of {FLOOR_ROLE}, the hourly floor's role in the database")
            self.floor_dsn = _dsn(FLOOR_ROLE, following, database.address)


def _dsn(role: str, password: pulumi.Output[str], address: pulumi.Output[str]) -> pulumi.Output[str]:
    return pulumi.Output.secret(
        pulumi.Output.all(password, address).apply(
            lambda parts: (
                f"postgresql://{role}:{parts[0]}@{parts[1]}:{POSTGRES_PORT}/{DATABASE}"
                f"?sslmode=verify-full&sslrootcert={CERTIFICATES}"
            )
        )
    )


def _secret_arn(found: Any) -> str:
    return str(found[0].secret_arn) if found else ""


def data_stores_facts(name: str, place: Place, settings: DataStoreSettings, zones: tuple[str, ...]) -> DataStoresFacts:
    """What the stores are, as settings say it."""
    cache, database = settings.cache, settings.database
    return DataStoresFacts(
        **place.facts(),
        name=name,
        zones=zones,
        subnets_private=True,
        publicly_accessible=False,
        admits=("router",),
        key_rotation=True,
        cache_engine="valkey",
        cache_version=cache.engine_version,
        cache_nodes=cache.nodes,
        cache_multi_zone=cache.nodes > 1,
        cache_encrypted_at_rest=True,
        cache_encrypted_in_transit=True,
        cache_authenticated=True,
        database_engine="postgres",
        database_version=database.engine_version,
        database_multi_zone=database.multi_zone,
        database_encrypted_at_rest=True,
        database_tls_required=DATABASE_PARAMETERS["rds.force_ssl"] == "1",
        database_password_managed=True,
        database_deletion_protection=database.deletion_protection,
        database_backup_retention_days=database.backup_retention_days,
        database_logs_exported=LOGS,
        database_log_retention_days=database.log_retention_days,
        credentials_in_secrets_manager=True,
    )
