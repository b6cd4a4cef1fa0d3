"""The LiteLLM plug-in without LiteLLM: which releases may run, what of a request it sees, where its calls may go."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from headrace.catalog.load import compromised_releases
from headrace.cli.main import main
from headrace.cli.router_litellm import litellm
from headrace.errors import Refused
from headrace.router.litellm import clean, versions
from headrace.router.litellm.model_list import group_of, litellm_config
from headrace.router.litellm.transport import PoolTransport
from tests.unit.router.worlds import config, document

ROOT = Path(__file__).resolve().parents[3]
LOCK = (ROOT / "requirements-litellm.lock").read_text(encoding="utf-8")
COMPROMISED = [(row.package, version) for row in compromised_releases().values() for version in row.versions]


def site_packages(folder: Path, **installed: str) -> Path:
    """A folder with the metadata of distributions."""
    for name, version in installed.items():
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return folder


@pytest.mark.parametrize(("package", "version"), COMPROMISED)
def test_a_compromised_release_is_refused_by_name(package: str, version: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=re.escape(version)) as refused:
        versions.check(site_packages(tmp_path, **{package: version}))
    assert "compromised" in str(refused.value)
    assert "secrets" in str(refused.value), "the refusal says what to do about what has happened"


def test_the_compromised_releases_of_litellm_are_all_known() -> None:
    assert {version for package, version in COMPROMISED if package == "litellm"} >= {"1.82.7", "1.82.8", "1.107.0"}


def test_the_tested_release_is_taken_and_any_other_is_not(tmp_path: Path) -> None:
    assert versions.check(site_packages(tmp_path / "good", litellm=versions.TESTED)) == versions.TESTED
    with pytest.raises(Refused, match="known to be good"):
        versions.check(site_packages(tmp_path / "other", litellm="1.200.0"))
    with pytest.raises(Refused, match="not installed"):
        versions.check(site_packages(tmp_path / "none", other="1"))


def test_the_proprietary_part_is_refused(tmp_path: Path) -> None:
    folder = site_packages(tmp_path, litellm=versions.TESTED, **{"litellm-enterprise": "0.1.76"})
    with pytest.raises(Refused, match="paid agreement"):
        versions.check(folder)


def test_an_environment_is_exactly_its_lock(tmp_path: Path) -> None:
    lock = f"litellm=={versions.TESTED} \\\n    --hash=sha256:00\nnumpy==1 ; python_version < '3.12'\nnumpy==2\n"
    good = site_packages(tmp_path / "good", litellm=versions.TESTED, numpy="2", pip="26", headrace="0.1.0")
    versions.check(good, lock=lock)
    for name, packages in {"version": {"numpy": "3"}, "more": {"evil": "1"}}.items():
        with pytest.raises(Refused):
            versions.check(site_packages(tmp_path / name, litellm=versions.TESTED, **packages), lock=lock)


@pytest.mark.parametrize("name", ["litellm_init.pth", "cook.pth", "sitecustomize.py", "usercustomize.py"])
def test_a_file_that_runs_when_python_starts_is_refused_whoever_left_it_behind(name: str, tmp_path: Path) -> None:
    folder = site_packages(tmp_path, litellm=versions.TESTED)
    (folder / "distutils-precedence.pth").write_text("")
    versions.check(folder, lock=f"litellm=={versions.TESTED} \\\n")
    (folder / name).write_text("import os\n")
    with pytest.raises(Refused, match=re.escape(name)):
        versions.check(folder, lock=f"litellm=={versions.TESTED} \\\n")


def test_the_lock_pins_the_tested_release_with_hashes_and_without_the_proprietary_part() -> None:
    locked = versions.read_lock(LOCK)
    assert locked["litellm"] == {versions.TESTED}
    assert versions.PROPRIETARY not in locked
    assert not [pair for pair in COMPROMISED if pair[1] in locked.get(pair[0], ())]
    pinned = len(re.findall(r"^[a-z0-9].*==", LOCK, re.M))
    hashed = len(re.findall(r"^[a-z0-9].*== ?[^\n]*\\\n    --hash=sha256:", LOCK, re.M))
    assert pinned == hashed > 50, "every pin has its hashes"


def test_the_command_refuses_an_environment_in_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site_packages(tmp_path / "lib" / "python3.11" / "site-packages", litellm="1.107.0")
    with pytest.raises(SystemExit) as ended:
        main(["router", "litellm", "check", "--environment", str(tmp_path)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "1.107.0" in said and "Traceback" not in said, said


def test_litellm_gets_one_group_for_each_pool_and_decides_nothing() -> None:
    policy = config()
    made = litellm_config(policy)
    groups = [one["model_name"] for one in made["model_list"]]
    assert groups == ["floor", "floor:completions", "burst", "burst:completions"]
    assert [one["model_info"]["id"] for one in made["model_list"]] == groups
    assert made["router_settings"]["num_retries"] == 0
    assert made["router_settings"]["disable_cooldowns"] is True
    assert "fallbacks" not in json.dumps(made).replace("max_fallbacks", "")
    assert all(pool.url not in json.dumps(made) for pool in policy.pools.values()), "it knows no address"
    assert group_of("floor", "embeddings") == "floor"


def test_the_configuration_is_printed_from_the_routers(tmp_path: Path) -> None:
    file = tmp_path / "router.json"
    file.write_text(json.dumps(document()))
    result = CliRunner().invoke(litellm, ["render", "--config", str(file)])
    assert result.exit_code == 0, result.output
    assert "model_name: floor" in result.output


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda s: st.lists(s, max_size=2)
)


@given(st.dictionaries(st.text(max_size=12) | st.sampled_from(["model", "stream", "api_base", "tools"]), values))
def test_a_body_is_split_and_nothing_of_it_is_lost(body: dict[str, Any]) -> None:
    through, around = clean.seen(body), clean.beside(body)
    without = {name: value for name, value in body.items() if name != "stream_options"}
    assert {**through, **around} | without == {**through, **around}, "every field goes one way or the other"
    assert not (through.keys() & around.keys()) - {"stream_options"}
    assert not through.keys() & {"api_base", "api_key", "fallbacks", "mock_response", "metadata", "user_config"}


@pytest.mark.parametrize("asked", [True, False])
def test_the_usage_of_a_stream_is_always_asked_for_and_shown_to_whoever_asked(asked: bool) -> None:
    body = {"stream": True, "stream_options": {"include_usage": asked, "other": 1}}
    assert clean.beside(body)["stream_options"] == {"include_usage": True, "other": 1}
    assert ("stream_options" in clean.seen(body)) is asked


async def test_a_call_that_nobody_admitted_goes_nowhere() -> None:
    async with httpx.AsyncClient(transport=PoolTransport()) as client:
        with pytest.raises(httpx.ConnectError, match="did not admit"):
            await client.post("http://floor.pool.invalid/v1/chat/completions", json={})


class _Outside(httpx.AsyncBaseTransport):
    """Where calls to kept models go."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.urls.append(str(request.url))
        return httpx.Response(200, request=request)


@pytest.mark.parametrize(
    ("url", "goes"),
    [
        ("http://judge:9/v1/chat/completions", True),
        ("http://judge:9/v1/../v1/x", True),
        ("http://judge:9/v1/../admin", False),
        ("http://judge:9/v10/x", False),
        ("https://judge:9/v1/x", False),
        ("http://judge:8/v1/x", False),
        ("http://judge.evil:9/v1/x", False),
        ("http://judge:9@evil/v1/x", False),
        ("http://floor.pool.invalid/v1/chat/completions", False),
    ],
)
async def test_only_addresses_of_kept_models_are_let_out_beside_the_pools(
    url: str, goes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = _Outside()
    monkeypatch.setattr(httpx, "AsyncHTTPTransport", lambda: outside)
    async with httpx.AsyncClient(transport=PoolTransport(("http://judge:9/v1",))) as client:
        if goes:
            assert (await client.post(url, json={})).status_code == 200
        else:
            with pytest.raises(httpx.ConnectError, match="did not admit"):
                await client.post(url, json={})
    assert bool(outside.urls) is goes
