"""The Python SDK's client, told what to do on its standard input: see `Order` in test_mcp_clients.py."""

import asyncio
import json
import sys
import warnings
from typing import Any

warnings.simplefilter("ignore")  # the SDK deprecates what the older era needs

import mcp_types as types  # noqa: E402
from mcp import Client, MCPError  # noqa: E402

VALUES = {"string": "said", "integer": 7, "number": 7.5, "boolean": True}


class Session:
    """One connection, and what it has heard since the step began."""

    def __init__(self, url: str, mode: str) -> None:
        self.heard: list[Any] = []
        self.changed: set[str] = set()
        self.client = Client(
            url,
            mode=mode,
            cache=None,
            log_level="debug",
            sampling_callback=self.sample,
            elicitation_callback=self.elicit,
            list_roots_callback=self.roots,
            logging_callback=self.log,
            message_handler=self.message,
        )

    async def sample(self, context: Any, params: Any) -> types.CreateMessageResult:
        self.heard.append(["sampling", params.messages[0].content.text])
        content = types.TextContent(type="text", text="sampled")
        return types.CreateMessageResult(role="assistant", content=content, model="none")

    async def elicit(self, context: Any, params: Any) -> types.ElicitResult:
        self.heard.append(["elicitation", params.message])
        properties = params.requested_schema["properties"]
        content = {name: VALUES.get(one["type"], ["one"]) for name, one in properties.items() if "enum" not in one}
        return types.ElicitResult(action="accept", content=content)

    async def roots(self, context: Any) -> types.ListRootsResult:
        self.heard.append(["roots"])
        return types.ListRootsResult(roots=[types.Root(uri="file:///srv/root", name="root")])

    async def log(self, params: Any) -> None:
        self.heard.append(["log", params.level, params.data])

    async def progress(self, done: float, total: float | None, message: str | None) -> None:
        self.heard.append(["progress", done, total])

    async def message(self, message: Any) -> None:
        if isinstance(message, Exception):
            self.heard.append(["exception", repr(message)])
        elif message.method.endswith(("list_changed", "resources/updated")):
            self.changed.add(message.method)

    async def step(self, name: str, *arguments: Any) -> Any:
        client = self.client
        match name:
            case "tools":
                return await self.all("tools", client.list_tools)
            case "prompts":
                return await self.all("prompts", client.list_prompts)
            case "resources":
                return await self.all("resources", client.list_resources)
            case "templates":
                return await self.all("resource_templates", client.list_resource_templates)
            case "call":
                return await client.call_tool(*arguments, progress_callback=self.progress)
            case "read":
                return await client.read_resource(*arguments)
            case "prompt":
                return await client.get_prompt(*arguments)
            case "complete":
                prompt, argument, value = arguments
                return await client.complete(
                    types.PromptReference(type="ref/prompt", name=prompt), {"name": argument, "value": value}
                )
            case "change":
                return await self.change(*arguments)
        raise ValueError(name)

    async def all(self, member: str, fetch: Any) -> Any:
        """Every page of a list."""
        found, cursor = [], None
        while True:
            page = await fetch(cursor=cursor)
            found += getattr(page, member)
            if (cursor := page.next_cursor) is None:
                return found

    async def change(self, tool: str, arguments: Any, method: str, uri: str = "") -> str:
        """Make the server say that something has changed, and hear it."""
        if self.client.protocol_version >= "2026":
            return await self.listen(tool, arguments, [uri] if uri else [])
        if uri:
            await self.client.subscribe_resource(uri)
        async with asyncio.timeout(20):
            while method not in self.changed:  # the stream for it may only be opening
                await self.client.call_tool(tool, arguments)
                await asyncio.sleep(0.1)
        return method

    async def listen(self, tool: str, arguments: Any, uris: list[str]) -> str:
        wanted = self.client.listen(tools_list_changed=True, prompts_list_changed=True, resource_subscriptions=uris)
        async with asyncio.timeout(20), wanted as subscription:
            await self.client.call_tool(tool, arguments)
            async for event in subscription:
                return type(event).__name__
        raise ValueError("the subscription ended")


def wire(value: Any) -> Any:
    if isinstance(value, list):
        return [wire(one) for one in value]
    return value.model_dump(by_alias=True, mode="json", exclude_none=True) if hasattr(value, "model_dump") else value


async def follow(url: str, mode: str, steps: list[list[Any]]) -> list[Any]:
    """What every step came to, and what was heard meanwhile."""
    session = Session(url, mode)
    done: list[Any] = []
    async with session.client:
        done.append([session.client.protocol_version, wire(session.client.server_capabilities), []])
        for name, *arguments in steps:
            session.heard = []
            try:
                result = wire(await session.step(name, *arguments))
            except MCPError as error:
                result = {"code": error.error.code, "message": error.error.message}
            done.append([name, result, session.heard])
    return done


async def main() -> None:
    order = json.load(sys.stdin)
    print(json.dumps([await follow(url, order["mode"], order["steps"]) for url in order["urls"]]))


asyncio.run(main())
