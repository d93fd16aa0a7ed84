"""OpenAI's moderation endpoint: what it takes, and what its answers say.

https://platform.openai.com/docs/api-reference/moderations
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentgateway.errors import GuardFailed

CATEGORIES = frozenset(
    (
        *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent"),
        *("self-harm", "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors"),
        *("violence", "violence/graphic"),
    )
)
"""The published ones: no other word of an answer gets into the log."""
LONGEST = 8_000
"""Characters of a text that are judged at once; in any script, they have fewer tokens than the models take."""
OVERLAP = 200
"""Characters that a piece of a text shares with the one before it."""


class _Read(BaseModel):
    model_config = ConfigDict(strict=True, hide_input_in_errors=True)


class Result(_Read):
    flagged: bool
    categories: dict[str, bool | None] = {}


class Answer(_Read):
    results: Annotated[list[Result], Field(min_length=1)]


def pieces(text: str) -> Iterator[str]:
    """The text in pieces of at most `LONGEST` characters. Blank texts have none."""
    if text.strip():
        for start in range(0, max(1, len(text) - OVERLAP), LONGEST - OVERLAP):
            yield text[start : start + LONGEST]


def found(answer: bytes, texts: int) -> str:
    """What is wrong with one of so many texts, or nothing. Raises `GuardFailed` for an answer that does not say."""
    try:
        results = Answer.model_validate_json(answer).results
    except ValidationError:
        raise GuardFailed(detail="OpenAI's answer is malformed") from None
    flagged = [result for result in results if result.flagged]
    if flagged:
        named = {name for result in flagged for name, holds in result.categories.items() if holds}
        return ", ".join(sorted(named & CATEGORIES)) or "flagged"
    if len(results) != texts:
        raise GuardFailed(detail=f"OpenAI judged {len(results)} of {texts} texts")
    return ""
