"""The providers of the matrix: one row for each format that one of them is spoken to in.

Thirteen presets of `compatible` differ in data only. Each is a row of its own for every client, with a quarter of the
cases, which begin elsewhere for each: together they meet every case with every client.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import completions, converse, gemini, invoke, messages, responses
from .cases import CASES
from .facts import Json, Speaker

KEY = "sk-of-the-operator"
SPEAKERS: dict[str, Speaker] = {
    one.name: one
    for one in (
        *(completions.SPEAKER, converse.SPEAKER, gemini.SPEAKER, messages.SPEAKER, responses.SPEAKER),
        invoke.SPEAKER,
    )
}


def as_said(document: Json) -> Json:
    return document


@dataclass(frozen=True)
class Vendor:
    """A provider as the configuration names it, and what its upstream expects.

    `folders` are those of its transcripts, the first that has one counts; `head` are fields that its requests must
    have, None those they must not have; `answers` is the model of its transcripts, if they name one. `place` is the
    path for a model and whether it streams, where that is not the dialect's own; `wrapping` the fields that take the
    place of the model's name in a call then. `thinks` and `signs` say whether thoughts are shown, and signed; `clients`
    who gets this row, where the provider speaks several dialects. `worded` puts a call in the vendor's own words;
    `quarter` is which of the cases it is tried with, if not with all.
    """

    name: str
    provider: Json
    speaks: str
    folders: tuple[str, ...]
    head: tuple[tuple[str, str | None], ...]
    model: str = "gpt-5.1"
    answers: str = "gpt-5.1-2025-11-13"
    thinks: bool = True
    signs: bool = True
    clients: tuple[str, ...] = tuple(SPEAKERS)
    place: Callable[[str, bool], str] | None = None
    wrapping: Json | None = None
    worded: Callable[[Json], Json] = as_said
    quarter: int | None = None

    @property
    def simulated(self) -> bool:
        return not self.folders

    @property
    def dialect(self) -> Speaker:
        return SPEAKERS[self.speaks]

    def target(self, stream: bool) -> str:
        return (self.place or self.dialect.target)(self.model, stream)

    def naming(self, stream: bool) -> Json:
        """The fields of a call that name its model and ask for a stream."""
        if self.wrapping is None:
            return self.worded(self.dialect.naming(self.model, stream))
        return self.wrapping | (self.dialect.streaming if stream else {})

    def cases(self, client: str) -> tuple[str, ...]:
        names = tuple(CASES)
        return names if self.quarter is None else names[(self.quarter + list(SPEAKERS).index(client)) % 4 :: 4]


def custom(dialect: str) -> Json:
    return {"custom": {"formats": [{"type": dialect}]}}


def simulator(dialect: str) -> Vendor:
    return Vendor(
        f"simulator-{dialect}", {"simulator": {"dialects": [dialect]}}, dialect, (), (), "simulate:", "simulate:"
    )


BEARER = (("authorization", f"Bearer {KEY}"), ("x-api-key", None))
OPENAI = (*BEARER, ("anthropic-version", None), ("anthropic-beta", None))
ANTHROPIC = (
    *(("x-api-key", KEY), ("authorization", None)),
    *(("anthropic-version", "2023-06-01"), ("openai-organization", None)),
)
GOOGLE = (*OPENAI, ("x-goog-api-key", None), ("openai-organization", None))
AMAZON = (*GOOGLE, ("x-amz-security-token", None), ("x-amz-date", None))
AZURE = (("api-key", KEY), ("authorization", None), ("x-api-key", None), ("openai-organization", None))
OTHER = (*BEARER, ("openai-organization", None))
COPILOT = (*OPENAI, ("openai-organization", None))
COPILOT_CLAUDE = (*OTHER, ("anthropic-version", "2023-06-01"))
CLAUDE = ("claude-haiku-4-5", "claude-haiku-4-5-20251001")
GEMINI = ("gemini-3-pro", "gemini-3-pro-preview")
BEDROCK = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"
OTHERS = ("completions", "converse", "gemini", "messages", "invoke")
BUT_COMPLETIONS = ("converse", "gemini", "messages", "responses", "invoke")
COMPATIBLE = ("completions-compatible", "completions")
VERTEX = {"vertex": {"projectId": "mine", "region": "europe-west4"}}
PUBLISHERS = "/v1/projects/mine/locations/europe-west4/publishers"
FOUNDRY = {"azure": {"resourceName": "mine", "resourceType": "foundry"}}


def google(model: str, stream: bool) -> str:
    return f"{PUBLISHERS}/google/models/{model}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"


def claude(model: str, stream: bool) -> str:
    return f"{PUBLISHERS}/anthropic/models/{model}:{'streamRawPredict' if stream else 'rawPredict'}"


def at(path: str) -> Callable[[str, bool], str]:
    return lambda model, stream: path


# --- the presets of `compatible` --------------------------------------------------------------------------------------

PRESETS: dict[str, dict[str, str]] = {
    "baseten": {"completions": "/v1/chat/completions", "messages": "/v1/messages"},
    "cerebras": {"completions": "/v1/chat/completions"},
    "cohere": {"completions": "/compatibility/v1/chat/completions"},
    "deepinfra": {"completions": "/v1/openai/chat/completions", "messages": "/anthropic/v1/messages"},
    "deepseek": {"completions": "/chat/completions", "messages": "/anthropic/v1/messages"},
    "fireworks": {
        "completions": "/inference/v1/chat/completions",
        "messages": "/inference/v1/messages",
        "responses": "/inference/v1/responses",
    },
    "groq": {"completions": "/openai/v1/chat/completions", "responses": "/openai/v1/responses"},
    "huggingface": {"completions": "/v1/chat/completions"},
    "mistral": {"completions": "/v1/chat/completions"},
    "ollama": {"completions": "/v1/chat/completions", "responses": "/v1/responses"},
    "openrouter": {
        "completions": "/api/v1/chat/completions",
        "messages": "/api/v1/messages",
        "responses": "/api/v1/responses",
    },
    "togetherai": {"completions": "/v1/chat/completions"},
    "xai": {"completions": "/v1/chat/completions", "responses": "/v1/responses"},
}
"""Where each takes the formats of chat, by the vendors' own pages."""


