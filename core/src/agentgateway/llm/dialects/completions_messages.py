"""Messages of OpenAI's chat completions, to and from canonical ones.

Marked EXTENSION is what the vendor does not publish and compatible vendors accept; `Completions.plain` takes it out.
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
    Text,
    Thinking,
    ToolResult,
    ToolUse,
)
from agentgateway.llm.dialects.completions_fields import FIELDS
from agentgateway.llm.wire import check_fields, mapping, objects, optional_mapping, optional_text, text, wrong


def decode_messages(messages: Sequence[tuple[Json, str]]) -> tuple[tuple[Text, ...], tuple[Message, ...]]:
    """The instructions at the head, and everything after them; neighbouring tool messages become one."""
    system: list[Text] = []
    turns: list[Message] = []
    for message, at in messages:
        check_fields(FIELDS, message, at, "messages[].")
        role = text(message, "role", at)
        if role in ("system", "developer"):
            instructions = [_only_text(part, at) for part in _decode_content(message, at)]
            if turns:
                turns.append(Message("system", tuple(instructions)))
            else:
                system.extend(instructions)
        elif role == "user":
            turns.append(Message("user", tuple(_decode_content(message, at))))
        elif role == "assistant":
            turns.append(Message("assistant", tuple(decode_assistant(message, at))))
        elif role == "tool":
            results: tuple[Part, ...] = (_decode_tool_result(message, at),)
            if turns and turns[-1].role == "tool":
                results = turns.pop().parts + results
            turns.append(Message("tool", results))
        else:
            raise Untranslatable(f"{at}.role", f"the role `{role}`")
    return tuple(system), tuple(turns)


def _only_text(part: Part, at: str) -> Text:
    if not isinstance(part, Text):
        raise Untranslatable(f"{at}.content", "a system message of other than text")
    return part


def _decode_content(message: Json, at: str) -> Iterator[Part]:
    content = message.get("content")
    cache = decode_cache(message, at)
    if isinstance(content, str):
        yield Text(content, cache)
        return
    parts = objects(content, f"{at}.content")
    for i, (part, place) in enumerate(parts):
        yield _decode_part(part, place, cache if i + 1 == len(parts) else None)


def _decode_part(part: Json, at: str, inherited: CacheMark | None = None) -> Part:
    check_fields(FIELDS, part, at, "messages[].content[].")
    cache = decode_cache(part, at) or inherited
    match part.get("type"):
        case "text":
            return Text(text(part, "text", at), cache)
        case "refusal":
            return Refusal(text(part, "refusal", at))
        case "image_url":
            return _decode_image(mapping(part.get("image_url"), f"{at}.image_url"), f"{at}.image_url", cache)
        case "file":
            return _decode_file(mapping(part.get("file"), f"{at}.file"), f"{at}.file", cache)
        case other:
            raise Untranslatable(at, f"content of type `{other}`")


def _decode_image(image: Json, at: str, cache: CacheMark | None) -> Image:
    check_fields(FIELDS, image, at, "messages[].content[].image_url.")
    url = text(image, "url", at)
    detail = optional_text(image, "detail", at)
    if url.startswith("data:"):
        media_type, data = split_data_url(url, f"{at}.url")
        return Image(data=data, media_type=media_type, detail=detail, cache=cache, at=at)
    return Image(url=url, detail=detail, cache=cache, at=at)


def _decode_file(file: Json, at: str, cache: CacheMark | None) -> Document:
    check_fields(FIELDS, file, at, "messages[].content[].file.")
    data = text(file, "file_data", at)
    title = optional_text(file, "filename", at)
    media_type = "application/pdf"
    if data.startswith("data:"):
        media_type, data = split_data_url(data, f"{at}.file_data")
    return Document(data=data, media_type=media_type, title=title, cache=cache, at=at)


def split_data_url(url: str, at: str) -> tuple[str, str]:
    """Media type and base64 text of a data: URL (RFC 2397)."""
    head, comma, data = url.partition(",")
    media_type, semicolon, encoding = head.removeprefix("data:").rpartition(";")
    if not comma or not semicolon or encoding != "base64":
        raise wrong(at, "a base64 data: URL")
    return media_type.partition(";")[0], data


def decode_assistant(message: Json, at: str) -> Iterator[Part]:
    """The parts of an assistant's message, of a call or of a reply: thinking, content, refusal, tool calls."""
    yield from _decode_thinking(message, at)
    for part in _decode_content(message, at):
        if part != Text(""):
            yield part
    if refusal := optional_text(message, "refusal", at):
        yield Refusal(refusal)
    for call, place in objects(message.get("tool_calls"), f"{at}.tool_calls"):
        yield _decode_tool_call(call, place)


