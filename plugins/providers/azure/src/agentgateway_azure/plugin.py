"""The provider `azure`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar
from urllib.parse import quote

from agentgateway.exchange import Outgoing
from agentgateway.interfaces import Host, Provider
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.finishing import leave_extensions, modernise_limit, place_key
from agentgateway_azure.config import AzureConfig

ANTHROPIC_VERSION = "2023-06-01"
KEY = "api-key"
METHODS: Mapping[str, str] = {
    "completions": "chat/completions",
    "responses": "responses",
    "embeddings": "embeddings",
    "text_completions": "completions",
    "images": "images/generations",
    "image_edits": "images/edits",
    "speech": "audio/speech",
    "transcriptions": "audio/transcriptions",
    "translations": "audio/translations",
    "files": "files",
    "batches": "batches",
    "stored_responses": "responses",
    "realtime": "realtime",
}
"""Dialects of the resource's OpenAI API, and the end of their paths."""
OPERATIONS: Mapping[str, Sequence[str]] = {
    "chat": ("completions", "responses"),
    "embeddings": ("embeddings",),
    "text_completions": ("text_completions",),
    "images": ("images",),
    "image_edits": ("image_edits",),
    "speech": ("speech",),
    "transcriptions": ("transcriptions",),
    "translations": ("translations",),
    "files": ("files",),
    "batches": ("batches",),
    "stored_responses": ("stored_responses",),
    "realtime": ("realtime",),
}
CLAUDE: Mapping[str, Sequence[str]] = {"chat": ("messages",), "count_tokens": ("anthropicTokenCount",)}
CLAUDE_PATHS: Mapping[str, str] = {
    "messages": "/anthropic/v1/messages",
    "anthropicTokenCount": "/anthropic/v1/messages/count_tokens",
}
NO_DEPLOYMENT = ("responses", "files", "batches", "stored_responses", "realtime")
"""What dated versions take beside the deployments: the call names its model, a session its deployment."""
FOUNDRY_REALTIME = "/openai/v1/realtime"
"""Sessions of a Foundry resource, whatever the project."""


OPENAI = ("openai.azure.com", "https://cognitiveservices.azure.com/.default")
FOUNDRY = ("services.ai.azure.com", "https://ai.azure.com/.default")
"""The domain of a resource, and the scope of tokens for it."""


class Azure(Provider):
    """Azure OpenAI (https://learn.microsoft.com/azure/ai-foundry/openai/reference) and Azure AI Foundry, where Claude
    takes Anthropic's format; with an API key or a token of Microsoft Entra ID."""

    Config = AzureConfig
    system = "azure.ai.openai"
    key_variable: ClassVar[str | None] = "AZURE_OPENAI_API_KEY"
    credential = ("azure", {})
    params: ClassVar[Mapping[str, str]] = {
        "azureResourceName": "resourceName",
        "azureResourceType": "resourceType",
        "azureApiVersion": "apiVersion",
        "azureProjectName": "projectName",
    }
    unwanted = frozenset({b"openai-organization", b"openai-project"})

    def __init__(self, config: AzureConfig, host: Host) -> None:
        super().__init__(config, host)
        domain, scope = FOUNDRY if config.foundry else OPENAI
        self._dated = config.api_version not in ("v1", "preview")
        self._base = base_path(config, dated=self._dated)
        self._query = "" if config.api_version == "v1" else f"?api-version={config.api_version}"
        self.url = f"https://{config.resource_name}.{domain}{self._base}"
        self._scope = ("oauth2", scope)
        self.realtime_model = "deployment" if self._dated else "model"

    def dialects(self, operation: str) -> Sequence[str]:
        spoken = OPERATIONS.get(operation, ())
        return (*spoken, *CLAUDE.get(operation, ())) if self.config.foundry else spoken

    def speaks(self, operation: str, model: str) -> Sequence[str]:
        """Claude, on Foundry, is spoken to in Anthropic's format, the others in OpenAI's."""
        if self.config.foundry and model.lower().startswith("claude"):
            return CLAUDE.get(operation, OPERATIONS.get(operation, ()))
        return self.dialects(operation) if operation != "chat" else OPERATIONS["chat"]

    def path(self, call: LlmCall) -> str:
        name = call.dialect.name
        if name in CLAUDE_PATHS:
            return CLAUDE_PATHS[name]
        if name == "realtime" and self.config.foundry:
            return f"{FOUNDRY_REALTIME}{self._query}"
        if self._dated and name not in NO_DEPLOYMENT:
            return f"{self._base}/deployments/{quote(call.model, safe='')}/{METHODS[name]}{self._query}"
        return f"{self._base}/{METHODS[name]}{self._query}"

    def finish(self, outgoing: Outgoing, call: LlmCall) -> None:
        """A call that was translated loses the fields that only compatible vendors know, and the limit on tokens gets
        its modern name. A key goes where the resource looks for one."""
        outgoing.scope = self._scope
        leave_extensions(call)
        place_credential(outgoing)
        if call.dialect.name in CLAUDE_PATHS:
            outgoing.headers.set("anthropic-version", ANTHROPIC_VERSION)
            return
        for name in ("anthropic-version", "anthropic-beta", "anthropic-dangerous-direct-browser-access"):
            outgoing.headers.remove(name)
        if call.dialect.name == "completions":
            modernise_limit(call)


def base_path(config: AzureConfig, *, dated: bool) -> str:
    if config.foundry:
        return f"/api/projects/{config.project_name or config.resource_name}/openai/v1"
    return "/openai" if dated else "/openai/v1"


def place_credential(outgoing: Outgoing) -> None:
    """Tokens of Entra ID go as Bearer, keys into the resource's own header, also one that the client has in another."""
    place_key(outgoing, KEY, is_key)
    headers = outgoing.headers
    if "x-api-key" not in outgoing.pinned and (value := headers.get("x-api-key")) is not None:
        headers.remove("x-api-key")
        if KEY not in headers and "authorization" not in headers:
            headers.set(KEY, value)


def is_key(token: str) -> bool:
    """Tokens of Entra ID are JWTs (RFC 7519), keys are not."""
    return not (token.startswith("eyJ") and token.count(".") == 2)
