"""One suite for each interface: what the gateway relies on, whatever the plugin does.

Subclass in a test module, name the plugin and give it a configuration; pytest collects the inherited tests.
"""

from agentgateway.testing.contracts.catalogs import CatalogContract
from agentgateway.testing.contracts.dialects import DialectContract
from agentgateway.testing.contracts.guards import GuardContract
from agentgateway.testing.contracts.plugin import CANARY, HEAVY, PluginContract
from agentgateway.testing.contracts.policies import PolicyContract
from agentgateway.testing.contracts.protocols import ProtocolContract
from agentgateway.testing.contracts.sections import SectionContract
from agentgateway.testing.contracts.stores import StoreContract
from agentgateway.testing.contracts.upstreams import BackendContract, CredentialContract, ProviderContract

__all__ = [
    "CANARY",
    "HEAVY",
    "BackendContract",
    "CatalogContract",
    "CredentialContract",
    "DialectContract",
    "GuardContract",
    "PluginContract",
    "PolicyContract",
    "ProtocolContract",
    "ProviderContract",
    "SectionContract",
    "StoreContract",
]
