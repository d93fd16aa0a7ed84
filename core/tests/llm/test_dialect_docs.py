"""`docs/dialects.md` lists every field that a dialect knows, with its fate; and the tables tell the truth."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import anthropic.types
import anthropic.types.message_create_params as anthropic_params
import openai.types.chat
import openai.types.responses
import pytest
from google.genai import types as google
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params
from pydantic import BaseModel

from agentgateway.llm.calls import Dialect

PAGE = Path(__file__).parents[3] / "docs" / "dialects.md"
ROW = re.compile(r"^\| `([^`]+)` \| (carried|refused|dropped) \|", re.MULTILINE)


def section(title: str) -> dict[str, str]:
    """Fields and fates of the table under that heading."""
    _, found, rest = PAGE.read_text().partition(f"## {title}\n")
    assert found, f"no section {title}"
    return dict(ROW.findall(rest.partition("\n## ")[0]))


@pytest.fixture(params=["completions", "gemini", "messages", "responses"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    found: Dialect = request.getfixturevalue(request.param)
    return found


def test_fields_of_calls(dialect: Dialect) -> None:
    assert section(f"`{dialect.name}`: calls") == dict(dialect.fields)


def test_fields_of_replies(dialect: Dialect) -> None:
    assert section(f"`{dialect.name}`: replies") == dict(dialect.reply_fields)


def test_what_a_dialect_has_no_words_for(dialect: Dialect) -> None:
    assert section(f"To `{dialect.name}`") == dict(dialect.inexpressible)


def camel(names: Iterable[str]) -> set[str]:
    """Google's SDK calls the fields by their original names."""
    return {re.sub("_([a-z])", lambda found: found[1].upper(), name) for name in names}


@pytest.mark.parametrize(
    ("model", "prefix"),
    [
        (google.Content, "contents[]."),
        (google.Part, "contents[].parts[]."),
        (google.FunctionCall, "contents[].parts[].functionCall."),
        (google.FunctionResponse, "contents[].parts[].functionResponse."),
        (google.Tool, "tools[]."),
        (google.FunctionDeclaration, "tools[].functionDeclarations[]."),
        (google.ToolConfig, "toolConfig."),
        (google.FunctionCallingConfig, "toolConfig.functionCallingConfig."),
        (google.GenerationConfig, "generationConfig."),
        (google.ThinkingConfig, "generationConfig.thinkingConfig."),
        (google.SafetySetting, "safetySettings[]."),
    ],
)
def test_every_field_of_googles_calls_has_a_fate(gemini: Dialect, model: type[BaseModel], prefix: str) -> None:
    known = {field.removeprefix(prefix) for field in gemini.fields if field.startswith(prefix)}
    assert camel(model.model_fields) - known == set()


@pytest.mark.parametrize(
    ("model", "prefix"),
    [
        (google.GenerateContentResponse, ""),
        (google.Candidate, "candidates[]."),
        (google.GenerateContentResponseUsageMetadata, "usageMetadata."),
        (google.GenerateContentResponsePromptFeedback, "promptFeedback."),
    ],
)
def test_every_field_of_googles_replies_has_a_fate(gemini: Dialect, model: type[BaseModel], prefix: str) -> None:
    known = {field.removeprefix(prefix) for field in gemini.reply_fields if field.startswith(prefix)}
    of_the_sdk = {"sdkHttpResponse", "parsed", "automaticFunctionCallingHistory"}
    assert camel(model.model_fields) - known - of_the_sdk == set()


def test_every_field_of_the_sdks_calls_has_a_fate(completions: Dialect, messages: Dialect, responses: Dialect) -> None:
    published = completion_create_params.CompletionCreateParamsStreaming.__annotations__
    assert set(published) - set(completions.fields) == set()
    published = anthropic_params.MessageCreateParamsStreaming.__annotations__
    assert set(published) - set(messages.fields) == set()
    published = response_create_params.ResponseCreateParamsStreaming.__annotations__
    assert set(published) - set(responses.fields) == set()


def test_every_field_of_the_sdks_replies_has_a_fate(
    completions: Dialect, messages: Dialect, responses: Dialect
) -> None:
    for model in (openai.types.chat.ChatCompletion, openai.types.chat.ChatCompletionChunk):
        assert set(model.model_fields) - set(completions.reply_fields) == set()
    assert set(anthropic.types.Message.model_fields) - set(messages.reply_fields) == set()
    assert set(openai.types.responses.Response.model_fields) - set(responses.reply_fields) == set()
