"""Anthropic's messages as Bedrock's InvokeModel has them, read by the published format:
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html and
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html

Frames are read by botocore.
"""

import json
from base64 import b64decode
from dataclasses import replace
from urllib.parse import quote

from botocore.eventstream import EventStreamBuffer

from . import converse, messages
from .facts import Json, Seen, insist, only


def heard(stream: bytes) -> Seen:
    """Frames that hold Anthropic's events, or the exception that ends them."""
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    frames = list(buffer)
    insist(sum(frame.prelude.total_length for frame in frames) == len(stream), "the last frame is whole")
    return messages.heard(b"".join(_told(frame.headers, json.loads(frame.payload)) for frame in frames))


def _told(headers: Json, payload: Json) -> bytes:
    if headers[":message-type"] == "exception":
        only(payload, "message")
        insist(headers[":exception-type"].endswith("Exception"), "the exception's type")
        event: Json = {"type": "error", "error": {"type": "api_error", "message": payload["message"]}}
    else:
        only(payload, "bytes", "p")
        insist(headers[":event-type"] == "chunk", "a frame's type")
        event = json.loads(b64decode(payload["bytes"], validate=True))
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def place(model: str, stream: bool) -> str:
    return f"/model/{quote(model, safe='')}/invoke{'-with-response-stream' if stream else ''}"


SPEAKER = replace(
    messages.SPEAKER,
    name="invoke",
    path="",
    headers=converse.SPEAKER.headers,
    streaming={},
    kinds=converse.SPEAKER.kinds,
    heard=heard,
    failed=converse.failed,
    place=place,
    streams="application/vnd.amazon.eventstream",
    transcripts="messages",
    wrapping={"anthropic_version": "bedrock-2023-05-31"},
)
