"""The tasks of the Python SDK's client (1.x), which are those of 2025-11-25: what it sees of them, as JSON."""

import asyncio
import json
import sys
from typing import Any

from mcp import ClientSession, McpError, types
from mcp.client.streamable_http import streamablehttp_client


async def elicit(context: Any, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": "Ada"})


async def main(url: str) -> list[Any]:
    seen: list[Any] = []
    async with (
        streamablehttp_client(url) as (read, write, _),
        ClientSession(read, write, elicitation_callback=elicit) as client,
    ):
        told = await client.initialize()
        assert told.capabilities.tasks is not None
        tools = await client.list_tools()
        seen.append([one.execution.taskSupport for one in tools.tools if one.execution])
        for name in ("ask", "fast"):
            made = await client.experimental.call_tool_as_task(name, {})
            state = await client.experimental.get_task(made.task.taskId)
            result = await client.experimental.get_task_result(made.task.taskId, types.CallToolResult)
            last = await client.experimental.get_task(made.task.taskId)
            seen.append([state.status, result.content[0].text, last.status])
        made = await client.experimental.call_tool_as_task("slow", {})
        seen.append((await client.experimental.cancel_task(made.task.taskId)).status)
        try:
            await client.experimental.get_task_result(made.task.taskId, types.CallToolResult)
        except McpError as error:
            seen.append(error.error.message)
    return seen


print(json.dumps(asyncio.run(main(sys.argv[1]))))
