"""Ciphertexts of thoughts on their way between vendors' clients.

A ciphertext is of use to the vendor that made it, and to no other. So one of OpenAI's goes to clients of other dialects
as a signature behind a mark, with its item's id; and one of another vendor goes to clients of this dialect as
`encrypted_content` behind a mark. What comes back to its vendor is as it was.
"""

from __future__ import annotations

from agentgateway.llm.calls import Json
from agentgateway.llm.chat import Thinking

_OPENAI = "openai:"
_TEXT, _WITHHELD = "agentgateway:text:", "agentgateway:withheld:"
_MARKS = (_TEXT, _WITHHELD)


def from_vendor(text: str, item_id: str, ciphertext: str) -> Thinking:
    """A thought of a vendor that speaks this dialect."""
    if not ciphertext or ciphertext.startswith(_MARKS):
        return from_client(text, ciphertext)
    return Thinking(text, f"{_OPENAI}{item_id}:{ciphertext}")


def for_vendor(thinking: Thinking) -> Json | None:
    """A thought as OpenAI takes it back; None for one that it did not make, or whose ciphertext is lost."""
    if thinking.signature is None or not thinking.signature.startswith(_OPENAI):
        return None
    item_id, _, told = thinking.signature.removeprefix(_OPENAI).partition(":")
    return {"type": "reasoning", "id": item_id, "summary": summary(thinking.text), "encrypted_content": told}


def from_client(text: str, ciphertext: str | None) -> Thinking:
    """A thought that a client of this dialect hands back; other vendors have no use for a ciphertext of OpenAI's."""
    if ciphertext and ciphertext.startswith(_WITHHELD):
        return Thinking(text, redacted=ciphertext.removeprefix(_WITHHELD))
    if ciphertext and ciphertext.startswith(_TEXT):
        return Thinking(text, ciphertext.removeprefix(_TEXT))
    return Thinking(text)


def ciphertext(signature: str | None, redacted: str | None) -> Json:
    """The ciphertext of a thought, for a client of this dialect: the field that holds it, if there is one."""
    if redacted is not None:
        return {"encrypted_content": _WITHHELD + redacted}
    return {} if signature is None else {"encrypted_content": _TEXT + signature}


def summary(text: str) -> list[Json]:
    return [{"type": "summary_text", "text": text}] if text else []