def _decode_thinking(message: Json, at: str) -> Iterator[Thinking]:
    """EXTENSION: `reasoning_content` is the text, `thinking_blocks` the same in blocks with their signatures.

    A client that glued a stream together has blocks with signatures only; a single one then takes the whole text.
    """
    reasoning = optional_text(message, "reasoning_content", at) or optional_text(message, "reasoning", at)
    blocks = objects(message.get("thinking_blocks"), f"{at}.thinking_blocks")
    if not blocks and reasoning:
        yield Thinking(reasoning)
    plain = [block for block, _ in blocks if block.get("type") != "redacted_thinking"]
    for block, place in blocks:
        if block.get("type") == "redacted_thinking":
            yield Thinking(redacted=text(block, "data", place))
            continue
        words = optional_text(block, "thinking", place) or (reasoning if len(plain) == 1 else None) or ""
        yield Thinking(words, optional_text(block, "signature", place))


def _decode_tool_call(call: Json, at: str) -> ToolUse:
    check_fields(FIELDS, call, at, "messages[].tool_calls[].")
    function = mapping(call.get("function"), f"{at}.function")
    check_fields(FIELDS, function, f"{at}.function", "messages[].tool_calls[].function.")
    arguments = optional_text(function, "arguments", f"{at}.function")
    return ToolUse(text(call, "id", at), text(function, "name", f"{at}.function"), arguments or "{}")


def _decode_tool_result(message: Json, at: str) -> ToolResult:
    parts: list[Text | Image | Document] = []
    for part in _decode_content(message, at):
        if not isinstance(part, Text | Image | Document):
            raise Untranslatable(f"{at}.content", f"a tool's answer with {type(part).__name__.lower()}")
        parts.append(part)
    return ToolResult(text(message, "tool_call_id", at), tuple(parts))


def encode_messages(call: ChatCall) -> Iterator[Json]:
    if call.system:
        yield {"role": "system", "content": _encode_content(call.system)}
    for message in call.messages:
        if message.role == "tool":
            yield from _encode_tool_results(message)
        elif message.role == "assistant":
            yield encode_assistant(message.parts)
        else:
            yield {"role": message.role, "content": _encode_content(message.parts)}


def _encode_content(parts: Sequence[Part]) -> str | list[Json]:
    """A string where that says it all, else parts."""
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text) and parts[0].cache is None:
        return parts[0].text
    return [_encode_part(part) for part in parts]


def _encode_part(part: Part) -> Json:
    match part:
        case Text():
            encoded: Json = {"type": "text", "text": part.text}
        case Refusal():
            return {"type": "refusal", "refusal": part.text}
        case Image():
            image = {"url": part.url or f"data:{part.media_type};base64,{part.data}"}
            if part.detail is not None:
                image["detail"] = part.detail
            encoded = {"type": "image_url", "image_url": image}
        case Document():
            encoded = _encode_document(part)
        case _:
            raise Untranslatable("messages", f"a {type(part).__name__} in this place")
    if part.cache is not None:
        encoded["cache_control"] = encode_cache(part.cache)  # EXTENSION
    return encoded


