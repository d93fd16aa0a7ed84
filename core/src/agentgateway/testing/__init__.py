"""What a plugin's tests need: exchanges in one call, phases without a server, upstreams on loopback, and one contract
suite for each interface.

    class TestGreeting(PolicyContract):
        name = "greeting"
        config = {"greet": "you"}

    async def test_it_answers():
        reply = await run_phase(make("agentgateway.policies", "greeting", {}), "pre_request", http("GET", "/hello"))
        assert reply.status == 200
"""

from agentgateway.testing.contracts import (
    BackendContract,
    CatalogContract,
    CredentialContract,
    DialectContract,
    GuardContract,
    PolicyContract,
    ProtocolContract,
    ProviderContract,
    SectionContract,
    StoreContract,
)
from agentgateway.testing.exchanges import chat, chat_reply, http
from agentgateway.testing.hosts import LoopbackHost, make, run_phase
from agentgateway.testing.upstreams import Received, Upstream

__all__ = [
    "BackendContract",
    "CatalogContract",
    "CredentialContract",
    "DialectContract",
    "GuardContract",
    "LoopbackHost",
    "PolicyContract",
    "ProtocolContract",
    "ProviderContract",
    "Received",
    "SectionContract",
    "StoreContract",
    "Upstream",
    "chat",
    "chat_reply",
    "http",
    "make",
    "run_phase",
]
