"""Items of OpenAI's responses, to and from canonical messages.

Source: https://platform.openai.com/docs/api-reference/responses/create#responses-create-input
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from agentgateway.llm.calls import Json, Untranslatable
from agentgateway.llm.chat import (
    CacheMark,
    ChatCall,
    Document,
    Image,
    Message,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
)
from agentgateway.llm.dialects.completions_messages import split_data_url
from agentgateway.llm.dialects.responses_fields import FIELDS
from agentgateway.llm.dialects.responses_thoughts import for_vendor, from_client
from agentgateway.llm.wire import check_fields, objects, optional_mapping, optional_text, text, wrong

_PART = "input[message].content[{}]."
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_APART = "\n\n"


def decode_items(document: Json) -> tuple[tuple[Text, ...], tuple[Message, ...]]:
    """The instructions at the head, and everything after them. What the model said and did in a row is one message, and
    so are the answers to it."""
    instructions = optional_text(document, "instructions", "")
    system = [Text(instructions)] if instructions else []
    turns: list[Message] = []
    given = document.get("input")
    items = [({"role": "user", "content": given}, "input")] if isinstance(given, str) else objects(given, "input")
    for item, at in items:
        role, parts = _decode_item(item, at)
        if role == "system" and not turns:
            system += [part for part in parts if isinstance(part, Text)]
        elif turns and role in ("assistant", "tool") and turns[-1].role == role:
            turns.append(Message(role, turns.pop().parts + parts))
        else:
            turns.append(Message(role, parts))
    return tuple(system), tuple(turns)


def _decode_item(item: Json, at: str) -> tuple[Role, tuple[Part, ...]]:
    kind = optional_text(item, "type", at) or "message"
    prefix = f"input[{kind}]."
    if f"{prefix}type" not in FIELDS:
        raise Untranslatable(at, f"an item of type `{kind}`")
    check_fields(FIELDS, item, at, prefix)
    match kind:
        case "message":
            return _decode_message(item, at)
        case "function_call":
            arguments = optional_text(item, "arguments", at) or "{}"
            return "assistant", (ToolUse(text(item, "call_id", at), text(item, "name", at), arguments),)
        case "function_call_output":
            return "tool", (_decode_result(item, at),)
        case _:
            return "assistant", (from_client(decode_thought(item, at), optional_text(item, "encrypted_content", at)),)


def _decode_message(item: Json, at: str) -> tuple[Role, tuple[Part, ...]]:
    said = text(item, "role", at)
    role = _ROLES.get(said)
    if role is None:
        raise Untranslatable(f"{at}.role", f"the role `{said}`")
    parts = tuple(_decode_content(item.get("content"), f"{at}.content"))
    allowed = (Text,) if role == "system" else (Text, Refusal) if role == "assistant" else (Text, Image, Document)
    for part in parts:
        if not isinstance(part, allowed):
            raise Untranslatable(f"{at}.content", f"{type(part).__name__.lower()} in a message of the {said}")
    return role, parts


def decode_thought(item: Json, at: str) -> str:
    """The text of a thought: in full where there is one, else its summaries."""
    content = objects(item.get("content"), f"{at}.content")
    parts = content or objects(item.get("summary"), f"{at}.summary")
    return _APART.join(text(part, "text", place) for part, place in parts)


def _decode_content(content: object, at: str) -> Iterator[Part]:
    if isinstance(content, str):
        yield Text(content)
        return
    for part, place in objects(content, at):
        yield _decode_part(part, place)


def _decode_part(part: Json, at: str) -> Part:
    kind = text(part, "type", at)
    prefix = _PART.format(kind)
    if f"{prefix}type" not in FIELDS:
        raise Untranslatable(at, f"content of type `{kind}`")
    check_fields(FIELDS, part, at, prefix)
    match kind:
        case "input_text" | "output_text":
            return Text(text(part, "text", at), _decode_cache(part, at))
        case "refusal":
            return Refusal(text(part, "refusal", at))
        case "input_image":
            return _decode_image(part, at)
        case _:
            return _decode_file(part, at)


def _decode_image(part: Json, at: str) -> Image:
    url, detail, cache = text(part, "image_url", at), optional_text(part, "detail", at), _decode_cache(part, at)
    if url.startswith("data:"):
        media_type, data = split_data_url(url, f"{at}.image_url")
        return Image(data=data, media_type=media_type, detail=detail, cache=cache, at=at)
    return Image(url=url, detail=detail, cache=cache, at=at)


def _decode_file(part: Json, at: str) -> Document:
    title, cache = optional_text(part, "filename", at), _decode_cache(part, at)
    if (url := optional_text(part, "file_url", at)) is not None:
        return Document(url=url, title=title, cache=cache, at=at)
    data, media_type = text(part, "file_data", at), "application/pdf"
    if data.startswith("data:"):
        media_type, data = split_data_url(data, f"{at}.file_data")
    return Document(data=data, media_type=media_type, title=title, cache=cache, at=at)


def _decode_cache(part: Json, at: str) -> CacheMark | None:
    key = "prompt_cache_breakpoint"
    mark = optional_mapping(part, key, at)
    return None if mark is None else CacheMark(optional_text(mark, "ttl", f"{at}.{key}"))


def _decode_result(item: Json, at: str) -> ToolResult:
    parts: list[Text | Image | Document] = []
    if item.get("output") is None:
        raise wrong(f"{at}.output", "a string or an array")
    for part in _decode_content(item["output"], f"{at}.output"):
        if not isinstance(part, Text | Image | Document):
            raise Untranslatable(f"{at}.output", f"{type(part).__name__.lower()} in a tool's answer")
        parts.append(part)
    return ToolResult(text(item, "call_id", at), tuple(parts))


def encode_items(call: ChatCall) -> Iterator[Json]:
    for message in call.messages:
        if message.role == "assistant":
            yield from _encode_assistant(message.parts)
        elif message.role == "tool":
            yield from map(_encode_result, _results(message))
        else:
            yield {"role": message.role, "content": _encode_content(message.parts)}


def encode_instructions(call: ChatCall) -> str | None:
    return _APART.join(part.text for part in call.system) if call.system else None


def _encode_assistant(parts: Iterable[Part]) -> Iterator[Json]:
    """One item a part, in their order: a thought must stand before what it led to."""
    for part in parts:
        match part:
            case Text() | Refusal():
                yield {"role": "assistant", "content": part.text}
            case ToolUse():
                yield {
                    "type": "function_call",
                    "call_id": part.id,
                    "name": part.name,
                    "arguments": part.arguments,
                }
            case Thinking():
                if (item := for_vendor(part)) is not None:
                    yield item
            case _:
                raise Untranslatable(getattr(part, "at", "input"), f"{type(part).__name__} of the assistant")


def _results(message: Message) -> Iterator[ToolResult]:
    for part in message.parts:
        if not isinstance(part, ToolResult):
            raise TypeError(f"{type(part).__name__} in a tool message")
        yield part


def _encode_result(result: ToolResult) -> Json:
    """The format has no word for an error: the text says so."""
    parts = (Text("[error]"), *result.parts) if result.is_error else result.parts
    return {"type": "function_call_output", "call_id": result.id, "output": _encode_content(parts)}


def _encode_content(parts: Sequence[Part]) -> str | list[Json]:
    """A string where that says it all, else parts."""
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [_encode_part(part) for part in parts]


def _encode_part(part: Part) -> Json:
    match part:
        case Text() | Refusal():
            return {"type": "input_text", "text": part.text}
        case Image():
            url = part.url or f"data:{part.media_type};base64,{part.data}"
            return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
        case Document():
            return _encode_document(part)
        case _:
            raise Untranslatable("messages", f"a {type(part).__name__} in this place")


def _encode_document(document: Document) -> Json:
    """A file by its bytes or its URL; a plain text as text under its title."""
    if document.citations:
        raise Untranslatable(f"{document.at}.citations")
    if document.text is not None:
        heads = (head for head in (document.title, document.context) if head)
        return {"type": "input_text", "text": _APART.join((*heads, document.text))}
    if document.url is not None:
        return {"type": "input_file", "file_url": document.url}
    data = f"data:{document.media_type};base64,{document.data}"
    return {"type": "input_file", "filename": document.title or "document.pdf", "file_data": data}
