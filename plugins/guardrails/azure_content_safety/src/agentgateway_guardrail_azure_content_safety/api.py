"""The two operations of Azure AI Content Safety that are asked, and what their answers say.

https://learn.microsoft.com/rest/api/contentsafety/text-operations/analyze-text
https://learn.microsoft.com/rest/api/contentsafety/text-operations/detect-text-jailbreak
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentgateway.errors import GuardFailed
from agentgateway_guardrail_azure_content_safety.config import AnalyzeText, DetectJailbreak

CATEGORIES = ("Hate", "SelfHarm", "Sexual", "Violence")
OVERLAP = 128
"""Characters that a piece of a text shares with the one before it: the longest entry of a blocklist."""


class _Read(BaseModel):
    model_config = ConfigDict(strict=True, hide_input_in_errors=True)


Answer = TypeVar("Answer", bound=_Read)


class Category(_Read):
    category: str
    severity: Annotated[int, Field(ge=0, le=7)]


class Analysis(_Read):
    blocklistsMatch: list[Any] | None = None
    categoriesAnalysis: list[Category]


class Detection(_Read):
    detected: bool


class Jailbreak(_Read):
    jailbreakAnalysis: Detection


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One way to look at texts. `target` is path and query below the endpoint; a text may have at most `longest`
    characters (Unicode code points); `fields` are sent beside it; `found` reads an answer: what is wrong with the
    text, or nothing. It raises `GuardFailed` for an answer that does not say."""

    name: str
    target: str
    longest: int
    fields: dict[str, Any]
    found: Callable[[bytes], str]

    def pieces(self, text: str) -> Iterator[str]:
        """The text in pieces of the length that the operation takes. Blank texts, which Azure refuses, have none."""
        if text.strip():
            step = self.longest - OVERLAP
            for start in range(0, max(1, len(text) - OVERLAP), step):
                yield text[start : start + self.longest]


def analysis(config: AnalyzeText) -> Operation:
    """Harm, and blocklists."""
    fields: dict[str, Any] = {}
    if config.blocklist_names:
        fields = {"blocklistNames": config.blocklist_names, "haltOnBlocklistHit": config.halt_on_blocklist_hit}

    def found(answer: bytes) -> str:
        read = _read(Analysis, answer)
        if read.blocklistsMatch:
            return "blocklist"
        severities = {one.category: one.severity for one in read.categoriesAnalysis}
        if not severities.keys() >= set(CATEGORIES):
            raise GuardFailed(detail="Azure's answer lacks a category")
        worst = max(CATEGORIES, key=severities.__getitem__)
        severe = severities[worst] >= config.severity_threshold
        return f"{worst} of severity {severities[worst]}" if severe else ""

    target = f"/contentsafety/text:analyze?api-version={config.api_version}"
    return Operation("analyzeText", target, 10_000, fields, found)


def jailbreak(config: DetectJailbreak) -> Operation:
    """Jailbreaks."""

    def found(answer: bytes) -> str:
        return "jailbreak" if _read(Jailbreak, answer).jailbreakAnalysis.detected else ""

    target = f"/contentsafety/text:detectJailbreak?api-version={config.api_version}"
    return Operation("detectJailbreak", target, 1_000, {}, found)


def _read(kind: type[Answer], answer: bytes) -> Answer:
    try:
        return kind.model_validate_json(answer)
    except ValidationError:
        raise GuardFailed(detail="Azure's answer is malformed") from None
