"""ApplyGuardrail: what it takes, and what its answers say.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ApplyGuardrail.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from agentgateway.errors import GuardFailed
from agentgateway.interfaces import GuardPhase

UNIT = 1_000
"""Characters of a text unit, in which Bedrock measures and bills."""
MOST = 25
"""Text units of one question."""
LONGEST = UNIT * MOST
POLICIES = frozenset(
    (
        *("topicPolicy", "contentPolicy", "wordPolicy", "sensitiveInformationPolicy"),
        *("contextualGroundingPolicy", "automatedReasoningPolicy"),
    )
)
"""The published ones: no other word of an answer gets into the log."""


class _Read(BaseModel):
    model_config = ConfigDict(strict=True, hide_input_in_errors=True)


class Output(_Read):
    text: str


class Answer(_Read):
    action: Literal["NONE", "GUARDRAIL_INTERVENED"]
    outputs: list[Output] = []
    assessments: list[dict[str, Any]] = []


@dataclass(frozen=True, slots=True)
class Finding:
    """What Bedrock says of some texts: what to show in their place, or why they are refused."""

    texts: tuple[str, ...] = ()
    refused: str = ""


def pieces(text: str) -> Iterator[str]:
    """The text in pieces that one question takes, cut after blanks where there are any."""
    start = 0
    while len(text) - start > LONGEST:
        blanks = list(re.finditer(r"\s", text[start + LONGEST - UNIT : start + LONGEST]))
        cut = start + LONGEST - (UNIT - blanks[-1].end() if blanks else 0)
        yield text[start:cut]
        start = cut
    yield text[start:]


def questions(texts: Iterable[str]) -> Iterator[list[str]]:
    """As many of them together as one question takes."""
    together: list[str] = []
    units = 0
    for text in texts:
        own = -(-len(text) // UNIT)
        if together and units + own > MOST:
            yield together
            together, units = [], 0
        together.append(text)
        units += own
    if together:
        yield together


def question(texts: Sequence[str], phase: GuardPhase) -> bytes:
    """The document that shows the texts: one block for each."""
    source = "INPUT" if phase == "request" else "OUTPUT"
    return to_json({"source": source, "content": [{"text": {"text": text}} for text in texts]})


def finding(answer: bytes, texts: Sequence[str]) -> Finding:
    """What an answer says of those texts. Raises `GuardFailed` for one that is malformed.

    Bedrock tells a mask from a refusal by what its policies did: when all that they did was to put names in the place
    of personal data, and there is an output for each text, the outputs are the texts.
    """
    try:
        read = Answer.model_validate_json(answer)
    except ValidationError:
        raise GuardFailed(detail="Bedrock's answer is malformed") from None
    if read.action == "NONE":
        return Finding(tuple(texts))
    done = {name: set(actions(policy)) - {"NONE"} for each in read.assessments for name, policy in each.items()}
    all_done = {action for each in done.values() for action in each}
    if all_done == {"ANONYMIZED"} and len(read.outputs) == len(texts):
        return Finding(tuple(output.text for output in read.outputs))
    acted = sorted(name for name, each in done.items() if each and name in POLICIES)
    return Finding(refused=", ".join(acted) or "the guardrail intervened")


def actions(policy: Any) -> Iterator[str]:
    """Every `action` in the assessment of a policy, at any depth. What is no text counts as one nobody knows."""
    stack = [policy]
    for each in stack:  # grows while it is walked
        if isinstance(each, dict):
            stack.extend(value for key, value in each.items() if key != "action")
            if "action" in each:
                yield str(each["action"])
        elif isinstance(each, list):
            stack.extend(each)
