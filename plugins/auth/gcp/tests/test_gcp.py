"""The credential `gcp`: whose token it shows, when it asks for one, and what it never shows."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pydantic
import pytest
from agentgateway_auth_gcp import plugin

from agentgateway.errors import ConfigError, InternalError
from agentgateway.exchange import Headers, Outgoing
from agentgateway.interfaces import Credential
from agentgateway.testing import CredentialContract, LoopbackHost, http, make

GROUP = "agentgateway.credentials"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
CANARY = "canary-8c1f2e"
USER = {"type": "authorized_user", "client_id": "c", "client_secret": CANARY, "refresh_token": CANARY}


class TestGcpContract(CredentialContract):
    name = "gcp"
    config = {"credential": json.dumps(USER)}


def gcp(config: Any = None) -> Credential:
    made: Credential = make(GROUP, "gcp", config, LoopbackHost())
    return made


def of(info: dict[str, Any], **more: Any) -> Credential:
    return gcp({"credential": json.dumps(info), **more})


def outgoing(**headers: str) -> Outgoing:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Outgoing("POST", "https://host.test:8443", "/", Headers.of(fields))


async def shown(credential: Credential, sent: Outgoing | None = None) -> Headers:
    exchange = http("POST", "/")
    exchange.outgoing = sent or outgoing()
    done = credential.apply(exchange)
    assert done is not None
    await done
    return exchange.outgoing.headers


async def test_a_service_account_signs_for_an_access_token(google: Any) -> None:
    """https://developers.google.com/identity/protocols/oauth2/service-account"""
    credential = of(google.account())
    assert (await shown(credential)).raw == [(b"authorization", b"Bearer token-1")]
    ((path, _, fields),) = google.asked
    assert path == "/token"
    assert fields["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert (fields["iss"], fields["scope"]) == ("gateway@project.iam.gserviceaccount.com", SCOPE)
    await credential.stop()


async def test_a_file_is_read(google: Any, tmp_path: Path) -> None:
    (tmp_path / "account.json").write_text(json.dumps(google.account()) + "\n")
    credential = gcp({"type": "AccessToken", "credential": {"file": str(tmp_path / "account.json")}})
    assert (await shown(credential)).get("authorization") == "Bearer token-1"
    await credential.stop()


async def test_the_environment_names_a_file(google: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "account.json").write_text(json.dumps(google.account()))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    for config in (None, {}):
        credential = gcp(config)
        assert (await shown(credential)).get("authorization") == "Bearer token-1"
        await credential.stop()
    assert [fields["scope"] for _, _, fields in google.asked] == [SCOPE] * 2


async def test_a_users_login_is_refreshed_and_its_project_pays(google: Any) -> None:
    credential = of(google.user(quota_project_id="payer"))
    sent = outgoing(x_goog_user_project="the-clients")
    assert dict(await shown(credential, sent)) == {
        "authorization": "Bearer token-1",
        "x-goog-user-project": "payer",
    }
    ((_, _, fields),) = google.asked
    assert (fields["grant_type"], fields["refresh_token"]) == ("refresh_token", "r")
    await credential.stop()


async def test_a_service_account_asks_for_an_id_token(google: Any) -> None:
    credential = of(google.account(), type="IdToken", audience="https://mine.example")
    assert (await shown(credential)).get("authorization") == f"Bearer {google.id_token('https://mine.example')}"
    ((_, _, fields),) = google.asked
    assert fields["target_audience"] == "https://mine.example"
    assert "scope" not in fields
    await credential.stop()


async def test_an_id_token_is_for_the_upstream_when_nothing_else_was_said(google: Any) -> None:
    credential = of(google.account(), type="idToken")
    for _ in range(2):
        await shown(credential)
    other = Outgoing("POST", "https://other.test", "/", Headers())
    await shown(credential, other)
    assert [fields["target_audience"] for _, _, fields in google.asked] == ["https://host.test", "https://other.test"]
    await credential.stop()


async def test_audiences_are_forgotten(google: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "MOST", 2)
    credential = of(google.account(), type="idToken")
    for name in ("a", "b", "c", "c", "b", "a"):
        await shown(credential, Outgoing("POST", f"https://{name}.test", "/", Headers()))
    assert [fields["target_audience"][8] for _, _, fields in google.asked] == ["a", "b", "c", "a"]
    assert len(credential._fresh) == len(credential._source._speakers) == 2  # type: ignore[attr-defined]
    await credential.stop()


@pytest.mark.parametrize("kind", ["accessToken", "idToken"])
async def test_a_service_account_is_impersonated(google: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """https://cloud.google.com/iam/docs/service-account-impersonation"""
    from google.auth import iam

    accounts = f"{google.url}/v1/projects/-/serviceAccounts"
    monkeypatch.setattr(iam, "_IAM_ENDPOINT", accounts + "/{}:generateAccessToken")
    monkeypatch.setattr(iam, "_IAM_IDTOKEN_ENDPOINT", accounts + "/{}:generateIdToken")
    info = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": f"{accounts}/other@project.test:generateAccessToken",
        "source_credentials": google.account(),
    }
    credential = of(info, type=kind)
    await shown(credential)
    path = google.asked[-1][0]
    assert path.startswith("/v1/projects/-/serviceAccounts/other@project.test:generate")
    assert path.endswith("IdToken") is (kind == "idToken")
    await credential.stop()


async def test_a_workload_of_elsewhere_exchanges_its_token(google: Any, tmp_path: Path) -> None:
    """https://cloud.google.com/iam/docs/workload-identity-federation"""
    (tmp_path / "subject").write_text("the-workload")
    info = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{google.url}/v1/token",
        "credential_source": {"file": str(tmp_path / "subject")},
    }
    credential = of(info)
    assert (await shown(credential)).get("authorization") == "Bearer token-1"
    assert google.asked[-1][2]["subject_token"] == "the-workload"
    await credential.stop()


