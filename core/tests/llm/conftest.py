"""Dialects, small calls, and the official SDKs' own types as judges of what we write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import anthropic.types
import openai.types
import openai.types.chat
import openai.types.responses
import pytest
from anthropic.types.shared import ErrorResponse
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params
from openai.types.shared import ErrorObject
from pydantic import TypeAdapter
from pydantic_core import from_json

from agentgateway.llm.calls import Dialect, LlmCall
from agentgateway.llm.dialects.completions import Completions
from agentgateway.llm.dialects.gemini import Gemini
from agentgateway.llm.dialects.messages import Messages
from agentgateway.llm.dialects.responses import Responses
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import Event, Parser

Json = dict[str, Any]
Judge = Callable[[Json], None]


def cuts(stream: bytes) -> list[int]:
    """Where a stream can be cut in two: next to each end of a line and in each character of several bytes, and at every
    seventh byte of what is alike between them. (Whole streams also come byte by byte.)"""
    near = {
        at for found in re.finditer(rb"[\r\n\x80-\xff]", stream) for at in range(found.start() - 1, found.end() + 2)
    }
    return sorted({*near, *range(1, len(stream), 7)} & {*range(1, len(stream))})


@pytest.fixture(scope="session", name="cuts")
def _cuts() -> Callable[[bytes], list[int]]:
    return cuts


@pytest.fixture(scope="session")
def completions() -> Completions:
    return Completions()


@pytest.fixture(scope="session")
def gemini() -> Gemini:
    return Gemini()


@pytest.fixture(scope="session")
def messages() -> Messages:
    return Messages()


@pytest.fixture(scope="session")
def responses() -> Responses:
    return Responses()


@pytest.fixture(scope="session")
def read(completions: Dialect, messages: Dialect, responses: Dialect) -> Callable[..., LlmCall]:
    """A call in a dialect: `read("messages", messages=[...])`."""
    spoken = {"completions": completions, "messages": messages, "responses": responses}

    def read(name: str, **fields: Any) -> LlmCall:
        usual = {"input": "Hi"} if name == "responses" else {"messages": [{"role": "user", "content": "Hi"}]}
        document = {"model": "m", **usual, **fields}
        if name == "messages":
            document.setdefault("max_tokens", 100)
        return LlmCall.read(spoken[name], dump(document))

    return read


@pytest.fixture(scope="session")
def to_messages(read: Callable[..., LlmCall], messages: Dialect) -> Callable[..., Json]:
    """The document that a chat completions call becomes in Anthropic's format."""
    return lambda **fields: read("completions", **fields).translated(messages).document


@pytest.fixture(scope="session")
def to_completions(read: Callable[..., LlmCall], completions: Dialect) -> Callable[..., Json]:
    """The document that a messages call becomes in OpenAI's format."""
    return lambda **fields: read("messages", **fields).translated(completions).document


@pytest.fixture(scope="session")
def accepts_completion() -> Judge:
    return lambda document: _known(openai.types.chat.ChatCompletion.model_validate(document, strict=True))


@pytest.fixture(scope="session")
def accepts_message() -> Judge:
    return lambda document: _known(anthropic.types.Message.model_validate(document, strict=True))


@pytest.fixture(scope="session")
def accepts_response() -> Judge:
    return lambda document: _known(openai.types.responses.Response.model_validate(document, strict=True))


@pytest.fixture(scope="session")
def accepts_completions_error() -> Judge:
    return lambda document: _known(ErrorObject.model_validate(document["error"], strict=True))


@pytest.fixture(scope="session")
def accepts_messages_error() -> Judge:
    return lambda document: _known(ErrorResponse.model_validate(document, strict=True))


@pytest.fixture(scope="session")
def accepts_call() -> Mapping[str, Judge]:
    """By dialect: whether the SDK's own typed dictionaries hold a call."""
    import anthropic.types.message_create_params as anthropic_params

    wanted = {
        "completions": _adapter(completion_create_params.CompletionCreateParams),
        "messages": _adapter(anthropic_params.MessageCreateParams),
        "responses": _adapter(response_create_params.ResponseCreateParams),
    }
    return {
        name: lambda document, adapter=adapter: _walk(adapter.validate_python(document))
        for name, adapter in wanted.items()
    }


