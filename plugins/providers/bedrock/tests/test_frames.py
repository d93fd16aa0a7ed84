"""Event-stream frames: written as botocore reads them, read wherever they are cut."""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Callable
from typing import Any

import pytest
from agentgateway_bedrock.frames import Frame, FrameParser, event, exception, frame
from botocore.eventstream import EventStreamBuffer

from agentgateway.errors import UpstreamError

Framed = Callable[[Any], bytes]
Golden = Callable[[str], Any]


def by_botocore(data: bytes) -> list[tuple[dict[str, str], bytes]]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [(message.headers, message.payload) for message in buffer]


def test_what_is_written_botocore_reads() -> None:
    written = event("messageStart", {"role": "assistant"}) + exception("throttlingException", {"message": "é"})
    assert by_botocore(written) == [
        (
            {":event-type": "messageStart", ":content-type": "application/json", ":message-type": "event"},
            b'{"role":"assistant"}',
        ),
        (
            {
                ":exception-type": "throttlingException",
                ":content-type": "application/json",
                ":message-type": "exception",
            },
            '{"message":"é"}'.encode(),
        ),
    ]


def test_a_frame_is_built_by_hand_as_published() -> None:
    """Prelude, its checksum, a header (its length, name, type 7, length, text), payload, checksum."""
    header = b"\x0b:event-type\x07\x00\x01x"
    prelude = struct.pack("!II", 12 + len(header) + 2 + 4, len(header))
    prelude += struct.pack("!I", crc32(prelude))
    whole = prelude + header + b"{}"
    assert frame(b"{}", {":event-type": "x"}) == whole + struct.pack("!I", crc32(whole))


def test_a_stream_cut_at_any_byte_reads_the_same(framed: Framed, golden: Golden) -> None:
    stream = framed(golden("tools.stream"))
    expected = [(one.name, one.data, one.raw) for one in FrameParser().feed(stream)]
    assert b"".join(raw for _, _, raw in expected) == stream
    for cut in range(1, len(stream)):
        parser = FrameParser()
        read = [*parser.feed(stream[:cut]), *parser.feed(stream[cut:])]
        assert [(one.name, one.data, one.raw) for one in read] == expected
        assert parser.waiting == 0
    parser = FrameParser()
    single = [one for i in range(len(stream)) for one in parser.feed(stream[i : i + 1])]
    assert [(one.name, one.data, one.raw) for one in single] == expected


def test_half_a_frame_waits_and_is_no_event() -> None:
    whole = event("messageStart", {"role": "assistant"})
    parser = FrameParser()
    assert parser.feed(whole[:-1]) == []
    assert parser.waiting == len(whole) - 1
    assert parser.end() == []


def test_a_damaged_byte_anywhere_is_noticed() -> None:
    whole = event("messageStop", {"stopReason": "end_turn"})
    for place in range(len(whole)):
        damaged = whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :]
        parser = FrameParser()
        try:
            read = parser.feed(damaged)
        except UpstreamError:
            assert parser.waiting > 0
            continue
        assert read == []  # its length says that more is to come


def test_headers_of_an_unknown_form_are_noticed() -> None:
    for header in (b"\x01x\x63", b"\x01x\x07\x00\x02\xff\xfe", b"\x05x"):
        prelude = struct.pack("!II", 16 + len(header), len(header))
        prelude += struct.pack("!I", crc32(prelude))
        whole = prelude + header
        with pytest.raises(UpstreamError):
            FrameParser().feed(whole + struct.pack("!I", crc32(whole)))


def test_a_frame_beyond_the_limit_is_refused_before_it_is_there() -> None:
    whole = event("contentBlockDelta", {"delta": {"text": "x" * 500}})
    with pytest.raises(UpstreamError, match="too long"):
        FrameParser(400).feed(whole[:20])
    assert len(FrameParser(1000).feed(whole)) == 1


def test_an_edited_frame_is_written_anew_with_its_headers() -> None:
    (one,) = FrameParser().feed(event("contentBlockDelta", {"delta": {"text": "secret"}, "p": "abc"}))
    assert one.encode() is one.raw
    assert one.document is not None
    one.document["delta"]["text"] = "***"
    one.mark_changed()
    ((headers, payload),) = by_botocore(one.encode())
    assert headers[":event-type"] == "contentBlockDelta"
    assert payload == b'{"delta":{"text":"***"},"p":"abc"}'


def test_an_error_without_a_payload_tells_its_message() -> None:
    headers = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "gone"}
    (one,) = FrameParser().feed(frame(b"", headers))
    assert isinstance(one, Frame)
    assert (one.failed, one.name, one.document) == (True, "InternalFailure", {"message": "gone"})
