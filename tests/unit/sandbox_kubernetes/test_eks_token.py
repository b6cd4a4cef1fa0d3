"""A bearer token is taken only when it proves who signed it, and for which cluster."""

from __future__ import annotations

import base64
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_sandbox.kubernetes import aws_shim
from headrace_sandbox.kubernetes.authenticator import token

STS = "http://127.0.0.1:4566"
KEY = "a-test-secret"


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def made(cluster: str = "prod", secret: str = KEY, url: str = STS, session_token: str | None = None) -> str:
    return aws_shim.token(
        cluster=cluster,
        region="eu-central-1",
        access_key="AKIATEST",
        secret_key=secret,
        session_token=session_token,
        url=url,
    )


def edited(old: str, new: str) -> str:
    encoded = made().removeprefix(aws_shim.TOKEN_PREFIX)
    url = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    assert old in url, "the edit must hit something"
    changed = url.replace(old, new)
    return aws_shim.TOKEN_PREFIX + base64.urlsafe_b64encode(changed.encode()).decode().rstrip("=")


def test_a_token_of_the_shim_is_read_with_its_key_and_region() -> None:
    identity = token.read(made(), sts_endpoint=STS, now=now())
    assert (identity.access_key, identity.region) == ("AKIATEST", "eu-central-1")


@pytest.mark.parametrize("session_token", [None, "FwoGZXIvYXdzE+/=="])
def test_the_signature_tells_the_cluster_and_the_secret(session_token: str | None) -> None:
    identity = token.read(made(session_token=session_token), sts_endpoint=STS, now=now())
    assert token.signed_for(identity, cluster="prod", secret_key=KEY)
    assert not token.signed_for(identity, cluster="dev", secret_key=KEY), "the cluster's name is signed"
    assert not token.signed_for(identity, cluster="prod", secret_key="other"), "only the key's own secret signs"


def test_a_token_for_another_sts_is_refused() -> None:
    presented = made(url="https://sts.eu-central-1.amazonaws.com")
    with pytest.raises(token.TokenRefused, match="not for the STS of this cloud"):
        token.read(presented, sts_endpoint=STS, now=now())


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("GetCallerIdentity", "GetSessionToken", "action is not GetCallerIdentity"),
        ("SignedHeaders=host%3Bx-k8s-aws-id", "SignedHeaders=host", "not both signed"),
        ("X-Amz-Expires=60", "X-Amz-Expires=86400", "expiry is not within"),
        ("Version=2011-06-15", "Version=2011-06-15&Extra=1", "a token hasn't: 'Extra'"),
        ("Version=2011-06-15", "Version=2011-06-15&action=GetCallerIdentity", "stands there twice"),
        ("%2Fsts%2F", "%2Fs3%2F", "credential scope"),
        ("4566/?", "4566/elsewhere?", "path is not /"),
    ],
)
def test_an_altered_url_is_refused_with_the_rule_it_breaks(old: str, new: str, reason: str) -> None:
    with pytest.raises(token.TokenRefused, match=reason):
        token.read(edited(old, new), sts_endpoint=STS, now=now())


@pytest.mark.parametrize(
    ("shift", "reason"),
    [
        (datetime.timedelta(minutes=16), "more than 15 minutes ago"),
        (datetime.timedelta(minutes=-6), "in the future"),
    ],
)
def test_a_token_counts_for_fifteen_minutes_from_its_signing(shift: datetime.timedelta, reason: str) -> None:
    with pytest.raises(token.TokenRefused, match=reason):
        token.read(made(), sts_endpoint=STS, now=now() + shift)


@given(st.text(max_size=200) | st.text(max_size=40).map(lambda tail: f"{STS}/?{tail}") | st.just("http://["))
def test_no_text_makes_the_reader_fail_otherwise_than_by_refusal(text: str) -> None:
    inner = base64.urlsafe_b64encode(text.encode()).decode()
    for presented in (text, aws_shim.TOKEN_PREFIX + text, aws_shim.TOKEN_PREFIX + inner):
        with pytest.raises(token.TokenRefused):
            token.read(presented, sts_endpoint=STS, now=now())


def test_a_refusal_never_repeats_the_token() -> None:
    presented = made(url="https://sts.eu-central-1.amazonaws.com")
    with pytest.raises(token.TokenRefused) as refused:
        token.read(presented, sts_endpoint=STS, now=now())
    signature = token.read(presented, sts_endpoint="https://sts.eu-central-1.amazonaws.com", now=now()).signature
    assert signature not in str(refused.value)
    assert presented not in str(refused.value)