def in_words_of_deepseek(document: Json) -> Json:
    """https://api-docs.deepseek.com/api/create-chat-completion"""
    return {"max_tokens" if key == "max_completion_tokens" else key: value for key, value in document.items()}


def in_words_of_mistral(document: Json) -> Json:
    """https://docs.mistral.ai/api: usage comes with every stream, and nobody can ask for it."""
    return in_words_of_deepseek({key: value for key, value in document.items() if key != "stream_options"})


WORDED = {"deepseek": in_words_of_deepseek, "mistral": in_words_of_mistral}


def presets() -> Iterator[Vendor]:
    for quarter, (name, places) in enumerate(PRESETS.items()):
        for speaks, place in places.items():
            own = speaks == "messages"
            yield Vendor(
                name if speaks == "completions" else f"{name}-{speaks}",
                *({name: {}}, speaks, COMPATIBLE if speaks == "completions" else (speaks,), OTHER),
                *(CLAUDE if own else ()),
                signs=own,
                clients=(speaks,) if speaks != "completions" else tuple(SPEAKERS.keys() - places.keys() | {speaks}),
                place=at(place),
                worded=WORDED.get(name, as_said) if speaks == "completions" else as_said,
                quarter=quarter,
            )


# --- all of them ------------------------------------------------------------------------------------------------------

VENDORS = [
    Vendor("openAI", {"openAI": {}}, "completions", ("completions",), OPENAI, thinks=False, clients=OTHERS),
    Vendor(
        "openAI-responses",
        *({"openAI": {}}, "responses", ("responses",), OPENAI),
        signs=False,
        clients=("responses",),
    ),
    Vendor("anthropic", {"anthropic": {}}, "messages", ("messages",), ANTHROPIC, *CLAUDE),
    Vendor("custom-completions", custom("completions"), "completions", COMPATIBLE, BEARER, signs=False),
    Vendor("custom-messages", custom("messages"), "messages", ("messages",), BEARER, *CLAUDE),
    Vendor("custom-responses", custom("responses"), "responses", ("responses",), BEARER, signs=False),
    Vendor("gemini", {"gemini": {}}, "gemini", ("gemini",), GOOGLE, *GEMINI),
    Vendor("custom-gemini", custom("generateContent"), "gemini", ("gemini",), BEARER, *GEMINI),
    Vendor("bedrock", {"bedrock": {"region": "eu-west-1"}}, "converse", ("converse",), AMAZON, BEDROCK, ""),
    Vendor("vertex-gemini", VERTEX, "gemini", ("gemini",), GOOGLE, *GEMINI, place=google),
    Vendor(
        *("vertex-claude", VERTEX, "messages", ("messages",), BEARER, *CLAUDE),
        place=claude,
        wrapping={"anthropic_version": "vertex-2023-10-16"},
    ),
    Vendor(
        *("azure", {"azure": {"resourceName": "mine"}}, "completions", ("completions",), AZURE),
        thinks=False,
        clients=OTHERS,
        place=at("/openai/v1/chat/completions"),
    ),
    Vendor(
        *("azure-responses", {"azure": {"resourceName": "mine"}}, "responses", ("responses",), AZURE),
        signs=False,
        clients=("responses",),
        place=at("/openai/v1/responses"),
    ),
    Vendor(
        *("azure-claude", FOUNDRY, "messages", ("messages",), AZURE, *CLAUDE),
        place=at("/anthropic/v1/messages"),
    ),
    Vendor(
        *("copilot", {"copilot": {}}, "completions", COMPATIBLE, COPILOT, "gpt-4.1"),
        signs=False,
        place=at("/chat/completions"),
    ),
    Vendor(
        *("copilot-responses", {"copilot": {}}, "responses", ("responses",), COPILOT, "gpt-5.1-codex"),
        signs=False,
        place=at("/responses"),
    ),
    Vendor(
        *("copilot-claude", {"copilot": {}}, "messages", ("messages",), COPILOT_CLAUDE, *CLAUDE),
        clients=BUT_COMPLETIONS,
    ),
    Vendor(
        *("copilot-claude-completions", {"copilot": {}}, "completions", COMPATIBLE, COPILOT, "claude-haiku-4-5"),
        signs=False,
        clients=("completions",),
        place=at("/chat/completions"),
    ),
    *presets(),
    simulator("completions"),
    simulator("messages"),
]
