"""What documents of batches, of background responses and of results say they used."""

import json
import time
from typing import Any

import pytest

from agentgateway.errors import UpstreamError
from agentgateway.exchange import Usage
from agentgateway.llm import kept
from agentgateway.llm.kept import LastResponse, Lines, Used

USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 30},
    "output_tokens": 40,
    "output_tokens_details": {"reasoning_tokens": 10},
    "total_tokens": 140,
}
READ = Usage(100, 40, 30, 0, 10)


def batch(identity: str = "batch_1", **more: Any) -> dict[str, Any]:
    made = {"id": identity, "object": "batch", "status": "completed", "created_at": int(time.time()) - 60}
    return {**made, "model": "gpt-5", "usage": USAGE, **more}


def response(**more: Any) -> dict[str, Any]:
    made = {"id": "resp_1", "object": "response", "status": "completed", "created_at": time.time(), "model": "gpt-5"}
    return {**made, "background": True, "usage": USAGE, **more}


@pytest.mark.parametrize("status", ["completed", "failed", "expired", "cancelled"])
def test_a_batch_that_has_ended_tells_what_it_used(status):
    assert kept.batches(batch(status=status)) == [Used("batch_1", READ, "gpt-5")]


@pytest.mark.parametrize(
    "more",
    [
        {"status": "in_progress"},
        {"status": "finalizing"},
        {"status": "cancelling"},
        {"status": ["completed"]},
        {"usage": None},
        {"usage": {"input_tokens": 0, "output_tokens": 0}},
        {"usage": [1]},
        {"id": None},
        {"created_at": None},
        {"created_at": "yesterday"},
        {"created_at": time.time() - kept.NEW - 1},
    ],
)
def test_one_that_goes_on_or_is_old_or_says_nothing_useful_tells_nothing(more):
    assert kept.batches(batch(**more)) == []


def test_a_list_tells_of_each_that_has_ended():
    rows = [batch("a"), batch("b", status="in_progress"), None, batch("c", model="gpt-4o")]
    listed = kept.batches({"object": "list", "data": rows})
    assert [(one.id, one.model) for one in listed] == [("a", "gpt-5"), ("c", "gpt-4o")]
    assert kept.batches({"object": "list", "data": "no list"}) == []


@pytest.mark.parametrize("status", ["completed", "failed", "incomplete", "cancelled"])
def test_a_background_response_that_has_ended_tells_what_it_used(status):
    assert kept.background_response(response(status=status)) == [Used("resp_1", READ, "gpt-5")]


@pytest.mark.parametrize("more", [{"background": False}, {"background": None}, {"status": "queued"}, {"usage": None}])
def test_any_other_response_has_told_it_to_who_made_it_or_will(more):
    assert kept.background_response(response(**more)) == []


def result(index: int, model: str = "claude-haiku-4-5") -> dict[str, Any]:
    usage = {"input_tokens": 10 + index, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2}
    usage |= {"output_tokens": 7, "service_tier": "batch"}
    content = [{"type": "text", "text": 'says "usage": {"input_tokens": 999} \n and goes on'}]
    message = {"id": f"msg_{index}", "type": "message", "role": "assistant", "model": model, "content": content}
    return {"custom_id": f"c-{index}", "result": {"type": "succeeded", "message": {**message, "usage": usage}}}


NO_RESULTS = [
    {"custom_id": "e", "result": {"type": "errored", "error": {"type": "error", "error": {"type": "api_error"}}}},
    {"custom_id": "x", "result": {"type": "expired"}},
    {"custom_id": "n", "result": None},
]
ROWS = [result(0), *NO_RESULTS, result(1), result(2)]
TEXT = b"\n".join(json.dumps(row).encode() for row in ROWS)
SUM = Usage(10 + 11 + 12 + 3 * 7, 21, 15, 6)


def summed(*chunks: bytes, limit: int = kept.LONGEST) -> tuple[Used | None, str]:
    lines = Lines(kept.result, limit)
    for chunk in chunks:
        lines.feed(chunk)
    return lines.end("msgbatch_1"), lines.fault


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b"\n\n"])
def test_results_are_added_up_wherever_their_bytes_are_cut(ending):
    text = TEXT + ending
    expected = (Used("msgbatch_1", SUM, "claude-haiku-4-5"), "")
    assert summed(text) == summed(*[bytes([one]) for one in text]) == expected
    for cut in range(len(text)):
        assert summed(text[:cut], text[cut:]) == expected


def test_results_of_several_models_have_none():
    used, _ = summed(*[json.dumps(result(0, model)).encode() + b"\n" for model in ("a", "b", "c")])
    assert used is not None and used.model is None and used.usage.output_tokens == 21


@pytest.mark.parametrize("text", [TEXT[:-1], TEXT + b"\n[1]\n", b"<html>\n" + TEXT])
def test_lines_that_cannot_be_read_make_no_sum(text):
    assert summed(text) == (None, "a line is not a JSON object")


def test_a_line_without_end_is_not_kept():
    assert summed(*[b"x" * 10] * 4, b"\n", TEXT, limit=32) == (None, "a line has more than 32 bytes")


def test_results_without_any_message_used_nothing():
    assert summed(json.dumps(NO_RESULTS[0]).encode()) == (None, "")


def events(document: dict[str, Any]) -> bytes:
    made = {"type": "response.created", "response": {**document, "status": "queued", "usage": None}}
    last = {"type": "response.completed", "response": document}
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (str(e["type"]).encode(), json.dumps(e).encode()) for e in (made, last)
    )


def test_a_stream_tells_the_response_as_it_ended_wherever_its_bytes_are_cut():
    text = events(response())
    for size in (1, 7, len(text)):
        last = LastResponse(made_here=False)
        found = [used for at in range(0, len(text), size) for used in last.feed(text[at : at + size])]
        assert found == [Used("resp_1", READ, "gpt-5")]


def test_who_asked_for_one_in_the_background_need_not_be_told_that_it_is():
    text = events(response(background=None, created_at=None))
    assert LastResponse(made_here=False).feed(text) == []
    assert LastResponse(made_here=True).feed(text) == [Used("resp_1", READ, "gpt-5")]


def test_an_event_without_end_is_not_kept():
    with pytest.raises(UpstreamError):
        LastResponse(made_here=False, limit=10).feed(b"data: " + b"x" * 100)
