"""What a call cost, by each vendor's conventions, from replies and from the raw bytes of streams."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentgateway.exchange import Usage
from agentgateway.llm.calls import Dialect, LlmCall
from agentgateway.llm.usage import UsageMeter

GOLDEN = Path(__file__).parent / "golden"
Fields = dict[str, Any]


@pytest.mark.parametrize(
    ("fields", "usage"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, Usage(10, 5)),
        (
            {
                "prompt_tokens": 2006,
                "completion_tokens": 300,
                "total_tokens": 2306,
                "prompt_tokens_details": {"cached_tokens": 1920, "cache_write_tokens": 50},
                "completion_tokens_details": {"reasoning_tokens": 64},
            },
            Usage(2006, 300, 1920, 50, 64),
        ),
        # DeepSeek's own names
        ({"prompt_tokens": 11, "completion_tokens": 9, "prompt_cache_hit_tokens": 8}, Usage(11, 9, 8)),
        # xAI leaves reasoning out of completion_tokens, and counts it into the total
        (
            {
                "prompt_tokens": 12,
                "completion_tokens": 9,
                "total_tokens": 521,
                "completion_tokens_details": {"reasoning_tokens": 500},
            },
            Usage(12, 509, reasoning_tokens=500),
        ),
        ({}, Usage()),
        ({"prompt_tokens": -4, "completion_tokens": "9", "prompt_tokens_details": None}, Usage()),
        ({"prompt_tokens": True, "completion_tokens": 1.5, "completion_tokens_details": [1]}, Usage()),
    ],
)
def test_openai_counts_include_cached_tokens_and_reasoning(completions: Dialect, fields: Fields, usage: Usage) -> None:
    assert completions.read_usage(fields) == usage


@pytest.mark.parametrize(
    ("fields", "usage"),
    [
        ({"input_tokens": 10, "output_tokens": 5}, Usage(10, 5)),
        (
            {
                "input_tokens": 50,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 200,
                "output_tokens": 30,
                "output_tokens_details": {"thinking_tokens": 20},
            },
            Usage(1250, 30, 1000, 200, 20),
        ),
        ({"input_tokens": None, "cache_read_input_tokens": None}, Usage()),
    ],
)
def test_anthropic_counts_leave_cached_tokens_out(messages: Dialect, fields: Fields, usage: Usage) -> None:
    assert messages.read_usage(fields) == usage


def test_usage_survives_the_way_to_the_other_side(completions: Dialect, messages: Dialect) -> None:
    fields = {
        "input_tokens": 50,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 200,
        "output_tokens": 3,
    }
    reply = {"id": "m", "model": "m", "content": [], "stop_reason": "end_turn", "usage": fields}
    there = completions.encode_reply(messages.decode_reply(reply))
    assert there["usage"]["prompt_tokens"] == 1250
    assert there["usage"]["prompt_tokens_details"] == {"cached_tokens": 1000, "cache_write_tokens": 200}
    back = messages.encode_reply(completions.decode_reply(there))
    assert back["usage"] == fields


WANTED = {
    "openai_text": Usage(2006, 300, 1920, 0, 64),
    "openai_interleaved_tools": Usage(82, 17),
    "openai_reasoning": Usage(11, 9, 8, 0, 7),
    "anthropic_text": Usage(132, 15, 100, 7),
    "anthropic_tools": Usage(472, 89),
    "anthropic_thinking": Usage(40, 60, 0, 0, 42),
}
MODELS = {
    "openai_text": "gpt-4o-mini",
    "openai_interleaved_tools": "gpt-4o",
    "openai_reasoning": "deepseek-reasoner",
    "anthropic_text": "claude-opus-4-5",
    "anthropic_tools": "claude-opus-4-5",
    "anthropic_thinking": "claude-sonnet-4-5",
}


@pytest.fixture
def meter(completions: Dialect, messages: Dialect) -> Callable[[str], UsageMeter]:
    return lambda name: UsageMeter(messages if name.startswith("anthropic") else completions)


@pytest.mark.parametrize("name", WANTED)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000, 100_000])
def test_the_meter_reads_raw_chunks_of_any_size(name: str, size: int, meter: Callable[[str], UsageMeter]) -> None:
    stream = (GOLDEN / f"{name}.in.sse").read_bytes()
    one = meter(name)
    for at in range(0, len(stream), size):
        one.see(stream[at : at + size])
    assert one.usage() == WANTED[name]
    assert (one.model, one.spoke, one.ended) == (MODELS[name], True, True)


def test_a_stream_that_was_left_is_estimated_from_its_text(meter: Callable[[str], UsageMeter], read: Any) -> None:
    one = meter("openai")
    one.see(b'data: {"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n')
    assert not one.spoke
    for _ in range(500):
        one.see(b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"abcdefgh"}}],"usage":null}\n\n')
    one.see(b'data: {"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"funct')
    usage = one.usage(read("completions", messages=[{"role": "user", "content": "x" * 400}]))
    assert usage.estimated
    assert usage.input_tokens == 100
    assert 980 <= usage.output_tokens <= 1000
    assert one.spoke and not one.ended


def test_what_the_vendor_said_before_the_client_left_is_kept(meter: Callable[[str], UsageMeter]) -> None:
    one = meter("anthropic")
    stream = (GOLDEN / "anthropic_text.in.sse").read_bytes()
    one.see(stream[: stream.index(b"event: content_block_stop")])
    usage = one.usage()
    assert usage.estimated
    assert (usage.input_tokens, usage.cached_input_tokens, usage.cache_creation_input_tokens) == (132, 100, 7)
    assert usage.output_tokens == 4  # `Hello "été"!` in 15 bytes as they came


def test_the_estimate_counts_tools_and_results(read: Callable[..., LlmCall], completions: Dialect) -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": "d" * 400}}]
    plain = UsageMeter(completions).usage(read("completions")).input_tokens
    assert UsageMeter(completions).usage(read("completions", tools=tools)).input_tokens > plain + 100


def test_words_like_usage_in_the_text_do_not_count(meter: Callable[[str], UsageMeter]) -> None:
    one = meter("openai")
    one.see(b'data: {"choices":[{"delta":{"content":"usage"}}]}\n\n')
    one.see(b'data: {"choices":[{"delta":{"content":"\\"usage\\":{\\"prompt_tokens\\":9}"}}]}\n\n')
    one.see(b'data: {"choices":[{"delta":{"content":"[DONE] \\"message_stop\\""}}]}\n\n')
    assert one.usage().estimated
    assert not one.ended


def test_a_line_without_end_does_not_grow_in_memory(meter: Callable[[str], UsageMeter]) -> None:
    one = meter("openai")
    for _ in range(64):
        one.see(b"x" * 65_536)
    assert sum(len(piece) for piece in one._line) <= 1 << 20
    one.see(b'\ndata: {"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n')
    assert one.usage() == Usage(1, 2)
