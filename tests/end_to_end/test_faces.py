"""Listeners of one process that are read by different faces."""

import asyncio
import socket

BARE = b"GET /healthy HTTP/1.1\nhost: a\n\n"
"""Lines that end in LF alone, which the edge refuses and Hypercorn reads (docs/differences.md)."""
GOOD = b"GET /healthy HTTP/1.1\r\nhost: a\r\n\r\n"


async def test_each_listener_has_its_face_also_when_a_reload_switches_one(serve, face):
    default, other = face == "edge", free_port()
    gateway = await serve(f"""
        gateways:
          default: {{port: 0, address: 127.0.0.1}}
          other: {{port: {other}, address: 127.0.0.1, listeners: [{{edge: {not default}}}]}}
        routes: [{{backends: [{{host: "127.0.0.1:{free_port()}"}}]}}]
    """)
    assert await refuses_bare_lines(gateway.port) is default
    assert await refuses_bare_lines(other) is not default

    kept = await asyncio.open_connection("127.0.0.1", other)
    assert await answer(kept, GOOD) == b"HTTP/1.1 503"
    gateway.rewrite(gateway.file.read_text().replace(f"edge: {not default}", f"edge: {default}"))
    await gateway.told("configuration reloaded")
    assert await refuses_bare_lines(gateway.port) is await refuses_bare_lines(other) is default
    assert await answer(kept, GOOD) == b"HTTP/1.1 503"  # who is there stays where he is
    assert (await answer(kept, BARE) == b"HTTP/1.1 400") is not default
    kept[1].close()

    gateway.rewrite(gateway.file.read_text().replace("127.0.0.1}", f"127.0.0.1, edge: {not default}}}"))
    async with asyncio.timeout(10):
        while gateway.log.count("configuration reloaded") < 2:
            await asyncio.sleep(0.01)
    assert await refuses_bare_lines(gateway.port) is not default
    assert await refuses_bare_lines(other) is default


async def refuses_bare_lines(port: int) -> bool:
    connection = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await answer(connection, BARE) == b"HTTP/1.1 400"
    finally:
        connection[1].close()


async def answer(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes) -> bytes:
    """The beginning of a reply's first line, the reply being read whole."""
    reader, writer = connection
    writer.write(request)
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
    return head[:12]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
