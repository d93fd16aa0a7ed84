"""As much HTTP/1.1 as a test server on loopback needs (RFC 9112)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

from agentgateway.exchange import Headers

MOST_BODY = 32 * 1024 * 1024
"""https://docs.anthropic.com/en/api/overview#request-size-limits"""
LAST = b"0\r\n\r\n"


class BadRequest(Exception):
    """What came is no HTTP request, or too large; the connection ends."""


@dataclass(frozen=True, slots=True)
class Request:
    """Header names in lower case; of repeated fields the last one."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """The next request of a connection, None when it ended between two. Raises `BadRequest`."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BadRequest("the head ended early") from None
        return None
    except asyncio.LimitOverrunError:
        raise BadRequest("the head is too large") from None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3:
        raise BadRequest("not a request line")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return Request(words[0], words[1].partition("?")[0], headers, await _body(reader, headers))


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    try:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return await _chunks(reader)
        length = int(headers.get("content-length", "0"))
        if not 0 <= length <= MOST_BODY:
            raise BadRequest("the body is too large")
        return await reader.readexactly(length)
    except (ValueError, asyncio.IncompleteReadError):
        raise BadRequest("the body is malformed or ended early") from None


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readline()).partition(b";")[0], 16):
        if len(body) + size > MOST_BODY:
            raise BadRequest("the body is too large")
        body += await reader.readexactly(size)
        await reader.readline()
    while (await reader.readline()).strip():
        pass
    return bytes(body)


def head(status: int, headers: Headers, length: int | None) -> bytes:
    """The head of an answer; chunked when its length is None."""
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} {reason}\r\n{fields}{framing}\r\n\r\n".encode("latin-1")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