def _encode_document(document: Document) -> Json:
    """A file by its bytes; a plain text as text under its title, since only PDF is published for files."""
    if document.citations:
        raise Untranslatable(f"{document.at}.citations")
    if document.url is not None:
        raise Untranslatable(f"{document.at}.source", "a document by its URL")
    if document.text is not None:
        heads = (head for head in (document.title, document.context) if head)
        return {"type": "text", "text": "\n\n".join((*heads, document.text))}
    data = f"data:{document.media_type};base64,{document.data}"
    return {"type": "file", "file": {"filename": document.title or "document.pdf", "file_data": data}}


def encode_assistant(parts: Iterable[Part]) -> Json:
    message: Json = {"role": "assistant"}
    content: list[Text] = []
    thinking: list[Thinking] = []
    calls: list[Json] = []
    refusal = ""
    for part in parts:
        match part:
            case Text():
                content.append(part)
            case Thinking():
                thinking.append(part)
            case Refusal():
                refusal += part.text
            case ToolUse():
                function = {"name": part.name, "arguments": part.arguments}
                calls.append({"id": part.id, "type": "function", "function": function})
            case _:
                raise Untranslatable(getattr(part, "at", "messages"), f"{type(part).__name__} of the assistant")
    if any(part.cache for part in content):
        message["content"] = [_encode_part(part) for part in content]
    else:
        message["content"] = "".join(part.text for part in content) if content or not calls else None
    if refusal:
        message["refusal"] = refusal
    if calls:
        message["tool_calls"] = calls
    return message | encode_thinking(thinking)


def encode_thinking(thinking: Sequence[Thinking]) -> Json:
    """EXTENSION: see `_decode_thinking`."""
    fields: Json = {}
    if words := "".join(part.text for part in thinking):
        fields["reasoning_content"] = words
    if any(part.signature or part.redacted for part in thinking):
        fields["thinking_blocks"] = [_encode_thinking_block(part) for part in thinking]
    return fields


def _encode_thinking_block(part: Thinking) -> Json:
    if part.redacted is not None:
        return {"type": "redacted_thinking", "data": part.redacted}
    block = {"type": "thinking", "thinking": part.text}
    return block if part.signature is None else block | {"signature": part.signature}


def _encode_tool_results(message: Message) -> Iterator[Json]:
    """One message a result. Tool messages hold text only, so what else a tool gave follows as the user's."""
    media: list[Json] = []
    for result in message.parts:
        if not isinstance(result, ToolResult):
            raise TypeError(f"{type(result).__name__} in a tool message")
        words: list[Part] = [Text("[error]")] if result.is_error else []
        words += [part for part in result.parts if isinstance(part, Text)]
        others = [part for part in result.parts if not isinstance(part, Text)]
        if others:
            words.append(Text(f"[content of {result.id} is in the next user message]"))
            media.append({"type": "text", "text": f"[content of tool result {result.id}]"})
            media.extend(_encode_part(part) for part in others)
        encoded: Json = {"role": "tool", "tool_call_id": result.id, "content": _encode_content(words)}
        if result.cache is not None:
            encoded["cache_control"] = encode_cache(result.cache)  # EXTENSION
        yield encoded
    if media:
        yield {"role": "user", "content": media}


def decode_cache(holder: Json, at: str) -> CacheMark | None:
    """EXTENSION `cache_control`, or the vendor's own `prompt_cache_breakpoint`."""
    for key in ("cache_control", "prompt_cache_breakpoint"):
        if (mark := optional_mapping(holder, key, at)) is not None:
            return CacheMark(optional_text(mark, "ttl", f"{at}.{key}"))
    return None


def encode_cache(mark: CacheMark | None) -> Json | None:
    if mark is None:
        return None
    return {"type": "ephemeral"} if mark.ttl is None else {"type": "ephemeral", "ttl": mark.ttl}
