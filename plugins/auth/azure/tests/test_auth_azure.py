"""The credential `azure`: whose token it shows, when it asks for one, and what it never shows."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pydantic
import pytest

from agentgateway.errors import ConfigError, InternalError
from agentgateway.exchange import Headers, Outgoing
from agentgateway.interfaces import Credential
from agentgateway.testing import CredentialContract, LoopbackHost, http, make

CANARY = "canary-8c1f2e"
GROUP = "agentgateway.credentials"
PRINCIPAL = {"tenantId": "tenant", "clientId": "client", "clientSecret": CANARY}


class TestAzureContract(CredentialContract):
    name = "azure"
    config = {"clientSecret": PRINCIPAL}


def azure(config: Any = None) -> Credential:
    made: Credential = make(GROUP, "azure", config, LoopbackHost())
    return made


def outgoing(scope: tuple[str, str] | None = None, **headers: str) -> Outgoing:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    made = Outgoing("POST", "https://host.test", "/", Headers.of(fields))
    made.scope = scope
    return made


async def shown(credential: Credential, sent: Outgoing | None = None) -> Headers:
    exchange = http("POST", "/")
    exchange.outgoing = sent or outgoing()
    done = credential.apply(exchange)
    assert done is not None
    await done
    return exchange.outgoing.headers


async def test_a_service_principal_shows_its_secret_to_the_login_and_the_token_to_the_upstream(login: Any) -> None:
    credential = azure({"clientSecret": PRINCIPAL, "authorityHost": login.url})
    headers = await shown(credential)
    assert headers.raw == [(b"authorization", b"Bearer token-1")]
    ((path, _, fields),) = login.asked
    assert path == "/tenant/oauth2/v2.0/token"
    assert (fields["client_id"], fields["client_secret"], fields["grant_type"]) == (
        *("client", CANARY, "client_credentials"),
    )
    assert fields["scope"] == "https://cognitiveservices.azure.com/.default"
    await credential.stop()


async def test_the_reference_nests_the_source(login: Any) -> None:
    credential = azure({"explicitConfig": {"clientSecret": PRINCIPAL}, "authorityHost": login.url})
    assert (await shown(credential)).get("authorization") == "Bearer token-1"
    await credential.stop()


async def test_a_workload_shows_its_service_accounts_token(
    login: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "federated").write_text("a-service-account")
    monkeypatch.setenv("AZURE_TENANT_ID", "tenant")
    monkeypatch.setenv("AZURE_CLIENT_ID", "client")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "federated"))
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", login.url)
    named = {"workloadIdentity": {}, "authorityHost": login.url}
    for config in (named, {"workloadIdentity": {}}, {"implicit": {}}, None):
        credential = azure(config)
        assert (await shown(credential)).get("authorization") == "Bearer token-1"
        await credential.stop()
    assert [fields["client_assertion"] for _, _, fields in login.asked] == ["a-service-account"] * 4


@pytest.mark.parametrize(
    ("identity", "asked"),
    [
        ({}, {}),
        ({"clientId": "c-1"}, {"client_id": "c-1"}),
        ({"objectId": "o-1"}, {"object_id": "o-1"}),
        ({"resourceId": "/subscriptions/s/x"}, {"mi_res_id": "/subscriptions/s/x"}),
    ],
)
async def test_a_machine_shows_its_own_identity(
    machine: Any, monkeypatch: pytest.MonkeyPatch, identity: dict[str, str], asked: dict[str, str]
) -> None:
    """https://learn.microsoft.com/azure/app-service/overview-managed-identity"""
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{machine.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "of-the-service")
    credential = azure({"managedIdentity": {"userAssignedIdentity": identity} if identity else {}})
    assert (await shown(credential)).get("authorization") == "Bearer token-1"
    ((path, headers, fields),) = machine.asked
    assert (path, headers["x-identity-header"]) == ("/msi/token", "of-the-service")
    assert fields["resource"] == "https://cognitiveservices.azure.com"
    assert {name: fields[name] for name in asked} == asked
    await credential.stop()


