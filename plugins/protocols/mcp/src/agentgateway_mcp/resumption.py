"""From where a client goes on with a stream (`Last-Event-ID`), when there are several servers: each of them has ids of
events of its own, and keeps what is missed. An id of the gateway's says where the client is in each of its streams.

Nothing is kept here. An id is not secret: whoever makes one up gets what its own session at a server has, as without
the gateway.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from contextlib import suppress

from pydantic_core import from_json, to_json

from agentgateway_mcp.errors import INVALID_REQUEST, McpError

LONGEST = 4096
"""Characters of an id: it comes back as a header. Events that would need a longer one have none."""


def of_one(target: str, place: str | None) -> str | None:
    """The id of an event in a stream of one server, which has it as `place`."""
    return None if place is None else spelled([target, place])


def of_all(places: dict[str, str]) -> str | None:
    """The id of an event in a stream of all of them, where `places` are reached; None where none has said any."""
    return spelled(places) if places else None


def spelled(what: object) -> str | None:
    text = base64.urlsafe_b64encode(to_json(what)).rstrip(b"=").decode()
    return text if len(text) <= LONGEST else None


def read(text: str, targets: Sequence[str]) -> tuple[str, str] | dict[str, str]:
    """The place in a stream of one server, or those in one of all. Raises `McpError` for what is no id."""
    with suppress(ValueError, binascii.Error):
        found = from_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if isinstance(found, list) and len(found) == 2 and found[0] in targets and type(found[1]) is str:
            return found[0], found[1]
        if isinstance(found, dict) and found.keys() <= set(targets) and set(map(type, found.values())) <= {str}:
            return found
    raise McpError(INVALID_REQUEST, "last-event-id header is no id of an event of these servers")
