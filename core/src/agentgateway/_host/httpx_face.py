"""The other face of the transport: what `httpx.AsyncClient(transport=...)` wants, on the same pools and limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentgateway._host.transport import Origin, PoolExhausted, TlsSettings, Transport, UpstreamResponse, encode_head
from agentgateway.errors import ConnectFailed, InvalidRequest, UpstreamError, UpstreamTimeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx


def httpx_transport(transport: Transport, tls: TlsSettings | None = None) -> httpx.AsyncBaseTransport:
    """A transport for `httpx.AsyncClient`; `tls` applies to https URLs, by default the system's trust.

    Imports httpx. Of its timeouts, `connect` and `pool` bound the wait for a connection (the larger of the two),
    `read` the wait for the head and each silence in the body; `write` is covered by `read`. Errors are httpx's own.
    Closing the client leaves `transport` open: it belongs to whoever made it.
    """
    import httpx

    secure = tls or TlsSettings()

    class Body(httpx.AsyncByteStream):
        def __init__(self, response: UpstreamResponse, request: httpx.Request) -> None:
            self._response = response
            self._request = request

        async def __aiter__(self) -> AsyncIterator[bytes]:
            with _errors_of_httpx(self._request):
                async for chunk in self._response:
                    yield chunk

        async def aclose(self) -> None:
            self._response.abort()

    class PooledTransport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            times = request.extensions.get("timeout", {})
            with _errors_of_httpx(request):
                head, body = _encode(request)
                response = await transport.send(
                    _origin(request.url, secure),
                    head,
                    body,
                    method=request.method.encode(),
                    head_timeout=times.get("read"),
                    body_timeout=times.get("read"),
                    connect_timeout=_larger(times.get("connect"), times.get("pool")),
                )
            return httpx.Response(
                response.status,
                headers=response.headers,
                stream=Body(response, request),
                extensions={"http_version": b"HTTP/1.1", "reason_phrase": response.reason},
            )

    return PooledTransport()


def _origin(url: httpx.URL, tls: TlsSettings) -> Origin:
    import httpx

    if url.scheme not in ("http", "https") or not url.host:
        raise httpx.UnsupportedProtocol(f"not an http(s) URL with a host: scheme {url.scheme!r}")
    secure = tls if url.scheme == "https" else None
    return Origin(url.raw_host.decode().strip("[]"), url.port or (443 if secure else 80), secure)


def _encode(request: httpx.Request) -> tuple[bytes, bytes | AsyncIterator[bytes] | None]:
    import httpx

    body: bytes | AsyncIterator[bytes] | None
    length: int | None
    if isinstance(request.stream, httpx.ByteStream):
        body = b"".join(request.stream)
        length = len(body) if body or "content-length" in request.headers else None
    elif isinstance(request.stream, httpx.AsyncByteStream):
        body = request.stream.__aiter__()
        announced = request.headers.get("content-length")
        length = int(announced) if announced is not None else None
    else:
        raise httpx.RequestError("a synchronous body cannot be sent by an asynchronous client", request=request)
    head = encode_head(
        request.method,
        request.url.raw_path.decode("ascii"),
        request.headers["host"],
        request.headers.raw,
        content_length=length,
        chunked=length is None and not isinstance(body, bytes),
    )
    return head, body


def _larger(connect: float | None, pool: float | None) -> float | None:
    return None if connect is None or pool is None else max(connect, pool)


@contextmanager
def _errors_of_httpx(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except (UpstreamError, InvalidRequest) as error:
        raise _translated(error, request) from error


def _translated(error: UpstreamError | InvalidRequest, request: httpx.Request) -> httpx.RequestError:
    import httpx

    kind: type[httpx.RequestError]
    if isinstance(error, InvalidRequest):
        kind = httpx.LocalProtocolError
    elif isinstance(error, UpstreamTimeout):
        kind = httpx.ReadTimeout if error.sent else httpx.ConnectTimeout
    elif isinstance(error, PoolExhausted):
        kind = httpx.PoolTimeout
    elif isinstance(error, ConnectFailed) and not error.sent:
        kind = httpx.ConnectError
    else:
        kind = httpx.RemoteProtocolError
    return kind(error.message, request=request)
