"""Errors and model listings in each dialect, as the official SDKs read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic.types
import openai.types
import pytest

from agentgateway.llm.calls import Dialect, ErrorFacts, ModelEntry
from agentgateway.llm.dialects import by_path
from agentgateway.llm.documents import dump, parse

Json = dict[str, Any]
Judge = Callable[[Json], None]

STATUSES = [
    (400, "invalid_request_error", "invalid_request_error"),
    (401, "invalid_request_error", "authentication_error"),
    (402, "invalid_request_error", "billing_error"),
    (403, "invalid_request_error", "permission_error"),
    (404, "invalid_request_error", "not_found_error"),
    (408, "invalid_request_error", "timeout_error"),
    (409, "invalid_request_error", "invalid_request_error"),
    (413, "invalid_request_error", "request_too_large"),
    (422, "invalid_request_error", "invalid_request_error"),
    (429, "rate_limit_error", "rate_limit_error"),
    (500, "server_error", "api_error"),
    (502, "server_error", "api_error"),
    (503, "server_error", "overloaded_error"),
    (504, "server_error", "timeout_error"),
    (529, "server_error", "overloaded_error"),
]


@pytest.mark.parametrize(("status", "openai_type", "anthropic_type"), STATUSES)
def test_the_status_says_the_type(
    completions: Dialect,
    messages: Dialect,
    accepts_completions_error: Judge,
    accepts_messages_error: Judge,
    status: int,
    openai_type: str,
    anthropic_type: str,
) -> None:
    facts = ErrorFacts(status, "no")
    document = completions.encode_error(facts)
    assert (document["error"]["type"], document["error"]["message"]) == (openai_type, "no")
    accepts_completions_error(document)
    document = messages.encode_error(facts)
    assert document == {"type": "error", "error": {"type": anthropic_type, "message": "no"}}
    if status != 413:  # documented by the vendor, unknown to its SDK's types
        accepts_messages_error(document)


def test_openais_own_words_are_read_and_written(completions: Dialect, messages: Dialect) -> None:
    body = {"error": {"message": "Too long", "type": "invalid_request_error", "param": "messages", "code": "too_long"}}
    facts = completions.decode_error(400, dump(body))
    assert facts == ErrorFacts(400, "Too long", "invalid_request_error", "too_long", "messages")
    assert completions.encode_error(facts) == body
    assert messages.encode_error(facts)["error"] == {"type": "invalid_request_error", "message": "Too long"}


def test_anthropics_own_words_are_read_and_written(completions: Dialect, messages: Dialect) -> None:
    body = {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}, "request_id": "req_1"}
    facts = messages.decode_error(404, dump(body))
    assert facts == ErrorFacts(404, "model: x", "not_found_error")
    assert completions.encode_error(facts)["error"] == {
        "message": "model: x",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the upstream answered with status 500"),
        (b"<html>oops</html>", "the upstream answered with status 500"),
        (b"[]", "the upstream answered with status 500"),
        (b"null", "the upstream answered with status 500"),
        (b'{"error":null}', "the upstream answered with status 500"),
        (b'{"error":{"message":7}}', "7"),
        (b'{"error":"plain words"}', "plain words"),
        (b'{"message":"at the top","type":"x","code":500}', "at the top"),
        (b'[{"error":{"message":"in an array","code":500}}]', "in an array"),
        (b'{"error":{"message":"' + b"x" * 20_000 + b'"}}', "x" * 10_000),
    ],
)
def test_other_bodies_are_read_as_far_as_they_go(
    completions: Dialect, messages: Dialect, body: bytes, message: str
) -> None:
    for dialect in (completions, messages):
        facts = dialect.decode_error(500, body)
        assert (facts.status, facts.message) == (500, message)
        assert parse(dump(dialect.encode_error(facts)))


ENTRIES = [ModelEntry("gpt-5", 1_700_000_000, "openai"), ModelEntry("claude", 0, display_name="Claude")]


def test_models_for_a_client_of_openai(completions: Dialect) -> None:
    document = completions.models(ENTRIES)
    assert document == {
        "object": "list",
        "data": [
            {"id": "gpt-5", "object": "model", "created": 1_700_000_000, "owned_by": "openai"},
            {"id": "claude", "object": "model", "created": 0, "owned_by": "agentgateway"},
        ],
    }
    for model in document["data"]:
        assert not openai.types.Model.model_validate(model, strict=True).model_extra
    assert completions.model(ENTRIES[0]) == document["data"][0]


def test_models_for_a_client_of_anthropic(messages: Dialect) -> None:
    document = messages.models(ENTRIES)
    assert (document["has_more"], document["first_id"], document["last_id"]) == (False, "gpt-5", "claude")
    assert [(model["id"], model["display_name"], model["created_at"]) for model in document["data"]] == [
        ("gpt-5", "gpt-5", "2023-11-14T22:13:20Z"),
        ("claude", "Claude", "1970-01-01T00:00:00Z"),
    ]
    for model in document["data"]:
        assert not anthropic.types.ModelInfo.model_validate(model).model_extra
    assert messages.models([]) == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize("length", [0, 100, 100_000])
def test_the_ending_of_a_path_names_its_dialect_however_long_it_is(length: int) -> None:
    for path, name in (("/v1/chat/completions", "completions"), ("/v1/messages", "messages")):
        found = by_path(f"/{'a' * length}{path}")
        assert found is not None and found.name == name
    assert by_path(f"/{'a' * length}/nowhere") is None
