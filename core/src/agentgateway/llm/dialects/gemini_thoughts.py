"""Thoughts and their signatures, and how much to think.

The vendor signs the part that follows a thought, a function call or a text, and wants the signature back in that place
(https://ai.google.dev/gemini-api/docs/thought-signatures); other vendors sign the thought itself. A signature is bytes
here, base64 in JSON: what is none, and the ciphertext of thoughts that are withheld, travels to clients inside such
bytes, behind a mark.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import replace

from agentgateway.llm.calls import Json
from agentgateway.llm.chat import Part, Reasoning, Text, Thinking

UNSIGNED = "skip_thought_signature_validator"
"""What the vendor takes for the signature of a call that another model made, or whose client lost it."""
_STAND_INS = frozenset((UNSIGNED, "context_engineering_is_the_way_to_go"))
_TEXT, _WITHHELD = b"agentgateway:text:", b"agentgateway:withheld:"
_URL_SAFE = str.maketrans("-_", "+/")
_BY_LEVEL = re.compile(r"(?:^|/)gemini-(?:[3-9]|[1-9]\d|flash|pro)")
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}


def standard(data: str) -> str:
    """Base64 in the standard alphabet, padded: the vendor's parsers and its SDK also know the one for URLs."""
    data = data.translate(_URL_SAFE).rstrip("=")
    return data + "=" * (-len(data) % 4)


def decoded(data: str) -> bytes | None:
    """The bytes of padded standard base64; None when it is none."""
    try:
        return b64decode(data, validate=True)
    except ValueError:
        return None


def signed(thinking: Thinking, signature: str) -> Thinking:
    """A thought with the signature as it stands on a part."""
    if signature in _STAND_INS:
        return thinking
    told = standard(signature)
    content = decoded(told) or b""
    if content.startswith(_WITHHELD):
        return replace(thinking, redacted=content.removeprefix(_WITHHELD).decode("utf-8", "replace"))
    if content.startswith(_TEXT):
        return replace(thinking, signature=content.removeprefix(_TEXT).decode("utf-8", "replace"))
    return replace(thinking, signature=told if content else signature)


def open_to_signing(part: Part | None) -> bool:
    """Whether a part is a thought that nobody signed yet."""
    return isinstance(part, Thinking) and part.signature is None and part.redacted is None


def wire_signature(signature: str) -> str:
    """A signature as the format can hold it."""
    content = decoded(signature)
    if content and b64encode(content).decode() == signature:
        return signature
    return b64encode(_TEXT + signature.encode("utf-8", "replace")).decode()


def withheld(data: str) -> Json:
    """The ciphertext of a thought, as a part."""
    return thought("") | {"thoughtSignature": b64encode(_WITHHELD + data.encode("utf-8", "replace")).decode()}


def thought(text: str) -> Json:
    return {"text": text, "thought": True}


def lone_signature(part: Thinking) -> Json:
    """A signature that no part follows: with its thought, or on an empty text, as the vendor's streams have it."""
    holder = thought(part.text) if part.text else {"text": ""}
    return holder if part.signature is None else holder | {"thoughtSignature": wire_signature(part.signature)}


def answers_signed(model: str) -> bool:
    """Whether a model insists on signatures of calls, and takes pictures in the answers of tools: from Gemini 3 on."""
    return _BY_LEVEL.search(model) is not None


def thinking_config(reasoning: Reasoning | None, model: str) -> Json | None:
    """https://ai.google.dev/gemini-api/docs/thinking: models up to Gemini 2.5 take a budget, later ones a level; a
    budget that the client named is taken by both."""
    if reasoning is None:
        return None
    if reasoning.budget is not None:
        return {"thinkingBudget": reasoning.budget, "includeThoughts": True}
    shown = {} if reasoning.effort == "none" else {"includeThoughts": True}
    if reasoning.effort is None:
        return {"thinkingBudget": -1, **shown} if reasoning.adaptive else None
    if answers_signed(model):
        return {"thinkingLevel": _level(reasoning.effort, model).upper(), **shown}
    return {"thinkingBudget": _BUDGETS.get(reasoning.effort, -1), **shown}


def _level(effort: str, model: str) -> str:
    """Not to think at all is no choice there; the least is `minimal`, which only the smaller models have."""
    if effort in ("none", "minimal"):
        return "minimal" if "flash" in model else "low"
    return effort if effort in ("low", "medium") else "high"


def merged(parts: list[Part], part: Part) -> None:
    """Add a part of the model's: neighbouring texts are pieces of one, neighbouring thoughts too, up to a signature."""
    last = parts[-1] if parts else None
    if isinstance(part, Text) and isinstance(last, Text):
        parts[-1] = replace(last, text=last.text + part.text)
    elif isinstance(part, Thinking) and part.redacted is None and isinstance(last, Thinking) and open_to_signing(last):
        parts[-1] = replace(part, text=last.text + part.text)
    else:
        parts.append(part)
