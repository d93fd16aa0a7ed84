"""FastMCP's client, told what to do on its standard input: see `Order` in test_mcp_clients.py."""

import asyncio
import json
import sys
import warnings
from typing import Any

warnings.simplefilter("ignore")  # the SDK deprecates what the older era needs

import mcp_types as types  # noqa: E402
from fastmcp import Client  # noqa: E402
from mcp import MCPError  # noqa: E402

VALUES = {"string": "said", "integer": 7, "number": 7.5, "boolean": True}


class Session:
    """One connection, and what it has heard since the step began."""

    def __init__(self, url: str, mode: str) -> None:
        self.heard: list[Any] = []
        self.changed: set[str] = set()
        self.client = Client(
            url,
            mode=mode,
            cache=False,
            roots=self.roots,
            sampling_handler=self.sample,
            elicitation_handler=self.elicit,
            log_handler=self.log,
            progress_handler=self.progress,
            message_handler=self.message,
        )

    async def sample(self, messages: Any, params: Any, context: Any) -> str:
        self.heard.append(["sampling", messages[0].content.text])
        return "sampled"

    async def elicit(self, message: str, response_type: Any, params: Any, context: Any) -> Any:
        self.heard.append(["elicitation", message])
        properties = params.requested_schema["properties"]
        return {name: VALUES.get(one["type"], ["one"]) for name, one in properties.items() if "enum" not in one}

    async def roots(self, context: Any) -> list[types.Root]:
        self.heard.append(["roots"])
        return [types.Root(uri="file:///srv/root", name="root")]

    async def log(self, message: Any) -> None:
        self.heard.append(["log", message.level, message.data])

    async def progress(self, done: float, total: float | None, message: str | None) -> None:
        self.heard.append(["progress", done, total])

    async def message(self, message: Any) -> None:
        method = getattr(message, "method", None) or getattr(getattr(message, "root", None), "method", "")
        if method.endswith(("list_changed", "resources/updated")):
            self.changed.add(method)

    async def step(self, name: str, *given: Any) -> Any:
        client = self.client
        match name:
            case "tools":
                return await client.list_tools()
            case "prompts":
                return await client.list_prompts()
            case "resources":
                return await client.list_resources()
            case "templates":
                return await client.list_resource_templates()
            case "call":
                return await client.call_tool_mcp(*given)
            case "read":
                return await client.read_resource_mcp(*given)
            case "prompt":
                return await client.get_prompt_mcp(*given)
            case "complete":
                prompt, argument, value = given
                reference = types.PromptReference(type="ref/prompt", name=prompt)
                return await client.complete_mcp(reference, {"name": argument, "value": value})
            case "change":
                return await self.change(*given)
        raise ValueError(name)

    async def change(self, tool: str, arguments: Any, method: str, uri: str = "") -> str:
        """Make the server say that something has changed, and hear it; this client cannot in the newer era."""
        if self.client.session.protocol_version >= "2026":
            return method
        if uri:
            await self.client.session.subscribe_resource(uri)
        async with asyncio.timeout(20):
            while method not in self.changed:  # the stream for it may only be opening
                await self.client.call_tool_mcp(tool, arguments)
                await asyncio.sleep(0.1)
        return method


def wire(value: Any) -> Any:
    if isinstance(value, list):
        return [wire(one) for one in value]
    return value.model_dump(by_alias=True, mode="json", exclude_none=True) if hasattr(value, "model_dump") else value


async def follow(url: str, mode: str, steps: list[list[Any]]) -> list[Any]:
    """What every step came to, and what was heard meanwhile."""
    session = Session(url, mode)
    async with session.client:
        inner = session.client.session
        done: list[Any] = [[inner.protocol_version, wire(inner.server_capabilities), []]]
        for name, *given in steps:
            session.heard = []
            try:
                result = wire(await session.step(name, *given))
            except MCPError as error:
                result = {"code": error.error.code, "message": error.error.message}
            done.append([name, result, session.heard])
    return done


async def main() -> None:
    order = json.load(sys.stdin)
    print(json.dumps([await follow(url, order["mode"], order["steps"]) for url in order["urls"]]))


asyncio.run(main())
