"""Realtime sessions for the guard matrix: a vendor that says what it is asked to, and what a client hears of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from .dialects import COMPLETIONS, Json, parts
from .tools import arguments

DELTAS = {"text": "response.output_text", "arguments": "response.function_call_arguments"}
REALTIME = replace(COMPLETIONS, name="realtime")
"""A dialect by name alone: a session has no calls."""


def said_by_client(place: str, text: str) -> Json:
    """An event of a client with a text, in a message or as a tool's result."""
    if place == "result":
        item: Json = {"type": "function_call_output", "call_id": "t1", "output": text}
    elif place == "arguments":
        item = {"type": "function_call", "call_id": "t1", "name": "note", "arguments": arguments(text)}
    else:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    return {"type": "conversation.item.create", "item": item}


def heard_by_vendor(place: str, message: str) -> str:
    """The text in such an event."""
    item = json.loads(message)["item"]
    if place == "text":
        return str(item["content"][0]["text"])
    return str(item["output"] if place == "result" else json.loads(item["arguments"])["note"])


def asking_for(place: str, text: str) -> Json:
    return {"type": "response.create", "place": place, "say": text}


@asynccontextmanager
async def vendor(heard: list[str]) -> AsyncIterator[str]:
    """A server of sessions; its address. It says the text that a `response.create` asks for, piece by piece."""

    async def session(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"type": "session.created", "session": {"model": "m"}}))
        try:
            async for message in socket:
                heard.append(str(message))
                event = json.loads(message)
                if event["type"] == "response.create":
                    for one in answer(event["place"], event["say"]):
                        await socket.send(json.dumps(one))
                else:
                    await socket.send(json.dumps({"type": "conversation.item.added"}))
        except ConnectionClosed:
            pass

    async with serve(session, "127.0.0.1", 0) as server:
        yield "{}:{}".format(*server.sockets[0].getsockname()[:2])


def answer(place: str, text: str) -> list[Json]:
    of = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
    said = arguments(text) if place == "arguments" else text
    usage = {"total_tokens": 2, "input_tokens": 1, "output_tokens": 1}
    return [
        {"type": "response.created", "response": {"id": "r", "output": []}},
        *({"type": f"{DELTAS[place]}.delta", **of, "delta": piece} for piece in parts(said)),
        {"type": f"{DELTAS[place]}.done", **of, place: said},
        {"type": "response.done", "response": {"id": "r", "status": "completed", "output": [], "usage": usage}},
    ]


async def held(url: str, model: str, event: Json) -> tuple[list[Any], bool]:
    """A session in which one event is sent: what the client hears behind it, and whether it was ended for an error."""
    told: list[Any] = []
    async with asyncio.timeout(10), connect(f"{url.replace('http', 'ws', 1)}/v1/realtime?model={model}") as socket:
        assert json.loads(await socket.recv())["type"] == "session.created"
        await socket.send(json.dumps(event))
        try:
            while not told or told[-1]["type"] not in ("conversation.item.added", "response.done"):
                told.append(json.loads(await socket.recv()))
        except ConnectionClosed:
            return told, True
    return told, False


def spoken(told: list[Any], place: str) -> str:
    """The text of an answer, put together from its pieces."""
    text = "".join(event["delta"] for event in told if event["type"] == f"{DELTAS[place]}.delta")
    return json.loads(text)["note"] if place == "arguments" and text else text
