"""What InvokeModel's bodies become, and frames that hold something else than they should."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import suppress
from typing import Any

import pytest
from agentgateway_bedrock.frames import event, exception
from agentgateway_bedrock.plugin import Bedrock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentgateway.errors import InvalidRequest, UpstreamError
from agentgateway.exchange import Headers, Outgoing
from agentgateway.llm.calls import Delta, ErrorFacts, Failed, LlmCall
from agentgateway.llm.dialects import dialect
from agentgateway.testing import DialectContract, make
from agentgateway.testing.hostile import spoil

PATH = "/model/m/invoke"
CLAUDE: dict[str, Any] = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 5,
    "system": [{"type": "text", "text": "Brief."}],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "WZPZ"}]}],
}
BODIES: dict[str, dict[str, Any]] = {
    "bedrock_messages": CLAUDE,
    "bedrock_titan": {"inputText": "a", "dimensions": 5, "normalize": True, "embeddingTypes": ["float"]},
    "bedrock_cohere": {"texts": ["a"], "input_type": "clustering", "embedding_types": ["float"], "truncate": "NONE"},
}
OTHER = {"bedrock_messages": "completions", "bedrock_titan": "embeddings", "bedrock_cohere": "embeddings"}
SPOKEN = dialect("bedrock_messages")


class TestMessagesContract(DialectContract):
    name = "bedrock_messages"
    call = CLAUDE
    reply = {
        "id": "msg_bdrk_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [{"type": "text", "text": "WZPZ"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }
    spoken = "WZPZ"

    def test_it_has_its_own_name_and_paths(self) -> None:
        """The paths are those of all bodies."""
        assert (self.dialect.name, self.dialect.paths) == (self.name, ())
        assert self.dialect.path("a:b", stream=True) == "/model/a%3Ab/invoke-with-response-stream"


def read(document: Any, path: str = PATH) -> LlmCall:
    return LlmCall.read(dialect("bedrock_invoke"), json.dumps(document).encode(), path)


@pytest.mark.parametrize("name", BODIES)
def test_a_body_says_its_dialect(name: str) -> None:
    call = read(BODIES[name])
    assert (call.dialect.name, call.model, call.stream) == (name, "m", False)
    assert json.loads(call.body()) == BODIES[name]


def test_the_path_says_that_it_streams() -> None:
    assert read(CLAUDE, "/model/m/invoke-with-response-stream").stream
    with pytest.raises(InvalidRequest, match="missing in the path"):
        read(CLAUDE, "/elsewhere/invoke")


def test_a_body_that_nobody_knows_is_unread_where_it_names_a_model() -> None:
    assert read({"model": "m"}).dialect.unread
    with pytest.raises(InvalidRequest, match="no format that is known here"):
        read({"prompt": "Hi"})


@pytest.mark.parametrize("name", BODIES)
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_spoilt_body_is_refused_or_read(name: str, data: st.DataObject) -> None:
    document = spoil(BODIES[name], lambda n: data.draw(st.integers(0, n - 1)))
    with suppress(InvalidRequest):
        call = read(document)
        if call.dialect.name == name:
            call.segments()
            call.translated(dialect(OTHER[name]))


@pytest.mark.parametrize("how", ["detect", "opaque"])
def test_what_passes_as_it_came_has_the_operators_guardrail_in_headers(how: str) -> None:
    config = {"region": "eu-west-1", "guardrailIdentifier": "gr1", "guardrailVersion": "DRAFT"}
    provider: Bedrock = make("agentgateway.providers", "bedrock", config)
    call = read(CLAUDE).passed(how)
    told = {"x-amzn-bedrock-guardrailidentifier": "of-the-client", "x-bedrock-metadata": '{"a": "b"}'}
    outgoing = Outgoing("POST", provider.url, PATH, Headers.of(told))
    provider.finish(outgoing, call)
    assert not call.changed
    assert dict(outgoing.headers) == {
        "accept": "application/json",
        "x-amzn-bedrock-guardrailidentifier": "gr1",
        "x-amzn-bedrock-guardrailversion": "DRAFT",
        "x-amzn-bedrock-request-metadata": '{"a": "b"}',
    }


def heard(stream: bytes) -> list[Delta]:
    decoder = SPOKEN.decoder()
    return [delta for one in SPOKEN.parser().feed(stream) for delta in decoder.feed(one)]


def test_an_exception_fails_the_stream() -> None:
    told = exception("throttlingException", {"message": "Slow down."})
    assert heard(told + told) == [Failed(ErrorFacts(429, "Slow down.", "throttlingException"))]


@pytest.mark.parametrize("payload", [{}, {"bytes": 7}, {"bytes": "%"}, {"bytes": b64encode(b"[]").decode()}])
def test_a_frame_that_holds_no_event_breaks_the_stream(payload: Any) -> None:
    with suppress(UpstreamError):
        assert any(isinstance(delta, Failed) for delta in heard(event("chunk", payload)))


def test_an_edited_event_is_framed_again() -> None:
    told = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a secret"}}
    (one,) = SPOKEN.parser().feed(event("chunk", {"bytes": b64encode(json.dumps(told).encode()).decode()}))
    raw = one.encode()
    (segment,) = SPOKEN.event_segments(one)
    segment.replace("a mask")
    (again,) = SPOKEN.parser().feed(one.encode())
    assert again.document == told | {"delta": {"type": "text_delta", "text": "a mask"}}
    assert one.encode() != raw
