"""Anthropic's messages at the paths of Vertex AI."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentgateway.errors import InvalidRequest
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.dialects import by_path, dialect

FOLDER = "/v1/projects/p/locations/global/publishers/anthropic/models"
SAID = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
ASKED = {"anthropic_version": "vertex-2023-10-16", **SAID}


def read(document: Any, model: str = "claude-opus-4-6", method: str = "rawPredict") -> LlmCall:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return LlmCall.read(dialect("messages"), raw, f"{FOLDER}/{model}:{method}")


@pytest.mark.parametrize("method", ["rawPredict", "streamRawPredict"])
def test_the_path_names_the_dialect_the_model_and_whether_it_streams(method: str) -> None:
    found = by_path(f"{FOLDER}/claude-opus-4-6:{method}")
    assert found is not None and found.name == "messages"
    streams = {"stream": True} if method == "streamRawPredict" else {}
    call = read(ASKED | streams, "claude-haiku-4-5%4020251001", method)
    assert (call.model, call.stream) == ("claude-haiku-4-5@20251001", bool(streams))


def test_it_leaves_as_everywhere_else() -> None:
    outbound = read({**ASKED, "of_next_year": 1}).outbound(dialect("messages"), "claude-3")
    assert json.loads(outbound.body()) == {**SAID, "of_next_year": 1, "model": "claude-3"}
    assert read(ASKED).translated(dialect("completions")).document["model"] == "claude-opus-4-6"


def test_it_may_be_read_again() -> None:
    call = read(ASKED)
    call.edit()["temperature"] = 0.5
    call.ask("claude-3")
    call.reread()
    assert (call.model, call.document["temperature"]) == ("claude-3", 0.5)


@pytest.mark.parametrize(
    ("document", "model", "method"),
    [
        (SAID, "m", "rawPredict"),
        ({**ASKED, "stream": True}, "m", "rawPredict"),
        (ASKED, "m", "streamRawPredict"),
        ({**ASKED, "stream": "yes"}, "m", "rawPredict"),
        (ASKED, "..", "rawPredict"),
        (ASKED, "a%0Ab", "rawPredict"),
        (ASKED, "a/b", "raw"),
        (ASKED, "m" * 600, "rawPredict"),
    ],
)
def test_what_contradicts_its_path_is_refused(document: Any, model: str, method: str) -> None:
    with pytest.raises(InvalidRequest):
        if method == "raw":
            LlmCall.read(dialect("messages"), json.dumps(document).encode(), "/x:rawPredict")
        read(document, model, method)


@pytest.mark.parametrize("twice", [b'"max_tokens":9', b'"anthropic_version":"x"', b'"model":"m","model":"n"'])
def test_a_key_that_stands_twice_is_still_found(twice: bytes) -> None:
    raw = json.dumps(ASKED).encode()[:-1] + b"," + twice + b"}"
    with pytest.raises(InvalidRequest, match="twice"):
        read(raw)


def test_a_model_in_the_body_does_not_count() -> None:
    assert read({**ASKED, "model": "other"}).model == "claude-opus-4-6"


def test_counting_is_another_operation() -> None:
    assert by_path("/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict").operation == (
        "count_tokens"
    )
