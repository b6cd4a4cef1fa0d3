"""What the router's replicas share: counters and leases in a cache, records in a database."""

from __future__ import annotations

from pydantic import Field

from headrace.settings.base import SettingsModel


class CacheSettings(SettingsModel):
    """ElastiCache for Valkey: shares of caps, limits and budgets. It can be lost without losing a record."""

    node_type: str = Field(default="cache.t4g.small", pattern=r"^cache\.[a-z0-9]+\.[a-z0-9]+$")
    """Machine of each node."""
    engine_version: str = Field(default="8.0", pattern=r"^[789]\.\d+$")
    """Valkey version."""
    nodes: int = Field(default=2, ge=1, le=6)
    """Primary and replicas, spread over the zones; two or more fail over by themselves."""
    snapshot_retention_days: int = Field(default=0, ge=0, le=35)
    """Days that snapshots are kept; leases are worth nothing after a minute, so none by default."""


class DatabaseSettings(SettingsModel):
    """RDS for PostgreSQL: where the journals of all replicas are drained to."""

    instance_class: str = Field(default="db.t4g.medium", pattern=r"^db\.[a-z0-9]+\.[a-z0-9]+$")
    """Machine."""
    engine_version: str = Field(default="17", pattern=r"^1[5-9]$")
    """PostgreSQL's major version; minor ones follow in the maintenance window."""
    storage_gib: int = Field(default=50, ge=20)
    """Storage at the start in GiB."""
    max_storage_gib: int = Field(default=500, ge=20)
    """Most that storage grows to by itself in GiB."""
    multi_zone: bool = True
    """Whether a standby in another zone takes over."""
    backup_retention_days: int = Field(default=14, ge=1, le=35)
    """Days that point-in-time recovery reaches back."""
    deletion_protection: bool = True
    """Whether the database refuses to be deleted."""
    log_retention_days: int = Field(default=90, ge=1)
    """Days that PostgreSQL's logs are kept."""


class DataStoreSettings(SettingsModel):
    """What the router's replicas share."""

    cache: CacheSettings = CacheSettings()
    """Counters and leases."""
    database: DatabaseSettings = DatabaseSettings()
    """Records."""
    credentials_version: int = Field(default=1, ge=1)
    """Raise it to replace the credentials of cache and database by new ones."""
