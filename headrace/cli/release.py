"""`headrace release`: record immutable model releases in a stack file, list and show them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from headrace.errors import refuse
from headrace.settings.release_file import add as add_release
from headrace.settings.release_file import recorded_releases
from headrace.settings.suggest import did_you_mean

_SETTINGS_OPTION = click.option(
    "--settings",
    "settings_file",
    required=True,
    type=click.Path(path_type=Path),
    help="Stack file, for instance stacks/Pulumi.dev.yaml.",
)
_JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


@click.group()
def release() -> None:
    """Record model releases in settings."""


@release.command("add")
@click.argument("name")
@click.option("--artifact-uri", required=True, help="Where the weights lie: s3://bucket/prefix.")
@click.option("--artifact-digest", required=True, help="Digest of the artifact's manifest: sha256:…")
@click.option("--image", required=True, help="Image of the model server by digest: repository@sha256:…")
@click.option("--cuda", required=True, help="CUDA version inside the image, for instance 12.8.")
@click.option("--weights-gib", required=True, type=float, help="Weights in GPU memory, in GiB.")
@click.option("--kv-cache-kib-per-token", required=True, type=float, help="KV cache of one token, in KiB.")
@click.option("--max-context-tokens", required=True, type=int, help="Longest context of the model server.")
@click.option("--tensor-parallel", type=int, help="GPUs that one replica spans.")
@click.option("--min-compute-capability", help="Oldest GPU its kernels run on, for instance 8.9.")
@click.option("--quantization", help="Served precision where it isn't the model's own.")
@click.option("--serving-arg", multiple=True, help="Further argument of the model server; may be repeated.")
@click.option("--forward-compatibility-package", is_flag=True, help="The image brings cuda-compat.")
@_SETTINGS_OPTION
@_JSON_OPTION
def add(
    *,
    name: str,
    artifact_uri: str,
    artifact_digest: str,
    image: str,
    cuda: str,
    weights_gib: float,
    kv_cache_kib_per_token: float,
    max_context_tokens: int,
    tensor_parallel: int | None,
    min_compute_capability: str | None,
    quantization: str | None,
    serving_arg: Sequence[str],
    forward_compatibility_package: bool,
    settings_file: Path,
    as_json: bool,
) -> None:
    """Record the release NAME in a stack file. Doing it twice changes nothing; a name never changes its meaning."""
    values: dict[str, Any] = {
        "artifactUri": artifact_uri,
        "artifactDigest": artifact_digest,
        "image": image,
        "cudaVersion": cuda,
        "minimumComputeCapability": min_compute_capability,
        "quantization": quantization,
        "weightsGib": _plain(weights_gib),
        "kvCacheKibPerToken": _plain(kv_cache_kib_per_token),
        "maxContextTokens": max_context_tokens,
        "tensorParallel": tensor_parallel,
        "servingArgs": list(serving_arg) or None,
        "forwardCompatibilityPackage": forward_compatibility_package or None,
    }
    values = {key: value for key, value in values.items() if value is not None}
    changed = add_release(settings_file, name, values)
    if as_json:
        click.echo(json.dumps({"release": name, "file": str(settings_file), "changed": changed}))
    else:
        click.echo(f"{settings_file}: {'recorded' if changed else 'already has'} release {name}")


def _plain(number: float) -> int | float:
    return int(number) if number.is_integer() else number


@release.command("list")
@_SETTINGS_OPTION
@_JSON_OPTION
def list_releases(*, settings_file: Path, as_json: bool) -> None:
    """List the releases of a stack file."""
    releases = recorded_releases(settings_file)
    if as_json:
        click.echo(json.dumps(releases, indent=2))
        return
    if not releases:
        click.echo(f"{settings_file}: no releases; record one with `headrace release add`")
    for name, values in releases.items():
        digest = str(values.get("artifactDigest", ""))[:19]
        click.echo(f"{name:<22}{digest:<21}CUDA {values.get('cudaVersion', '?'):<7}{values.get('artifactUri', '')}")


@release.command("show")
@click.argument("name")
@_SETTINGS_OPTION
@_JSON_OPTION
def show(*, name: str, settings_file: Path, as_json: bool) -> None:
    """Show one release of a stack file."""
    releases = recorded_releases(settings_file)
    if name not in releases:
        raise refuse(
            "NAME", name, f"{settings_file} has no release of that name", next_step=did_you_mean(name, releases)
        )
    if as_json:
        click.echo(json.dumps({name: releases[name]}, indent=2))
        return
    click.echo(name)
    for key, value in releases[name].items():
        click.echo(f"  {key}: {value}")
