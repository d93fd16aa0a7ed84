"""One request to a tool or a prompt, and how what serves it talks to the client: alike in both eras of the protocol."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter

Json = dict[str, Any]
SERVER_REQUEST: TypeAdapter[Any] = TypeAdapter(types.ServerRequest)
NEEDS = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
ANSWERS = {
    "elicitation/create": types.ElicitResult,
    "sampling/createMessage": types.CreateMessageResult,
    "roots/list": types.ListRootsResult,
}


class InputRequired(Exception):
    """The client has to answer first: what a tool raises, and the request's result says."""

    def __init__(self, questions: Json, state: str | None) -> None:
        super().__init__(", ".join(questions))
        self.result: Json = {"resultType": "input_required", "inputRequests": questions}
        if state is not None:
            self.result["requestState"] = state


@dataclass(frozen=True)
class Call:
    """`name` is the tool's or the prompt's, `arguments` what it is called with; `checked` says whether its state is."""

    context: ServerRequestContext[Any, Any]
    name: str
    arguments: Mapping[str, Any]
    bus: InMemorySubscriptionBus
    checked: bool = True

    @property
    def modern(self) -> bool:
        return self.context.protocol_version in MODERN_PROTOCOL_VERSIONS

    @property
    def state(self) -> str | None:
        """What an earlier round of this call left with the client, unsealed."""
        return (self.context.params or {}).get("requestState")

    @property
    def answers(self) -> Mapping[str, Any]:
        """What the client brings along, by the keys that it was asked under."""
        return (self.context.params or {}).get("inputResponses") or {}

    def able(self, method: str) -> bool:
        """Whether the client has said that it can be asked this."""
        capabilities = self.context.session.client_capabilities
        return capabilities is not None and getattr(capabilities, NEEDS[method]) is not None

    def require(self, method: str) -> None:
        """Raises error -32021 for a client that has not."""
        if not self.able(method):
            lacking = NEEDS[method]
            data = {"requiredCapabilities": {lacking: {}}}
            raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, f"the client lacks {lacking}", data)

    async def ask(self, questions: Json, state: str | None = None) -> Mapping[str, Any]:
        """What the client answers to each: from 2026-07-28 in a later round of the call, before at once."""
        for question in questions.values():
            self.require(question["method"])
        if self.modern:
            if all(key in self.answers for key in questions):
                return self.answers
            raise InputRequired(questions, state)
        answers = await asyncio.gather(*map(self._ask_now, questions.values()))
        return dict(zip(questions, answers, strict=True))

    async def _ask_now(self, question: Json) -> Json:
        answer = await self.context.session.send_request(
            SERVER_REQUEST.validate_python(question),
            ANSWERS[question["method"]],
            metadata=ServerMessageMetadata(related_request_id=self.context.request_id),
        )
        return answer.model_dump(by_alias=True, mode="json", exclude_none=True)

    async def log(self, text: str) -> None:
        await self.context.session.send_log_message("info", text, "everything", self.context.request_id)

    async def progress(self, done: float, total: float) -> None:
        await self.context.session.report_progress(done, total)
