"""What the control plane is started with: private keys, loopback, one authority, nothing secret in an argument."""

from __future__ import annotations

import datetime
import json
import re
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from headrace.errors import Refused
from headrace_sandbox import gobuild
from headrace_sandbox.kubernetes import aws_shim, commands, configuration, pki, services
from headrace_sandbox.kubernetes.layout import KUBERNETES_VERSION, Layout, layout, write_private
from headrace_sandbox.service import SandboxContext

NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)


@pytest.fixture
def at(tmp_path: Path) -> Layout:
    ports: dict[str, int] = {}
    return layout(SandboxContext(directory=tmp_path, port=lambda name: ports.setdefault(name, 40000 + len(ports))))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_preparing_twice_changes_nothing(at: Layout) -> None:
    configuration.prepare(at, now=NOW)
    first = files(at.directory)
    configuration.prepare(at, now=NOW + datetime.timedelta(days=1))
    assert files(at.directory) == first, "a running part must not meet other certificates"


def test_everything_written_is_for_its_owner_only(at: Layout) -> None:
    configuration.prepare(at, now=NOW)
    for path in at.directory.rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, f"{path} can be read by others"


def test_a_certificate_near_its_end_is_renewed_and_its_authority_kept(at: Layout) -> None:
    pki.ensure(at.pki, now=NOW)
    before = files(at.pki)
    short = (*pki.SUBJECTS[:-1], pki.Subject(file="admin", user="renamed"))
    pki.ensure(at.pki, now=NOW, subjects=short)
    after = files(at.pki)
    assert {name for name in after if after[name] != before[name]} == {"admin.crt", "admin.key"}
    pki.ensure(at.pki, now=NOW + datetime.timedelta(days=340))
    assert files(at.pki)["ca.crt"] != before["ca.crt"], "an authority near its end is renewed with all below it"


def test_clients_are_who_their_certificate_says_and_servers_answer_for_loopback(at: Layout) -> None:
    pki.ensure(at.pki, now=NOW)
    ca = x509.load_pem_x509_certificate((at.pki / "ca.crt").read_bytes())
    server = x509.load_pem_x509_certificate((at.pki / "kube-apiserver.crt").read_bytes())
    server.verify_directly_issued_by(ca)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "172.20.0.1"]
    proxy = x509.load_pem_x509_certificate((at.pki / "front-proxy-client.crt").read_bytes())
    assert proxy.issuer != ca.subject, "who may speak for others is signed by another authority"


def test_no_argument_holds_a_key_or_listens_beyond_loopback(at: Layout) -> None:
    configuration.prepare(at, now=NOW)
    binary = Path("/bin/true")
    argvs = [
        make(binary, at)
        for make in (commands.etcd, commands.api_server, commands.controller_manager, commands.scheduler, commands.kwok)
    ] + [commands.authenticator(at), commands.nodes(at)]
    secrets = [path.read_bytes() for path in at.pki.glob("*.key")]
    for argv in argvs:
        # The issuer is a name inside tokens, not an address that anything listens on or calls.
        text = "\0".join(one for one in argv if not one.startswith("--service-account-issuer="))
        assert not any(secret in text.encode() for secret in secrets)
        for address in re.findall(r"(?:https?://|address=)([0-9a-z.:\[\]]+)", text):
            assert address.startswith("127.0.0.1"), f"{argv[0]} names {address}"


def test_names_of_versions_agree() -> None:
    module = gobuild.MODULES / "kubernetes"
    assert f"k8s.io/kubernetes {KUBERNETES_VERSION}" in (module / "go.mod").read_text(encoding="utf-8")
    made = gobuild.recipe(module)
    assert f"v{made.version}" == KUBERNETES_VERSION
    assert f"gitVersion={KUBERNETES_VERSION}" in made.ldflags
    for name, package in (("etcd", "go.etcd.io/etcd/server/v3"), ("kwok", "sigs.k8s.io/kwok")):
        folder = gobuild.MODULES / name
        assert f"{package} v{gobuild.recipe(folder).version}" in (folder / "go.mod").read_text(encoding="utf-8")


def test_every_staging_module_is_pinned_beside_kubernetes() -> None:
    text = (gobuild.MODULES / "kubernetes" / "go.mod").read_text(encoding="utf-8")
    replaced = re.findall(r"^\t(k8s\.io/\S+) => (\S+) (\S+)$", text, re.MULTILINE)
    assert len(replaced) == 33
    assert all(name == target and version == "v0.36.3" for name, target, version in replaced)


def test_the_description_for_the_aws_stand_in_names_server_and_authority(at: Layout) -> None:
    configuration.prepare(at, now=NOW)
    described = json.loads(at.description.read_text(encoding="utf-8"))
    assert described == {"url": at.api_url, "ca_pem_path": str(at.pki / "ca.crt")}


def test_known_credentials_are_added_to_and_never_taken(at: Layout) -> None:
    configuration.know_credentials(at, {"AKIA1": "one"})
    at.aws_credentials.write_text(json.dumps({"AKIA1": "one", "AKIA2": "a test's own"}), encoding="utf-8")
    configuration.know_credentials(at, {"AKIA1": "one", "AKIA3": "three"})
    assert set(json.loads(at.aws_credentials.read_text(encoding="utf-8"))) == {"AKIA1", "AKIA2", "AKIA3"}


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_private(path, "one")
    inode = path.stat().st_ino
    write_private(path, "one")
    assert path.stat().st_ino == inode
    write_private(path, "two")
    assert path.read_text() == "two"
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_the_aws_executable_finds_its_python_wherever_it_is(tmp_path: Path) -> None:
    shim = services.install_aws_shim(tmp_path / ("deep" * 40) / "bin")
    ran = subprocess.run([shim, "s3", "ls"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "knows only `eks get-token" in ran.stderr


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "https://sts.eu-central-1.amazonaws.com"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1/"}, "http://127.0.0.1:1"),
        ({"AWS_ENDPOINT_URL": "http://x", "AWS_ENDPOINT_URL_STS": "http://y"}, "http://y"),
    ],
)
def test_sts_is_found_as_the_aws_sdks_find_it(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert aws_shim.sts_url("eu-central-1") == expected


def test_options_are_read_in_any_order_and_form() -> None:
    expected = {"--cluster-name": "prod", "--region": "r", "--output": "json"}
    assert (
        aws_shim.options(["--region", "r", "eks", "get-token", "--cluster-name=prod", "--output", "json"]) == expected
    )
    for wrong in (["eks", "get-token", "--cluster-name"], ["eks", "get-token", "--cluster-name", "x", "--debug"]):
        with pytest.raises(Refused, match="knows only"):
            aws_shim.options(wrong)


def test_the_credential_speaks_the_version_it_is_asked_for() -> None:
    v1 = "client.authentication.k8s.io/v1"
    assert aws_shim.api_version(json.dumps({"apiVersion": v1})) == v1
    for other in ("", "nonsense", "[]", json.dumps({"apiVersion": "x/v9"})):
        assert aws_shim.api_version(other) == f"{v1}beta1"
    made = aws_shim.credential("t", now=NOW, api_version=v1)
    assert made["status"] == {"expirationTimestamp": "2026-11-21T00:14:00Z", "token": "t"}
