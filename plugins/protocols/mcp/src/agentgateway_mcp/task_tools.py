"""Which tools of a server of 2025-11-25 may be tasks, or have to (`execution.taskSupport`)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from agentgateway_mcp.envelope import Json, member

REMEMBERED = 4096
"""Tools that are remembered."""
MAY = frozenset(("optional", "required"))


class TaskTools:
    """What a server's lists have said of its tools."""

    def __init__(self) -> None:
        self._tools: OrderedDict[str, str] = OrderedDict()

    def learn(self, result: Json) -> None:
        """From a result of `tools/list`."""
        tools = result.get("tools")
        for tool in tools if isinstance(tools, list) else ():
            if isinstance(tool, dict) and isinstance(tool.get("name"), str):
                self._tools[tool["name"]] = str(member(tool, "execution").get("taskSupport", "forbidden"))
        while len(self._tools) > REMEMBERED:
            self._tools.popitem(last=False)

    def knows(self, name: Any) -> bool:
        return name in self._tools

    def may(self, name: Any) -> bool:
        """Whether a call may be a task."""
        return self._tools.get(name) in MAY

    def must(self, name: Any) -> bool:
        return self._tools.get(name) == "required"
