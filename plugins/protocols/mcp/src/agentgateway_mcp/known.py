"""What a process remembers of the pins of a target, so that neither a call nor an unchanged list asks the store."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from pydantic_core import to_json

from agentgateway_mcp.pins import Ledger, ToolPinning

REMEMBERED = 64
"""Lists of one target: its pages, in the versions that clients speak."""


class Outcome(NamedTuple):
    """What a list came to: which tools are taken out, and whether its bytes are not to be trusted, since it has a key
    twice, of which readers may take either."""

    hidden: frozenset[str]
    ambiguous: bool = False


@dataclass
class Known:
    """What this process knows of the pins of one target."""

    read: bool = False
    held: frozenset[str] = frozenset()
    complete: bool = False
    names: frozenset[str] = frozenset()
    outcomes: OrderedDict[bytes, Outcome] = field(default_factory=OrderedDict)
    epoch: int = 0
    """How often it was all forgotten; what was found out before is not remembered after."""
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    def take(self, ledger: Ledger, rule: ToolPinning) -> None:
        held = ledger.held(rule)
        if held != self.held:
            self.outcomes.clear()
        self.read, self.held, self.complete, self.names = True, held, ledger.complete, frozenset(ledger.tools)

    def remember(self, key: bytes, outcome: Outcome, epoch: int) -> None:
        if epoch == self.epoch:
            self.outcomes[key] = outcome
            if len(self.outcomes) > REMEMBERED:
                self.outcomes.popitem(last=False)

    def forget(self) -> None:
        self.read = False
        self.epoch += 1
        self.outcomes.clear()


def without_id(raw: bytes, wanted: Any) -> bytes:
    """A response's bytes without the id at its beginning, which is all that two answers need to differ in."""
    spelled = b'"id":%b,' % to_json(wanted)
    at = raw.find(spelled, 0, 48 + len(spelled))
    return raw if at < 0 else raw[:at] + raw[at + len(spelled) :]


def digest(kind: str, version: str, content: bytes) -> bytes:
    return sha256(f"{kind} {version} ".encode() + content).digest()