async def test_a_virtual_machines_metadata_tell_it(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", machine.url)
    credential = azure({"managedIdentity": {}})
    assert (await shown(credential)).get("authorization") == "Bearer token-1"
    path, headers, _ = machine.asked[-1]
    assert path == "/metadata/identity/oauth2/token"
    assert headers["metadata"] == "true"
    await credential.stop()


async def test_the_scope_is_the_configurations_else_the_providers(login: Any) -> None:
    found = ("oauth2", "https://ai.azure.com/.default")
    theirs = azure({"clientSecret": PRINCIPAL, "authorityHost": login.url})
    await shown(theirs, outgoing(found))
    await shown(theirs, outgoing(("bedrock", "eu-west-1")))
    own = azure({"clientSecret": PRINCIPAL, "authorityHost": login.url, "scopes": ["api://mine/.default"]})
    await shown(own, outgoing(found))
    assert [fields["scope"] for _, _, fields in login.asked] == [
        *("https://ai.azure.com/.default", "https://cognitiveservices.azure.com/.default", "api://mine/.default")
    ]
    await theirs.stop()
    await own.stop()


async def test_the_clients_own_credentials_stay_behind(login: Any) -> None:
    credential = azure({"clientSecret": PRINCIPAL, "authorityHost": login.url})
    sent = outgoing(authorization="Bearer x", api_key="x", x_api_key="pinned", x_goog_api_key="x")
    sent.pinned.add("x-api-key")
    assert dict(await shown(credential, sent)) == {"authorization": "Bearer token-1", "x-api-key": "pinned"}
    await credential.stop()


async def test_many_requests_at_once_ask_once_and_later_ones_not_at_all(login: Any) -> None:
    credential = azure({"clientSecret": PRINCIPAL, "authorityHost": login.url})
    login.hold.clear()
    waiting = [asyncio.create_task(shown(credential)) for _ in range(20)]
    while not login.asked:
        await asyncio.sleep(0.01)
    login.hold.set()
    assert {headers.get("authorization") for headers in await asyncio.gather(*waiting)} == {"Bearer token-1"}
    await shown(credential)
    assert len(login.asked) == 1
    await credential.stop()


async def test_the_loop_goes_on_meanwhile(login: Any) -> None:
    credential = azure({"clientSecret": PRINCIPAL, "authorityHost": login.url})
    login.hold.clear()
    asking = asyncio.create_task(shown(credential))
    while not login.asked:
        await asyncio.sleep(0.01)  # a loop that waits for the login would never get here
    assert not asking.done()
    login.hold.set()
    await asking
    await credential.stop()


async def test_a_refusal_is_told_without_the_secret_and_the_next_request_tries_again(
    login: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    credential = azure({"clientSecret": PRINCIPAL, "authorityHost": login.url})
    login.answer = 401
    with pytest.raises(InternalError) as caught:
        await shown(credential)
    said = "".join(traceback.format_exception(caught.value)) + str(caught.value.detail) + caplog.text
    assert CANARY not in said
    login.answer = "token-2-secret"
    assert (await shown(credential)).get("authorization") == "Bearer token-2-secret"
    assert "token-2-secret" not in caplog.text + repr(credential) + str(vars(credential))
    await credential.stop()


async def test_nothing_is_found() -> None:
    credential = azure({"workloadIdentity": {}})
    with pytest.raises(InternalError):
        await shown(credential)
    await credential.stop()


@pytest.mark.parametrize(
    "config",
    [
        {"clientSecret": PRINCIPAL, "managedIdentity": {}},
        {"implicit": {}, "developerImplicit": {}},
        {"explicitConfig": {}},
        {"explicitConfig": {"workloadIdentity": {}}, "managedIdentity": {}},
        {"clientSecret": {"tenantId": "../x", "clientId": "c", "clientSecret": "s"}},
        {"managedIdentity": {"userAssignedIdentity": {}}},
        {"managedIdentity": {"userAssignedIdentity": {"clientId": "a", "objectId": "b"}}},
        {"clientSecret": PRINCIPAL, "authorityHost": "http://login.example"},
        {"implicit": {}, "authorityHost": "https://login.example"},
    ],
)
def test_wrong_configurations_are_refused(config: Any) -> None:
    with pytest.raises((pydantic.ValidationError, ConfigError)):
        azure(config)


def test_the_sdk_is_imported_on_first_use() -> None:
    program = "import sys, agentgateway_auth_azure.plugin; print([m for m in sys.modules if m.split('.')[0] in "
    program += "('azure', 'msal', 'requests', 'cryptography')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