MACHINE = """
import asyncio, sys
from agentgateway.exchange import Headers, Outgoing
from agentgateway.testing import LoopbackHost, http, make

async def main(kind):
    credential = make("agentgateway.credentials", "gcp", {"type": kind}, LoopbackHost())
    exchange = http("POST", "/")
    exchange.outgoing = Outgoing("POST", "https://host.test", "/", Headers())
    await credential.apply(exchange)
    print(exchange.outgoing.headers.get("authorization"))
    await credential.stop()

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("kind", ["accessToken", "idToken"])
async def test_a_machine_asks_its_metadata_server(google: Any, kind: str) -> None:
    """https://cloud.google.com/compute/docs/access/authenticate-workloads; google-auth reads where it is when it is
    imported, hence another process."""
    host = google.url.removeprefix("http://")
    environ = dict(os.environ) | {"GCE_METADATA_HOST": host, "GCE_METADATA_IP": host}
    environ.pop("NO_GCE_CHECK")
    run = asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", MACHINE, kind), env=environ, stdout=-1, stderr=-1
    )
    out, err = await (await run).communicate()
    assert err == b""
    path, headers, fields = google.asked[-1]
    assert headers["metadata-flavor"] == "Google"
    assert path.startswith("/computeMetadata/v1/instance/service-accounts/")
    if kind == "idToken":
        assert fields["audience"] == "https://host.test"
        assert out.decode().strip() == f"Bearer {google.id_token('https://host.test')}"
    else:
        assert out == b"Bearer token-1\n"


async def test_the_clients_own_credentials_stay_behind(google: Any) -> None:
    credential = of(google.account())
    sent = outgoing(authorization="Bearer x", api_key="x", x_api_key="pinned", x_goog_api_key="x")
    sent.pinned.add("x-api-key")
    assert dict(await shown(credential, sent)) == {"authorization": "Bearer token-1", "x-api-key": "pinned"}
    await credential.stop()


async def test_many_requests_at_once_ask_once_and_later_ones_not_at_all(google: Any) -> None:
    credential = of(google.account())
    google.hold.clear()
    waiting = [asyncio.create_task(shown(credential)) for _ in range(20)]
    while not google.asked:
        await asyncio.sleep(0.01)  # a loop that waits for the login would never get here
    assert not any(one.done() for one in waiting)
    google.hold.set()
    assert {headers.get("authorization") for headers in await asyncio.gather(*waiting)} == {"Bearer token-1"}
    await shown(credential)
    assert len(google.asked) == 1
    await credential.stop()


async def test_a_refusal_is_told_without_the_secret_and_the_next_request_tries_again(
    google: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    credential = of(google.user(refresh_token=CANARY))
    google.answer = 400
    with pytest.raises(InternalError) as caught:
        await shown(credential)
    said = "".join(traceback.format_exception(caught.value)) + str(caught.value.detail) + caplog.text
    assert CANARY not in said
    google.answer = "token-2-secret"
    assert (await shown(credential)).get("authorization") == "Bearer token-2-secret"
    assert "token-2-secret" not in caplog.text + repr(credential) + str(vars(credential))
    await credential.stop()


async def test_a_user_has_no_id_token_of_that_kind(google: Any) -> None:
    credential = of(google.user(), type="idToken")
    with pytest.raises(InternalError):
        await shown(credential)
    await credential.stop()


@pytest.mark.parametrize("change", [{"private_key": CANARY}, {"private_key": 7}, {"token_uri": None}])
async def test_a_broken_file_is_told_without_quoting_it(google: Any, change: dict[str, Any]) -> None:
    credential = of(google.account(**change))
    with pytest.raises(InternalError) as caught:
        await shown(credential)
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + str(caught.value.detail)
    await credential.stop()


async def test_nothing_is_found() -> None:
    credential = gcp()
    with pytest.raises(InternalError):
        await shown(credential)
    await credential.stop()


@pytest.mark.parametrize(
    "config",
    [
        {"audience": "https://x.test"},
        {"type": "refreshToken"},
        {"type": 7},
        {"credential": CANARY},
        {"credential": json.dumps([CANARY])},
        {"credential": json.dumps({"type": CANARY})},
        {"credential": json.dumps({"type": "external_account", "credential_source": {"executable": {"command": "x"}}})},
        {"credential": "[" * 100_000},
    ],
)
def test_wrong_configurations_are_refused(config: Any) -> None:
    with pytest.raises((pydantic.ValidationError, ConfigError)) as caught:
        gcp(config)
    assert CANARY not in str(caught.value)


def test_the_sdk_is_imported_on_first_use() -> None:
    program = "import sys, agentgateway_auth_gcp.plugin; print([m for m in sys.modules if m.split('.')[0] in "
    program += "('google', 'requests', 'cryptography')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
