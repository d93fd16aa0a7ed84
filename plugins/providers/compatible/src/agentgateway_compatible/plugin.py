"""The presets as providers: one class, which reads everything from the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from agentgateway.exchange import Outgoing
from agentgateway.interfaces import Provider
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.dialects import dialect
from agentgateway_compatible.config import CompatibleConfig
from agentgateway_compatible.presets import PRESETS, Preset

ANTHROPIC_VERSION = "2023-06-01"


class Compatible(Provider):
    """A vendor of the table."""

    Config = CompatibleConfig
    unwanted = frozenset({b"openai-organization", b"openai-project"})
    preset: ClassVar[Preset]

    def __init_subclass__(cls, preset: str) -> None:
        cls.preset = PRESETS[preset]
        cls.url, cls.system, cls.key_variable = cls.preset.url, cls.preset.system, cls.preset.key

    def dialects(self, operation: str) -> Sequence[str]:
        return tuple(name for name in self.preset.paths if dialect(name).operation == operation)

    def path(self, call: LlmCall) -> str:
        return self.preset.paths[call.dialect.name]

    def finish(self, outgoing: Outgoing, call: LlmCall) -> None:
        """The key stays a Bearer token. A call that was translated loses the extensions that this vendor does not take;
        every call of chat completions says what the vendor has words for."""
        if call.raw is None:
            leave_extensions(call, self.preset)
        if call.dialect.name == "completions":
            reword(call, self.preset)
        elif call.dialect.name == "messages" and "anthropic-version" not in outgoing.headers:
            outgoing.headers.add("anthropic-version", ANTHROPIC_VERSION)


def leave_extensions(call: LlmCall, preset: Preset) -> None:
    messages: list[Any] = call.document.get("messages") or []
    kept = [{name: message[name] for name in preset.keeps if name in message} for message in messages]
    call.dialect.plain(call.document)
    for message, fields in zip(messages, kept, strict=True):
        message.update(fields)


def reword(call: LlmCall, preset: Preset) -> None:
    """Not where the client said it in the vendor's own words too."""
    if preset.unknown.isdisjoint(call.document) and preset.renamed.keys().isdisjoint(call.document):
        return
    document = call.edit()
    for name in preset.unknown:
        document.pop(name, None)
    for name, own in preset.renamed.items():
        if name in document and own not in document:
            document[own] = document.pop(name)


class Baseten(Compatible, preset="baseten"):
    """Baseten's Model APIs."""


class Cerebras(Compatible, preset="cerebras"):
    """Cerebras Inference."""


class Cohere(Compatible, preset="cohere"):
    """Cohere's compatibility API, and its own reranking."""


class DeepInfra(Compatible, preset="deepinfra"):
    """DeepInfra."""


class DeepSeek(Compatible, preset="deepseek"):
    """DeepSeek."""


class Fireworks(Compatible, preset="fireworks"):
    """Fireworks AI."""


class Groq(Compatible, preset="groq"):
    """Groq."""


class HuggingFace(Compatible, preset="huggingface"):
    """Hugging Face's Inference Providers."""


class Mistral(Compatible, preset="mistral"):
    """Mistral's La Plateforme."""


class Ollama(Compatible, preset="ollama"):
    """Ollama, on this machine unless `hostOverride` says otherwise."""


class OpenRouter(Compatible, preset="openrouter"):
    """OpenRouter."""


class TogetherAI(Compatible, preset="togetherai"):
    """Together AI."""


class XAI(Compatible, preset="xai"):
    """xAI."""
