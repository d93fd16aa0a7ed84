"""AWS on loopback: an endpoint that refuses wrong signatures, and places where credentials are found."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from agentgateway_auth_aws.testing import Endpoint

AMBIENT = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION")


@pytest.fixture(autouse=True)
def nothing_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any AWS credentials, whatever this one has."""
    for name in AMBIENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def quiet_again() -> Iterator[None]:
    level = logging.getLogger("botocore").level
    yield
    logging.getLogger("botocore").setLevel(level)


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint("bedrock", "eu-west-1", {"AKID": "secret", "ASIA": "temporary"}, {"ASIA": "token"})
