"""The sandbox's own certificate authority and the certificates of the control plane.

Everything speaks TLS, as on EKS, and a client is who its certificate says: common name = user, organization = group
(Kubernetes documentation, "X.509 client certificates"). Made once for a sandbox; a certificate that misses, is about to
expire or belongs to another authority is made again.
"""

from __future__ import annotations

import datetime
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from headrace_sandbox.kubernetes.layout import SERVICE_ADDRESS, write_private

_LIFE: Final = datetime.timedelta(days=365)
_RENEW_BEFORE: Final = datetime.timedelta(days=30)
_BACKDATED: Final = datetime.timedelta(minutes=5)  # a clock set back a little must not make a certificate "not yet"
MASTERS: Final = "system:masters"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A certificate to make: `user` and `groups` for clients, `names` (DNS or IP) for servers; may be both."""

    file: str
    user: str
    groups: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    authority: str = "ca"


_LOOPBACK: Final = ("localhost", "127.0.0.1")
SUBJECTS: Final[tuple[Subject, ...]] = (
    Subject(file="etcd", user="etcd", names=_LOOPBACK),
    Subject(file="etcd-client", user="kube-apiserver-etcd-client"),
    Subject(
        file="kube-apiserver",
        user="kube-apiserver",
        names=(*_LOOPBACK, "kubernetes", "kubernetes.default", "kubernetes.default.svc", SERVICE_ADDRESS),
    ),
    # An authority of its own: whoever holds a certificate of it may speak for any user (aggregated APIs).
    Subject(file="front-proxy-client", user="front-proxy-client", authority="front-proxy-ca"),
    Subject(file="webhook-client", user="headrace:kube-apiserver-webhooks"),
    Subject(file="eks-authenticator", user="headrace:eks-authenticator", groups=(MASTERS,), names=_LOOPBACK),
    Subject(file="controller-manager", user="system:kube-controller-manager", names=_LOOPBACK),
    Subject(file="scheduler", user="system:kube-scheduler", names=_LOOPBACK),
    Subject(file="kwok", user="headrace:kwok", groups=(MASTERS,)),
    Subject(file="eks-nodes", user="headrace:eks-nodes", groups=(MASTERS,)),
    Subject(file="admin", user="headrace:sandbox-admin", groups=(MASTERS,)),
)
"""KWOK plays kubelets and the node controller plays EC2, both for every node and pod, so they hold all rights."""


@dataclass(frozen=True, kw_only=True)
class Authority:
    """A certificate authority in memory."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def ensure(folder: Path, *, now: datetime.datetime, subjects: Sequence[Subject] = SUBJECTS) -> None:
    """Make what misses under `folder`: authorities and certificates (.crt, .key), sa.key/sa.pub, encryption.key."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    authorities = {name: _authority(folder, name, now) for name in sorted({one.authority for one in subjects})}
    for subject in subjects:
        authority = authorities[subject.authority]
        if not _usable(folder / f"{subject.file}.crt", folder / f"{subject.file}.key", authority, subject, now):
            certificate, key = issue(authority, subject, now=now)
            write_private(folder / f"{subject.file}.key", _key_pem(key))
            write_private(folder / f"{subject.file}.crt", certificate.public_bytes(serialization.Encoding.PEM))
    if not (folder / "sa.pub").is_file():
        key = ec.generate_private_key(ec.SECP256R1())
        write_private(folder / "sa.key", _key_pem(key))
        write_private(
            folder / "sa.pub",
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        )
    if not (folder / "encryption.key").is_file():
        write_private(folder / "encryption.key", secrets.token_bytes(32))


def _authority(folder: Path, name: str, now: datetime.datetime) -> Authority:
    certificate_path, key_path = folder / f"{name}.crt", folder / f"{name}.key"
    if certificate_path.is_file() and key_path.is_file():
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        if (
            isinstance(key, ec.EllipticCurvePrivateKey)
            and key.public_key() == certificate.public_key()
            and certificate.not_valid_after_utc - now > _RENEW_BEFORE
        ):
            return Authority(certificate=certificate, key=key)
    made = new_authority(now=now)
    write_private(key_path, _key_pem(made.key))
    write_private(certificate_path, made.certificate.public_bytes(serialization.Encoding.PEM))
    return made


def new_authority(*, now: datetime.datetime) -> Authority:
    """A self-signed authority that may sign end certificates only."""
    key = ec.generate_private_key(ec.SECP256R1())
    # Unique, so that a client that trusts an older sandbox's authority says "unknown authority", not "bad signature".
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"headrace sandbox {secrets.token_hex(4)}")])
    certificate = (
        _builder(name, name, key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate=certificate, key=key)


def issue(
    authority: Authority, subject: Subject, *, now: datetime.datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate for one subject: client use always, server use where it has names."""
    key = ec.generate_private_key(ec.SECP256R1())
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if subject.names else [])]
    builder = (
        _builder(_subject_name(subject), authority.certificate.subject, key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    if subject.names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(n) for n in subject.names]), False)  # noqa: FBT003 - positional in cryptography's own signature
    return builder.sign(authority.key, hashes.SHA256()), key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFE)
    )


def _subject_name(subject: Subject) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in subject.groups]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, subject.user)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _usable(certificate: Path, key: Path, authority: Authority, subject: Subject, now: datetime.datetime) -> bool:
    """Whether the files hold a valid pair for the subject, signed by this authority."""
    if not (certificate.is_file() and key.is_file()):
        return False
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    try:
        found.verify_directly_issued_by(authority.certificate)
    except (InvalidSignature, ValueError):
        return False
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    if private.public_key() != found.public_key() or found.not_valid_after_utc - now <= _RENEW_BEFORE:
        return False
    return found.subject == _subject_name(subject) and _names(found) == tuple(_alternative(n) for n in subject.names)


def _names(certificate: x509.Certificate) -> tuple[x509.GeneralName, ...]:
    try:
        return tuple(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