def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _walk(value: Any) -> None:
    """Typed dictionaries keep arrays as iterators that check on the way."""
    if isinstance(value, Mapping):
        for inner in value.values():
            _walk(inner)
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for inner in value:
            _walk(inner)


def _known(model: Any) -> None:
    """Fails for fields that the SDK does not know, unless they are our documented extensions."""
    for inner in _models(model):
        unknown = set(inner.model_extra or ()) - {"reasoning_content", "thinking_blocks"}
        assert not unknown, f"{type(inner).__name__} does not know {unknown}"


def _models(value: Any) -> Iterable[Any]:
    if hasattr(value, "model_fields_set"):
        yield value
        for name in value.model_fields_set:
            yield from _models(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            yield from _models(item)


@pytest.fixture(scope="session")
def accepts_stream() -> Mapping[str, Callable[[bytes], None]]:
    """By dialect: whether the SDK's own types hold every event of a stream, and the order of events is right."""
    return {"completions": _accept_chunks, "messages": _accept_events, "responses": _accept_numbered_events}


def _events(stream: bytes) -> list[Event]:
    parser = Parser()
    events = parser.feed(stream)
    assert not parser.end()
    return events


def _accept_chunks(stream: bytes) -> None:
    events = _events(stream)
    assert all(event.name is None for event in events)
    if b'"error"' in (events[-1].data or b""):
        _known(ErrorObject.model_validate(events.pop().document["error"], strict=True))
    else:
        assert events.pop().data == b"[DONE]"
    for event in events:
        _known(openai.types.chat.ChatCompletionChunk.model_validate(event.document, strict=True))


def _accept_events(stream: bytes) -> None:
    """https://docs.anthropic.com/en/docs/build-with-claude/streaming: one block is open at a time, indexes count up."""
    adapter = TypeAdapter(anthropic.types.RawMessageStreamEvent)
    open_block, blocks, names = None, 0, []
    for event in _events(stream):
        document = from_json(event.data or b"")
        assert event.name == document["type"]
        names.append(event.name)
        if event.name == "error":
            _known(ErrorResponse.model_validate(document, strict=True))
            continue
        _known(adapter.validate_python(document, strict=True))
        if event.name == "content_block_start":
            assert open_block is None
            assert document["index"] == blocks
            open_block, blocks = blocks, blocks + 1
        elif event.name == "content_block_delta":
            assert document["index"] == open_block
        elif event.name == "content_block_stop":
            assert document["index"] == open_block
            open_block = None
    assert names[0] == "message_start"
    assert names[-1] == "error" or (names[-2:] == ["message_delta", "message_stop"] and open_block is None)


def _accept_numbered_events(stream: bytes) -> None:
    """https://platform.openai.com/docs/api-reference/responses-streaming: events are numbered, items and parts are
    added before anything is said of them, and done with all that was said."""
    adapter = TypeAdapter(openai.types.responses.ResponseStreamEvent)
    items: dict[int, Json] = {}
    said: dict[str, str] = {}
    names = []
    for number, event in enumerate(_events(stream)):
        document = from_json(event.data or b"")
        assert (event.name, number) == (document["type"], document["sequence_number"])
        names.append(event.name)
        error = document.pop("error", None)
        assert (error is not None) == (event.name == "error")
        _known(adapter.validate_python(document, strict=True))
        place = document.get("output_index")
        if event.name == "response.output_item.added":
            assert place == len(items)
            items[place] = document["item"]
        elif event.name == "response.output_item.done":
            assert items[place]["id"] == document["item"]["id"]
            items[place] = document["item"]
        elif "item_id" in document:
            assert items[place]["id"] == document["item_id"]
            where = f"{place} {document.get('content_index')} {document.get('summary_index')}"
            said[where] = said.get(where, "") + document.get("delta", "")
            for key in ("text", "refusal", "arguments"):
                assert document.get(key, said[where]) == said[where]
    assert names[:1] == ["error"] or names[:2] == ["response.created", "response.in_progress"]
    last = document["response"]
    assert names[-1] in ("response.completed", "response.incomplete", "response.failed")
    if names[-1] != "response.failed":
        assert last["output"] == list(items.values())
        assert all(item["status"] == "completed" for item in last["output"])
