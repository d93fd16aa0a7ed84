"""Parts of Google's generateContent, to canonical ones.

Source: https://ai.google.dev/api/caching#Part
"""

from __future__ import annotations

from mimetypes import guess_type
from typing import Any
from urllib.parse import urlsplit

from agentgateway.llm.calls import Json, Untranslatable
from agentgateway.llm.chat import Document, Image, Part, Text, Thinking, ToolResult, ToolUse
from agentgateway.llm.dialects.gemini_fields import FIELDS
from agentgateway.llm.dialects.gemini_thoughts import merged, open_to_signing, signed, standard
from agentgateway.llm.documents import dump
from agentgateway.llm.wire import (
    check_fields,
    mapping,
    objects,
    optional_flag,
    optional_mapping,
    optional_text,
    text,
)

_PART = "contents[].parts[]."
_ANSWER = f"{_PART}functionResponse."
_KINDS = ("text", "inlineData", "fileData", "functionCall", "functionResponse")
_OWN_FILES = ("generativelanguage.googleapis.com", "www.youtube.com", "youtube.com", "youtu.be")
_WHOLE = (("output",), ("result",), ("error",))
"""Answers of a tool that are one value under a known name: the vendor's, that of its SDK, and that of failures."""


class ToolIds:
    """Ids for calls and answers that have none: by their place, and by the name that both have.

    One for each conversation. The same conversation gets the same ids, however often it is sent.
    """

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []
        self._calls = 0

    def of_call(self, name: str, told: str | None) -> str:
        self._calls += 1
        identity = told or f"call_{self._calls}"
        self._open.append((identity, name))
        return identity

    def of_answer(self, name: str, told: str | None, at: str) -> str:
        """Raises `Untranslatable` for the answer to a call that is not in the conversation."""
        for one in self._open:
            if told == one[0] or (not told and name == one[1]):
                self._open.remove(one)
                return one[0]
        if told:
            return told
        raise Untranslatable(at, f"the answer of `{name[:64]}`, which nobody called,")


def decode_user(content: Json, at: str, ids: ToolIds) -> list[Part]:
    parts: list[Part] = []
    for part, place in objects(content.get("parts"), f"{at}.parts"):
        said = decode_part(part, place, ids)
        if isinstance(said, ToolUse):
            raise Untranslatable(f"{place}.functionCall", "a function that the user calls")
        parts.append(said)
    return parts


def decode_model(content: Json, at: str, ids: ToolIds) -> list[Part]:
    """The model's turn. A signature on a part belongs to the thought before it, which may be a silent one."""
    parts: list[Part] = []
    for part, place in objects(content.get("parts"), f"{at}.parts"):
        signature = optional_text(part, "thoughtSignature", place)
        if optional_flag(part, "thought", place) and "text" in part:
            thinking = Thinking(optional_text(part, "text", place) or "")
            merged(parts, signed(thinking, signature) if signature else thinking)
            continue
        if signature:
            last = parts[-1] if parts else None
            if isinstance(last, Thinking) and open_to_signing(last):
                parts[-1] = signed(last, signature)
            elif (silent := signed(Thinking(), signature)) != Thinking():
                parts.append(silent)
        if (said := decode_part(part, place, ids)) != Text(""):
            merged(parts, said)
    return parts


def decode_part(part: Json, at: str, ids: ToolIds) -> Part:
    check_fields(FIELDS, part, at, _PART)
    said = [kind for kind in _KINDS if part.get(kind) is not None]
    if len(said) > 1:
        raise Untranslatable(at, "a part with more than one content")
    match said:
        case ["inlineData"]:
            return decode_inline(mapping(part["inlineData"], f"{at}.inlineData"), f"{at}.inlineData")
        case ["fileData"]:
            return decode_file(mapping(part["fileData"], f"{at}.fileData"), f"{at}.fileData")
        case ["functionCall"]:
            return _decode_call(mapping(part["functionCall"], f"{at}.functionCall"), f"{at}.functionCall", ids)
        case ["functionResponse"]:
            place = f"{at}.functionResponse"
            return _decode_answer(mapping(part["functionResponse"], place), place, ids)
        case _:
            return Text(optional_text(part, "text", at) or "")


def decode_inline(blob: Json, at: str) -> Image | Document:
    check_fields(FIELDS, blob, at, f"{_PART}inlineData.")
    data, media_type = standard(text(blob, "data", at)), text(blob, "mimeType", at)
    _refuse_sound(media_type, at)
    if media_type.startswith("image/"):
        return Image(data=data, media_type=media_type, at=at)
    return Document(data=data, media_type=media_type, title=optional_text(blob, "displayName", at), at=at)


def decode_file(file: Json, at: str) -> Image | Document:
    """A file by its URL. Those that lie at Google are for nobody else to read."""
    check_fields(FIELDS, file, at, f"{_PART}fileData.")
    url = text(file, "fileUri", at)
    place = urlsplit(url)
    if place.scheme not in ("http", "https") or place.hostname in _OWN_FILES:
        raise Untranslatable(f"{at}.fileUri", "a file that lies at the vendor")
    media_type = optional_text(file, "mimeType", at) or guess_type(place.path)[0]
    if media_type is None:
        raise Untranslatable(f"{at}.mimeType", "a file of unknown type")
    _refuse_sound(media_type, at)
    if media_type.startswith("image/"):
        return Image(url=url, at=at)
    return Document(url=url, media_type=media_type, title=optional_text(file, "displayName", at), at=at)


def _refuse_sound(media_type: str, at: str) -> None:
    if media_type.startswith(("audio/", "video/")):
        raise Untranslatable(at, f"content of type `{media_type[:40]}`")


def _decode_call(call: Json, at: str, ids: ToolIds) -> ToolUse:
    check_fields(FIELDS, call, at, f"{_PART}functionCall.")
    name = text(call, "name", at)
    arguments = optional_mapping(call, "args", at) or {}
    return ToolUse(ids.of_call(name, optional_text(call, "id", at)), name, dump(arguments).decode())


def _decode_answer(answer: Json, at: str, ids: ToolIds) -> ToolResult:
    check_fields(FIELDS, answer, at, _ANSWER)
    name = text(answer, "name", at)
    identity = ids.of_answer(name, optional_text(answer, "id", at), at)
    response = optional_mapping(answer, "response", at) or {}
    parts: list[Text | Image | Document] = []
    if response:
        whole = response[next(iter(response))] if tuple(response) in _WHOLE else response
        parts.append(Text(whole if isinstance(whole, str) else dump(whole).decode()))
    for part, place in objects(answer.get("parts"), f"{at}.parts"):
        parts.append(_decode_media(part, place))
    return ToolResult(identity, tuple(parts), is_error=tuple(response) == ("error",))


def _decode_media(part: Json, at: str) -> Image | Document:
    check_fields(FIELDS, part, at, f"{_ANSWER}parts[].")
    if part.get("fileData") is not None:
        return decode_file(mapping(part["fileData"], f"{at}.fileData"), f"{at}.fileData")
    return decode_inline(mapping(part.get("inlineData"), f"{at}.inlineData"), f"{at}.inlineData")


def text_parts(content: Any, at: str) -> tuple[Text, ...]:
    """The texts of an instruction; it has nothing else."""
    texts: list[Text] = []
    for part, place in objects(mapping(content, at).get("parts"), f"{at}.parts"):
        check_fields(FIELDS, part, place, "systemInstruction.parts[].")
        texts.append(Text(optional_text(part, "text", place) or ""))
    return tuple(one for one in texts if one.text)
