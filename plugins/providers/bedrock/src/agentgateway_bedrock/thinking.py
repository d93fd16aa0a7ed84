"""How models on Bedrock are asked to think, and to choose among so many tokens: each family in words of its own, under
`additionalModelRequestFields`.

Claude: https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html
Nova: https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html
gpt-oss: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-openai.html
"""

from __future__ import annotations

from agentgateway.llm.calls import Json, Untranslatable
from agentgateway.llm.chat import ChatCall, Reasoning
from agentgateway.llm.dialects.messages_call import BUDGETS, LEAST_BUDGET, continues_unthought
from agentgateway.llm.wire import check_fields, optional_count, optional_mapping, optional_text, wrong
from agentgateway_bedrock.converse_fields import FIELDS

_MORE = "additionalModelRequestFields"
_FAMILIES = (("anthropic", "claude"), ("claude", "claude"), ("nova", "nova"), ("openai", "gpt-oss"))
_THREE = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}


def family(model: str) -> str:
    """Whose words a model understands, by its id; an ARN that does not tell is taken for Claude's."""
    for word, name in _FAMILIES:
        if word in model:
            return name
    return "claude" if model.startswith("arn:") else ""


# reading


def decode_reasoning(more: Json, output: Json) -> Reasoning | None:
    effort = optional_text(output, "effort", "outputConfig") or _effort(more)
    thinking, at = _part(more, "thinking"), f"{_MORE}.thinking"
    if thinking is None:
        thinking, at = _part(more, "reasoning_config", "thinking"), f"{_MORE}.reasoning_config"
    if thinking is None:
        return _decode_nova(more) or (None if effort is None else Reasoning(effort))
    match thinking.get("type"):
        case "disabled":
            return Reasoning("none")
        case "adaptive":
            return Reasoning(effort, adaptive=True)
        case "enabled":
            budget = optional_count(thinking, "budget_tokens", at)
            if budget is None:
                raise wrong(f"{at}.budget_tokens", "a whole number")
            return Reasoning(effort, budget)
        case other:
            raise Untranslatable(f"{at}.type", f"thinking of type `{other}`")


def _part(more: Json, key: str, listed: str = "") -> Json | None:
    found = optional_mapping(more, key, _MORE)
    if found is not None:
        check_fields(FIELDS, found, f"{_MORE}.{key}", f"{_MORE}.{listed or key}.")
    return found


def _effort(more: Json) -> str | None:
    output = _part(more, "output_config") or {}
    said = optional_text(output, "effort", f"{_MORE}.output_config")
    return said or optional_text(more, "reasoning_effort", _MORE)


def _decode_nova(more: Json) -> Reasoning | None:
    config = _part(more, "reasoningConfig")
    if config is None:
        return None
    if config.get("type") == "disabled":
        return Reasoning("none")
    return Reasoning(optional_text(config, "maxReasoningEffort", f"{_MORE}.reasoningConfig") or "medium")


def decode_top_k(more: Json) -> int | None:
    nova = _part(more, "inferenceConfig") or {}
    found = optional_count(more, "top_k", _MORE)
    return found if found is not None else optional_count(nova, "topK", f"{_MORE}.inferenceConfig")


# writing


def encode_reasoning(call: ChatCall) -> Json:
    """Fields for the model, and `outputConfig` if some of it goes there."""
    reasoning = call.reasoning
    if reasoning is None:
        return {}
    match family(call.model):
        case "claude":
            return _claude(call, reasoning)
        case "nova":
            return {"reasoningConfig": _nova(reasoning)}
        case "gpt-oss":
            return {"reasoning_effort": _level(reasoning)} if reasoning.effort != "none" else {}
        case _:
            return {}


def _claude(call: ChatCall, reasoning: Reasoning) -> Json:
    """A budget below the limit; none where it would be too small, or where the vendor refuses to think: before a
    forced tool, and in the middle of tool calls that began without thinking."""
    if reasoning.effort == "none":
        return {"thinking": {"type": "disabled"}}
    if reasoning.adaptive:
        output = {"outputConfig": {"effort": reasoning.effort}} if reasoning.effort is not None else {}
        return {"thinking": {"type": "adaptive"}} | output
    budget = reasoning.budget if reasoning.budget is not None else BUDGETS.get(reasoning.effort or "", 0)
    if call.max_tokens is not None:
        budget = min(budget, call.max_tokens - 1)
    forced = call.tool_choice is not None and call.tool_choice.mode in ("required", "named")
    if budget < LEAST_BUDGET or forced or continues_unthought(call.messages):
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _nova(reasoning: Reasoning) -> Json:
    if reasoning.effort == "none":
        return {"type": "disabled"}
    return {"type": "enabled", "maxReasoningEffort": _level(reasoning)}


def _level(reasoning: Reasoning) -> str:
    """One of three."""
    if reasoning.effort in _THREE:
        return _THREE[reasoning.effort]
    budget = reasoning.budget or BUDGETS["medium"]
    return "low" if budget <= BUDGETS["low"] else "medium" if budget <= BUDGETS["medium"] else "high"


def thinks(fields: Json) -> bool:
    """Whether these fields ask for thinking, beside which the vendor allows no sampling."""
    return any(key in fields and fields[key]["type"] != "disabled" for key in ("thinking", "reasoningConfig"))


def encode_top_k(call: ChatCall) -> Json:
    if call.top_k is None:
        return {}
    match family(call.model):
        case "claude":
            return {"top_k": call.top_k}
        case "nova":
            return {"inferenceConfig": {"topK": call.top_k}}
        case _:
            return {}
