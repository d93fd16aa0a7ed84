"""The vendors, as data: where each is, where its key is found, and which formats it takes where.

Sources are the vendors' own pages, named beside each. A vendor's other calls are added as lines here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Preset:
    """A vendor. `paths` are dialects and where they are taken, the preferred one of an operation first.

    Where a vendor refuses fields of chat completions that OpenAI has: `renamed` is what it calls them, `unknown` those
    that it has no word for. `keeps` are extensions that it wants to see again in a conversation.
    """

    url: str
    key: str
    system: str
    paths: Mapping[str, str]
    renamed: Mapping[str, str] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    keeps: frozenset[str] = frozenset()


PRESETS: Mapping[str, Preset] = {
    # https://docs.baseten.co/inference/model-apis/overview
    "baseten": Preset(
        "https://inference.baseten.co/v1",
        "BASETEN_API_KEY",
        "baseten",
        {"completions": "/v1/chat/completions", "messages": "/v1/messages"},
    ),
    # https://inference-docs.cerebras.ai/resources/openai
    "cerebras": Preset(
        "https://api.cerebras.ai/v1",
        "CEREBRAS_API_KEY",
        "cerebras",
        {"completions": "/v1/chat/completions", "text_completions": "/v1/completions"},
    ),
    # https://docs.cohere.com/docs/compatibility-api and https://docs.cohere.com/reference/rerank
    "cohere": Preset(
        "https://api.cohere.ai/compatibility/v1",
        "COHERE_API_KEY",
        "cohere",
        {
            "completions": "/compatibility/v1/chat/completions",
            "embeddings": "/compatibility/v1/embeddings",
            "rerank": "/v2/rerank",
        },
    ),
    # https://deepinfra.com/docs/openai_api and https://deepinfra.com/docs/anthropic_api
    "deepinfra": Preset(
        "https://api.deepinfra.com/v1/openai",
        "DEEPINFRA_API_KEY",
        "deepinfra",
        {
            "completions": "/v1/openai/chat/completions",
            "messages": "/anthropic/v1/messages",
            "embeddings": "/v1/openai/embeddings",
            "text_completions": "/v1/openai/completions",
        },
    ),
    # https://api-docs.deepseek.com and https://api-docs.deepseek.com/guides/thinking_mode
    "deepseek": Preset(
        "https://api.deepseek.com",
        "DEEPSEEK_API_KEY",
        "deepseek",
        {"completions": "/chat/completions", "messages": "/anthropic/v1/messages"},
        renamed={"max_completion_tokens": "max_tokens"},
        keeps=frozenset({"reasoning_content"}),
    ),
    # https://docs.fireworks.ai/tools-sdks/openai-compatibility and https://docs.fireworks.ai/guides/reasoning
    "fireworks": Preset(
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_API_KEY",
        "fireworks",
        {
            "completions": "/inference/v1/chat/completions",
            "messages": "/inference/v1/messages",
            "responses": "/inference/v1/responses",
            "embeddings": "/inference/v1/embeddings",
            "text_completions": "/inference/v1/completions",
        },
        keeps=frozenset({"reasoning_content"}),
    ),
    # https://console.groq.com/docs/openai and https://console.groq.com/docs/responses-api
    "groq": Preset(
        "https://api.groq.com/openai/v1",
        "GROQ_API_KEY",
        "groq",
        {
            "completions": "/openai/v1/chat/completions",
            "responses": "/openai/v1/responses",
            "speech": "/openai/v1/audio/speech",
            "transcriptions": "/openai/v1/audio/transcriptions",
            "translations": "/openai/v1/audio/translations",
            "files": "/openai/v1/files",
            "batches": "/openai/v1/batches",
        },
    ),
    # https://huggingface.co/docs/inference-providers
    "huggingface": Preset(
        "https://router.huggingface.co/v1",
        "HF_TOKEN",
        "huggingface",
        {"completions": "/v1/chat/completions"},
    ),
    # https://docs.mistral.ai/api: every field that is not listed there is refused with status 422
    "mistral": Preset(
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        "mistral_ai",
        {"completions": "/v1/chat/completions", "embeddings": "/v1/embeddings"},
        renamed={"max_completion_tokens": "max_tokens", "seed": "random_seed"},
        unknown=frozenset({"stream_options", "user", "verbosity", "service_tier"}),
    ),
    # https://docs.ollama.com/api/openai-compatibility
    "ollama": Preset(
        "http://localhost:11434/v1",
        "OLLAMA_API_KEY",
        "ollama",
        {
            "completions": "/v1/chat/completions",
            "responses": "/v1/responses",
            "embeddings": "/v1/embeddings",
            "text_completions": "/v1/completions",
        },
    ),
    # https://openrouter.ai/docs/api-reference
    "openrouter": Preset(
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        "openrouter",
        {
            "completions": "/api/v1/chat/completions",
            "messages": "/api/v1/messages",
            "responses": "/api/v1/responses",
            "embeddings": "/api/v1/embeddings",
            "text_completions": "/api/v1/completions",
        },
    ),
    # https://docs.together.ai/docs/openai-api-compatibility and https://docs.together.ai/reference/rerank
    "togetherai": Preset(
        "https://api.together.xyz/v1",
        "TOGETHER_API_KEY",
        "togetherai",
        {
            "completions": "/v1/chat/completions",
            "embeddings": "/v1/embeddings",
            "rerank": "/v1/rerank",
            "text_completions": "/v1/completions",
            "images": "/v1/images/generations",
            "speech": "/v1/audio/speech",
            "transcriptions": "/v1/audio/transcriptions",
            "translations": "/v1/audio/translations",
        },
    ),
    # https://docs.x.ai/docs/api-reference
    "xai": Preset(
        "https://api.x.ai/v1",
        "XAI_API_KEY",
        "x_ai",
        {
            "completions": "/v1/chat/completions",
            "responses": "/v1/responses",
            "images": "/v1/images/generations",
            "realtime": "/v1/realtime",
        },
    ),
}
