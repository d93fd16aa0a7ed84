"""What the webhook is asked, and what it may say: documents of the reference's webhook protocol.

A reply is `{"action": …}`, and what the action is, its fields say: a `body` that is an object masks, a `body` that is
text with a `status_code` refuses, and none of them passes. Whatever is neither is malformed: no reply is taken for
consent because it could not be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Tag, TypeAdapter, ValidationError
from pydantic_core import to_json

from agentgateway.errors import GuardFailed
from agentgateway.interfaces import PASS, GuardPhase, Segment, Verdict


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Message(_Strict):
    role: str
    content: str


class Choice(_Strict):
    message: Message


class Messages(_Strict):
    messages: list[Message]

    @property
    def all(self) -> list[Message]:
        return self.messages


class Choices(_Strict):
    choices: list[Choice]

    @property
    def all(self) -> list[Message]:
        return [choice.message for choice in self.choices]


class MaskedRequest(_Strict):
    body: Messages
    reason: str | None = None


class MaskedResponse(_Strict):
    body: Choices
    reason: str | None = None


class Reject(_Strict):
    body: str
    status_code: int
    reason: str | None = None


class Pass(_Strict):
    reason: str | None = None


def _kind(action: Any) -> str | None:
    if not isinstance(action, dict):
        return None
    if isinstance(action.get("body"), dict):
        return "mask"
    return "reject" if action.keys() & {"body", "status_code"} else "pass"


RequestAction: TypeAlias = Annotated[
    Annotated[MaskedRequest, Tag("mask")] | Annotated[Reject, Tag("reject")] | Annotated[Pass, Tag("pass")],
    Discriminator(_kind),
]
ResponseAction: TypeAlias = Annotated[
    Annotated[MaskedResponse, Tag("mask")] | Annotated[Reject, Tag("reject")] | Annotated[Pass, Tag("pass")],
    Discriminator(_kind),
]


class OnRequest(_Strict):
    action: RequestAction


class OnResponse(_Strict):
    action: ResponseAction


_REQUEST = TypeAdapter(OnRequest)
_RESPONSE = TypeAdapter(OnResponse)


def question(segments: Sequence[Segment], phase: GuardPhase) -> bytes:
    """The document that shows the texts: one message, or one choice, for each."""
    messages = [{"role": segment.role, "content": segment.text} for segment in segments]
    if phase == "request":
        return to_json({"body": {"messages": messages}})
    return to_json({"body": {"choices": [{"message": message} for message in messages]}})


def verdict(answer: bytes, segments: Sequence[Segment], phase: GuardPhase) -> Verdict:
    """What a reply says of those texts. Raises `GuardFailed` for one that is malformed, or answers something else."""
    reader: TypeAdapter[OnRequest] | TypeAdapter[OnResponse] = _REQUEST if phase == "request" else _RESPONSE
    try:
        action = reader.validate_json(answer).action
    except ValidationError as error:
        raise GuardFailed(detail=f"the reply is malformed: {_described(error)}") from None
    if isinstance(action, Pass):
        return PASS
    if isinstance(action, Reject):
        return Verdict(rejected=True, reason="the webhook refused", status=action.status_code, body=action.body)
    return _masked(action.body.all, segments)


def _masked(messages: Sequence[Message], segments: Sequence[Segment]) -> Verdict:
    if [message.role for message in messages] != [segment.role for segment in segments]:
        raise GuardFailed(detail="the reply masks other messages than were shown")
    masks = {
        index: message.content
        for index, (message, segment) in enumerate(zip(messages, segments, strict=True))
        if message.content != segment.text
    }
    return Verdict(masks) if masks else PASS


def _described(error: ValidationError) -> str:
    """The first thing that is wrong, and where, in no words of the reply."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = first["loc"][:-1] if first["type"] == "extra_forbidden" else first["loc"]
    return f"{'.'.join(map(str, place)) or 'the document'}: {first['type']}"
