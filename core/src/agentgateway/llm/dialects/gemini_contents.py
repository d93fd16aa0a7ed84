"""Contents of Google's generateContent, to and from canonical messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from mimetypes import guess_type
from urllib.parse import urlsplit

from agentgateway.llm.calls import Json, Untranslatable
from agentgateway.llm.chat import (
    ChatCall,
    Document,
    Image,
    Message,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
)
from agentgateway.llm.dialects.gemini_fields import FIELDS
from agentgateway.llm.dialects.gemini_parts import ToolIds, decode_model, decode_user
from agentgateway.llm.dialects.gemini_thoughts import (
    UNSIGNED,
    answers_signed,
    lone_signature,
    thought,
    wire_signature,
)
from agentgateway.llm.texts import arguments
from agentgateway.llm.wire import check_fields, optional_text

LONGEST_NAME = 64
_STRANGE_IN_NAMES = re.compile(r"[^a-zA-Z0-9_.:-]")


def decode_contents(contents: Sequence[tuple[Json, str]]) -> tuple[Message, ...]:
    """A user's content that answers tools becomes two turns: the answers, and what the user says besides."""
    turns: list[Message] = []
    ids = ToolIds()
    for content, at in contents:
        check_fields(FIELDS, content, at, "contents[].")
        match optional_text(content, "role", at):
            case "model":
                turns.append(Message("assistant", tuple(decode_model(content, at, ids))))
            case None | "" | "user" | "function":
                _add_user(turns, decode_user(content, at, ids))
            case other:
                raise Untranslatable(f"{at}.role", f"the role `{other}`")
    return tuple(turns)


def _add_user(turns: list[Message], parts: Sequence[Part]) -> None:
    """Answers to one turn are one message, also when they come in contents of their own."""
    answers = tuple(part for part in parts if isinstance(part, ToolResult))
    others = tuple(part for part in parts if not isinstance(part, ToolResult))
    if answers and turns and turns[-1].role == "tool":
        turns[-1] = Message("tool", turns[-1].parts + answers)
    elif answers:
        turns.append(Message("tool", answers))
    if others or not answers:
        turns.append(Message("user", others))


def tool_name(name: str) -> str:
    """A name as the vendor takes it: it begins with a letter or `_`. Two that differ stay different."""
    tidy = _STRANGE_IN_NAMES.sub("_", name)
    if not tidy[:1].isalpha() and tidy[:1] != "_":
        tidy = f"_{tidy}"
    if tidy == name and len(name) <= LONGEST_NAME:
        return name
    return f"{tidy[: LONGEST_NAME - 9]}_{sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def encode_contents(call: ChatCall) -> list[Json]:
    """User and model in turn: what one of them says in several turns becomes one content. Answers of tools are contents
    of their own. Instructions from the middle are not here but with the system prompt (`encode_system`)."""
    encoded: list[Json] = []
    names: dict[str, str] = {}
    before = ""
    for message in call.messages:
        if message.role == "system":
            continue
        parts = _encode_message(message, names, call.model)
        role = "model" if message.role == "assistant" else "user"
        if encoded and message.role == before and role == encoded[-1]["role"]:
            encoded[-1]["parts"].extend(parts)
        elif parts:
            encoded.append({"role": role, "parts": parts})
        elif message.role == "user":
            encoded.append({"role": role, "parts": [{"text": ""}]})
        before = message.role
    return encoded


def _encode_message(message: Message, names: dict[str, str], model: str) -> list[Json]:
    if message.role == "assistant":
        names |= {part.id: tool_name(part.name) for part in message.parts if isinstance(part, ToolUse)}
        return stand_in(encode_said(message.parts)) if answers_signed(model) else encode_said(message.parts)
    encoded: list[Json] = []
    for part in message.parts:
        if isinstance(part, ToolResult):
            encoded.extend(_encode_result(part, names, model))
        elif not isinstance(part, Text) or part.text:
            encoded.append(encode_part(part))
    return encoded


def encode_said(parts: Sequence[Part]) -> list[Json]:
    """What the model said. A signature goes to the part after its thought."""
    encoded: list[Json] = []
    signature = ""
    for i, part in enumerate(parts):
        if isinstance(part, Thinking):
            following = parts[i + 1] if i + 1 < len(parts) else None
            if part.redacted is not None:
                continue
            if part.signature and isinstance(following, Text | Refusal | ToolUse):
                signature = wire_signature(part.signature)
                encoded.extend([thought(part.text)] if part.text else [])
            elif part.text or part.signature:
                encoded.append(lone_signature(part))
        elif signature or not isinstance(part, Text) or part.text:
            encoded.append(encode_part(part) | ({"thoughtSignature": signature} if signature else {}))
            signature = ""
    return encoded


def stand_in(parts: list[Json]) -> list[Json]:
    """The first call of a turn needs a signature, and there are calls that nobody signed
    (https://ai.google.dev/gemini-api/docs/thought-signatures#faqs)."""
    first = next((part for part in parts if "functionCall" in part), None)
    if first is not None:
        first.setdefault("thoughtSignature", UNSIGNED)
    return parts


def encode_system(call: ChatCall) -> list[Json]:
    """The system prompt in its parts; instructions from the middle of a conversation are hoisted to its end, for there
    is no such role."""
    later = [part for message in call.messages if message.role == "system" for part in message.parts]
    return [encode_part(part) for part in (*call.system, *later) if not isinstance(part, Text) or part.text]


def encode_part(part: Part) -> Json:
    match part:
        case Text() | Refusal():
            return {"text": part.text}
        case Image():
            return _encode_media(part.data, part.url, part.media_type, "image/jpeg")
        case Document():
            return _encode_document(part)
        case ToolUse():
            call = {"id": part.id, "name": tool_name(part.name), "args": arguments(part.arguments)}
            return {"functionCall": call}
        case _:
            raise Untranslatable("messages", f"a {type(part).__name__} in this place")


def _encode_media(data: str | None, url: str | None, media_type: str | None, usual: str) -> Json:
    """The vendor wants a type beside a URL: what its ending says, else what is usual."""
    if url is None:
        return {"inlineData": {"mimeType": media_type or usual, "data": data}}
    return {"fileData": {"mimeType": media_type or guess_type(urlsplit(url).path)[0] or usual, "fileUri": url}}


def _encode_document(document: Document) -> Json:
    """A text as text under its title: there is no file of that kind."""
    if document.citations:
        raise Untranslatable(f"{document.at}.citations")
    if document.text is not None:
        heads = (head for head in (document.title, document.context) if head)
        return {"text": "\n\n".join((*heads, document.text))}
    encoded = _encode_media(document.data, document.url, document.media_type, "application/pdf")
    if document.title is not None:
        next(iter(encoded.values()))["displayName"] = document.title
    return encoded


def _encode_result(result: ToolResult, names: dict[str, str], model: str) -> list[Json]:
    """An answer by the name of what was called. Pictures and files go into it, or after it where the model is of a
    generation that takes none there. Raises `Untranslatable` for the answer to a call that is not in the
    conversation."""
    name = names.get(result.id)
    if name is None:
        raise Untranslatable("messages", "the answer to a tool call that is not in the conversation")
    words = [part.text for part in result.parts if isinstance(part, Text)]
    media = [encode_part(part) for part in result.parts if not isinstance(part, Text)]
    response = {"error" if result.is_error else "output": "\n".join(words)}
    answer: Json = {"id": result.id, "name": name, "response": response}
    nested = [part for part in media if "text" not in part]
    if nested and answers_signed(model):
        answer["parts"] = nested
        media = [part for part in media if "text" in part]
    return [{"functionResponse": answer}, *media]
