"""`docs/dialects.md` lists every field that a dialect knows, with its fate; and the tables tell the truth."""

from __future__ import annotations

import re
from pathlib import Path

import anthropic.types
import anthropic.types.message_create_params as anthropic_params
import openai.types.chat
import openai.types.responses
import pytest
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params

from agentgateway.llm.calls import Dialect

PAGE = Path(__file__).parents[3] / "docs" / "dialects.md"
ROW = re.compile(r"^\| `([^`]+)` \| (carried|refused|dropped) \|", re.MULTILINE)


def section(title: str) -> dict[str, str]:
    """Fields and fates of the table under that heading."""
    _, found, rest = PAGE.read_text().partition(f"## {title}\n")
    assert found, f"no section {title}"
    return dict(ROW.findall(rest.partition("\n## ")[0]))


@pytest.fixture(params=["completions", "messages", "responses"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    found: Dialect = request.getfixturevalue(request.param)
    return found


def test_fields_of_calls(dialect: Dialect) -> None:
    assert section(f"`{dialect.name}`: calls") == dict(dialect.fields)


def test_fields_of_replies(dialect: Dialect) -> None:
    assert section(f"`{dialect.name}`: replies") == dict(dialect.reply_fields)


def test_what_a_dialect_has_no_words_for(dialect: Dialect) -> None:
    assert section(f"To `{dialect.name}`") == dict(dialect.inexpressible)


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
