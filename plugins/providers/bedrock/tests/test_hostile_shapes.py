"""Whatever stands where something else should: a refusal that names the field, never a crash."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from agentgateway_bedrock.converse import Converse
from agentgateway_bedrock.frames import FrameParser, event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentgateway.errors import InvalidRequest, UpstreamError
from agentgateway.llm.calls import Dialect, LlmCall
from agentgateway.llm.dialects.completions import Completions
from agentgateway.llm.dialects.messages import Messages
from agentgateway.llm.documents import dump
from agentgateway.llm.framed import meter
from agentgateway.llm.streams import Translator
from agentgateway.testing.hostile import spoil

Json = dict[str, Any]
GOLDEN = Path(__file__).parent / "golden"
NAMES = ("text", "tools", "reasoning")
relaxed = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def transcript(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def odd(document: Json, data: st.DataObject) -> Json:
    """A copy with something odd in one or two places."""
    return spoil(document, lambda count: data.draw(st.integers(0, count - 1)))


@pytest.mark.parametrize("to", [Messages(), Completions(), Converse()], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("name", NAMES)
@given(st.data())
@relaxed
def test_calls(name: str, to: Dialect, data: st.DataObject) -> None:
    document = odd(transcript(f"{name}.request"), data)
    with suppress(InvalidRequest):
        call = LlmCall.read(Converse(), dump(document), "/model/m/converse")
        for segment in call.segments():
            assert type(segment.text) is str
            segment.replace(segment.text + "!")
        assert json.loads(call.body())
        assert to.encode_call(call.canonical())


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
@relaxed
def test_replies(name: str, data: st.DataObject) -> None:
    document = odd(transcript(f"{name}.reply"), data)
    for segment in Converse().reply_segments(document):
        assert type(segment.text) is str
        segment.replace(segment.text + "!")
    Converse().usage(document)
    Converse().reply_model(document)
    with suppress(UpstreamError):
        assert Messages().encode_reply(Converse().decode_reply(document))


@pytest.mark.parametrize("name", (*NAMES, "throttled"))
@given(st.data())
@settings(relaxed, max_examples=100)
def test_streams(name: str, data: st.DataObject) -> None:
    call = LlmCall.read(Messages(), b'{"model":"m","messages":[],"max_tokens":1,"stream":true}')
    counter = meter(Converse())
    translator = Translator(Converse(), Messages(), call, parser=counter.parsed)
    for one in transcript(f"{name}.stream"):
        for kind, payload in (odd(one, data) if data.draw(st.booleans()) else one).items():
            raw = event(kind, payload)
            for read in FrameParser().feed(raw):
                for segment in Converse().event_segments(read):
                    assert type(segment.text) is str
            counter.see(raw)
            translator.feed(raw)
    translator.end()
    counter.usage(call)
