"""A client's message: what it asks, of which server, in which version of the protocol."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pydantic_core import to_json

from agentgateway.exchange import Content, Judge
from agentgateway.interfaces import Segment
from agentgateway_mcp.grammar import asked
from agentgateway_mcp.servers import Purpose
from agentgateway_mcp.texts import texts_of

if TYPE_CHECKING:
    from agentgateway_mcp.leases import Lease
    from agentgateway_mcp.processors import Processor
    from agentgateway_mcp.rules import McpRules
    from agentgateway_mcp.sessions import Opened

MODERN = "2026-07-28"
"""The first version without sessions. Versions are dates, and compare as such."""
LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Methods of one thing, and the parameter that names it."""
HEADED_BY = {**NAMED_BY, **dict.fromkeys(("tasks/get", "tasks/update", "tasks/cancel"), "taskId")}
"""Methods that have a header `Mcp-Name`, and the parameter that it repeats."""
KINDS = {
    "tools/call": "tool",
    "prompts/get": "prompt",
    "resources/read": "resource",
    "resources/subscribe": "resource",
    "resources/unsubscribe": "resource",
    "tasks/get": "task",
    "tasks/result": "task",
    "tasks/update": "task",
    "tasks/cancel": "task",
}
"""What a method is about, in the words of expressions (`mcp.tool`) and of metrics."""


@dataclass(slots=True)
class Afterwards:
    """What an exchange leaves to be done, `begin`, once it is `due`; else there is nothing to be done but `give_up`."""

    begin: Callable[[], Coroutine[Any, Any, None]]
    give_up: Callable[[], object] = lambda: None
    due: bool = False


class McpCall(Content):
    """What a client sent: a JSON-RPC message, or the wish to listen (GET) or to end the session (DELETE).

    `method` is the JSON-RPC method, empty in a response and where there is no message; `kind` what it is about.

    The backend fills in `target` and `name` (the server asked, and what it calls the tool, prompt, resource or task
    that the message is about), and `session`, which the client's session id stands for, with the `lease` that it has
    while the message is under way. `judges` are guards of what comes back, `rules` the authorization of this route;
    `looked_at` is the thing of a list, or of a completion, that these rules are asked about: its kind, its target, its
    name. `processors` see requests and results as wholes; `said_of_it` is what they have to say of the message to
    expressions, `edits` what they did to the headers of its requests to servers: the values of each, none where it is
    taken out. `quarantined` says that a tool was refused because it has changed; `login` is what the user answered to
    the gateway's own question whether to log in.

    A message of the transport of 2024-11-05 has the `ticket` that it came with, empty where there was none. The backend
    adds the address of the `stream` that it is for, whose that is, as `owner`, and what is to be done when its exchange
    is over, as `then`.
    """

    __slots__ = (
        "changed_by_guard",
        "document",
        "edits",
        "error_code",
        "judges",
        "kind",
        "lease",
        "login",
        "looked_at",
        "method",
        "name",
        "owner",
        "processors",
        "purpose",
        "quarantined",
        "raw",
        "rules",
        "said_of_it",
        "session",
        "stream",
        "target",
        "then",
        "ticket",
        "version",
    )

    def __init__(self, purpose: Purpose, raw: bytes = b"", document: dict[str, Any] | None = None) -> None:
        self.purpose = purpose
        self.raw = raw
        self.document: dict[str, Any] = document if document is not None else {}
        method = self.document.get("method")
        self.method: str = method if isinstance(method, str) else ""
        self.kind = KINDS.get(self.method)
        self.version = ""
        self.session: Opened | None = None
        self.target: str | None = None
        self.name: str | None = None
        self.judges: list[Judge] = []
        self.rules: list[McpRules] = []
        self.error_code: int | None = None
        self.looked_at: tuple[str, str | None, str] | None = None
        self.login: str | None = None
        self.changed_by_guard = False
        self.processors: list[Processor] = []
        self.said_of_it: dict[str, Any] = {}
        self.edits: dict[str, list[bytes]] = {}
        self.quarantined = False
        self.ticket: str | None = None
        self.stream = ""
        self.then: Afterwards | None = None
        self.owner = ""
        self.lease: Lease | None = None

    @property
    def modern(self) -> bool:
        return self.version >= MODERN

    @property
    def id(self) -> str | int | None:
        return self.document.get("id")

    @property
    def is_request(self) -> bool:
        return bool(self.method) and "id" in self.document

    @property
    def params(self) -> dict[str, Any]:
        params = self.document.get("params")
        return params if isinstance(params, dict) else {}

    @property
    def operation(self) -> str:
        return self.method or self.purpose

    def told(self) -> dict[str, Any]:
        """Fields of the access log (the reference's section 9.2)."""
        fields: dict[str, Any] = {"mcp.method.name": self.operation}
        if self.target is not None:
            fields["mcp.target"] = self.target
        if self.kind is not None:
            fields["mcp.resource.type"] = self.kind
        if self.name is not None and self.kind in FIELDS:
            fields[FIELDS[self.kind]] = self.name
        if self.quarantined:
            fields["mcp.tool.quarantined"] = True
        if self.error_code is not None:
            fields["mcp.error.code"] = self.error_code
        return fields

    def segments(self) -> list[Segment]:
        """What the client sends to a server, but for the protocol's own words."""
        return texts_of(self.document, asked, "user", self._edited)

    def _edited(self) -> None:
        self.changed_by_guard = True

    @property
    def changed(self) -> bool:
        return self.changed_by_guard

    def body(self) -> bytes:
        return to_json(self.document) if self.changed_by_guard else self.raw

    def attend(self, judge: Judge) -> bool:
        self.judges.append(judge)
        return True

    def copy(self) -> Self:
        return self


FIELDS = {"tool": "gen_ai.tool.name", "prompt": "gen_ai.prompt.name", "resource": "mcp.resource.uri"}
