"""What a target's tools are, as they were first seen or approved since. Pure bookkeeping.

Of a tool its title, description, schemas and annotations are pinned. A part that a version of the protocol does not
have is not missed in lists of that version, and pinned when a later one shows it: the same server says less to older
clients.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import model_validator
from pydantic_core import from_json, to_json

from agentgateway.settings import PluginConfig

PARTS = {
    "title": "2025-06-18",
    "description": "2024-11-05",
    "inputSchema": "2024-11-05",
    "outputSchema": "2025-06-18",
    "annotations": "2025-03-26",
}
"""What is pinned of a tool, and the version of the protocol that brought it."""
FIRST_LIST = 600.0
"""Seconds that the pages of the first list may take to come."""
ROOM = 10_000
"""Tools of one target; more than that are not there."""

Happened = Literal["changed", "new"]


class ToolPinning(PluginConfig):
    """What becomes of tools that are not what they were."""

    mode: Literal["quarantine", "admit", "off"] = "quarantine"
    """A tool that has changed is not there until somebody approves it; or it is only logged and counted; or nothing is
    pinned at all."""
    new_tools: Literal["quarantine", "admit"] = "admit"
    """The same of a tool that a known server has not had before."""

    @model_validator(mode="before")
    @classmethod
    def _a_mode_alone(cls, given: Any) -> Any:
        """`toolPinning: off`, which YAML takes for false."""
        if isinstance(given, str) or given is False:
            return {"mode": given or "off"}
        return {**given, "mode": "off"} if isinstance(given, Mapping) and given.get("mode") is False else given


@dataclass(frozen=True)
class Definition:
    """A tool as a server shows it: its parts, in a version of the protocol."""

    version: str
    parts: Mapping[str, Any]

    def agrees(self, shown: Definition) -> bool:
        """Whether that is the same tool, as far as both versions can tell."""
        for part, since in PARTS.items():
            mine, theirs = self.parts.get(part), shown.parts.get(part)
            if (mine is None and self.version < since) or (theirs is None and shown.version < since):
                continue
            if canonical(mine) != canonical(theirs):
                return False
        return True

    def joined(self, shown: Definition) -> Definition:
        """With the parts that this version did not have."""
        return Definition(max(self.version, shown.version), {**shown.parts, **self.parts})

    def written(self) -> dict[str, Any]:
        return {"version": self.version, "parts": dict(self.parts)}


def definition(tool: Mapping[str, Any], version: str) -> Definition:
    return Definition(version, {part: tool[part] for part in PARTS if tool.get(part) is not None})


def read_definition(raw: Any) -> Definition | None:
    return Definition(str(raw["version"]), dict(raw["parts"])) if raw is not None else None


def canonical(value: Any) -> str:
    """One text for one JSON value, whatever the order of its keys; 1, 1.0 and true are three."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Pin:
    """One tool: what was approved, None for one that never was; and what the server shows in its place."""

    pinned: Definition | None
    shown: Definition | None = None
    at: float = 0.0
    """When that was first seen, in seconds since the epoch."""


@dataclass(frozen=True)
class Change:
    """A tool is not what it was: `before` is None for a new one. `held` says that clients do not get it."""

    tool: str
    before: Definition | None
    after: Definition
    held: bool

    @property
    def happened(self) -> Happened:
        return "new" if self.before is None else "changed"


@dataclass
class Meeting:
    """A list is held against pins, which it may change: tools that clients must not see, and what is not as it was.
    While `learning`, what is shown is pinned as it is."""

    tools: dict[str, Pin]
    rule: ToolPinning
    now: float
    learning: bool
    hidden: set[str] = field(default_factory=set)
    changes: list[Change] = field(default_factory=list)

    def look(self, name: str, one: Definition) -> None:
        pin = self.tools.get(name)
        approved = pin.pinned if pin is not None else None
        if pin is None and len(self.tools) >= ROOM:
            self.hidden.add(name)
        elif pin is None and self.learning:
            self.tools[name] = Pin(one, at=self.now)
        elif pin is not None and approved is not None and approved.agrees(one):
            if name not in self.hidden:  # else the same list has another tool of that name
                self.tools[name] = replace(pin, pinned=approved.joined(one), shown=None)
        else:
            self._differs(name, pin or Pin(None), one)

    def _differs(self, name: str, pin: Pin, one: Definition) -> None:
        held = holds(pin, self.rule)
        if held:
            self.hidden.add(name)
        if held and pin.shown is not None and pin.shown.agrees(one):
            return
        self.tools[name] = Pin(pin.pinned, one, self.now) if held else Pin(one, at=self.now)
        self.changes.append(Change(name, pin.pinned, one, held))


@dataclass
class Ledger:
    """The pins of one target. While its first list is not `complete`, what it shows is pinned as it is."""

    since: float
    complete: bool = False
    tools: dict[str, Pin] = field(default_factory=dict)

    @classmethod
    def read(cls, raw: bytes) -> Ledger:
        """Raises ValueError for what is none."""
        try:
            document = from_json(raw)
            tools = {
                name: Pin(read_definition(one["pinned"]), read_definition(one["shown"]), float(one["at"]))
                for name, one in document["tools"].items()
            }
            return cls(float(document["since"]), bool(document["complete"]), tools)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not what was written: {error!r}") from None

    def write(self) -> bytes:
        tools = {
            name: {
                "pinned": pin.pinned.written() if pin.pinned is not None else None,
                "shown": pin.shown.written() if pin.shown is not None else None,
                "at": pin.at,
            }
            for name, pin in self.tools.items()
        }
        return to_json({"since": self.since, "complete": self.complete, "tools": tools})

    def meet(self, shown: Iterable[tuple[str, Definition]], rule: ToolPinning, now: float, *, last: bool) -> Meeting:
        """Hold a list, or its last page, against the pins."""
        meeting = Meeting(self.tools, rule, now, learning=not self.complete and now - self.since < FIRST_LIST)
        for name, one in shown:
            meeting.look(name, one)
        self.complete = self.complete or last
        return meeting

    def held(self, rule: ToolPinning) -> frozenset[str]:
        """The tools that clients do not get."""
        return frozenset(name for name, pin in self.tools.items() if pin.shown is not None and holds(pin, rule))

    def approve(self, tool: str | None = None) -> list[str]:
        """Pin what the server shows now, of that tool or of all. The names."""
        wanted = [name for name, pin in self.tools.items() if pin.shown is not None and tool in (None, name)]
        for name in wanted:
            self.tools[name] = replace(self.tools[name], pinned=self.tools[name].shown, shown=None)
        return wanted


def holds(pin: Pin, rule: ToolPinning) -> bool:
    return (rule.new_tools if pin.pinned is None else rule.mode) == "quarantine"
