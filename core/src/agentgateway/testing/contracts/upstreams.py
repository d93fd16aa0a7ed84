"""The suites for what leads to an upstream: providers, credentials and backends."""

from __future__ import annotations

import pickle
from importlib.metadata import entry_points
from typing import ClassVar

import pytest

from agentgateway.exchange import Exchange, Headers, Outgoing
from agentgateway.interfaces import (
    Backend,
    Credential,
    Provider,
)
from agentgateway.testing.contracts.plugin import CANARY, PluginContract
from agentgateway.testing.exchanges import chat


class ProviderContract(PluginContract):
    group = "agentgateway.providers"
    interface = Provider
    operations: ClassVar[tuple[str, ...]] = ("chat",)

    def outgoing(self) -> Outgoing:
        return Outgoing("POST", "http://127.0.0.1:9", "/", Headers([(b"content-type", b"application/json")]))

    def test_it_names_itself_for_telemetry(self) -> None:
        assert self.build().system

    def test_its_dialects_exist(self) -> None:
        installed = {point.name for point in entry_points(group="agentgateway.dialects")}
        for operation in self.operations:
            spoken = self.build().dialects(operation)
            assert spoken and set(spoken) <= installed

    def test_every_dialect_has_a_path(self) -> None:
        provider = self.build()
        for spoken in provider.dialects("chat"):
            call = chat(speaks=spoken).call
            assert provider.path(call).startswith("/")

    def test_a_credential_ends_up_in_a_header_and_nowhere_else(self) -> None:
        provider = self.build()
        call = chat(speaks=provider.dialects("chat")[0]).call
        outgoing = self.outgoing()
        outgoing.headers.set("authorization", f"Bearer {CANARY}")
        provider.finish(outgoing, call)
        assert any(CANARY in value for _, value in outgoing.headers)
        assert CANARY not in outgoing.url + outgoing.target + repr(outgoing) + repr(provider)


class CredentialContract(PluginContract):
    """`config` holds the canary where the credential's secret goes; `expected` is a header that must carry it."""

    group = "agentgateway.credentials"
    interface = Credential

    def exchange(self) -> Exchange:
        exchange = chat()
        exchange.outgoing = Outgoing("POST", "http://127.0.0.1:9", "/v1/chat/completions", Headers())
        return exchange

    async def test_it_never_shows_its_secret(self) -> None:
        credential = self.build()
        assert CANARY not in repr(credential) + repr(credential.config) + str(vars(credential))
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            pickle.dumps(credential.config)


class BackendContract(PluginContract):
    group = "agentgateway.backends"
    interface = Backend

    def test_it_has_targets_with_names(self) -> None:
        targets = self.build().targets()
        assert targets and all(target.name for target in targets)

    def test_its_protocol_exists(self) -> None:
        assert self.build().protocol in {point.name for point in entry_points(group="agentgateway.protocols")}
