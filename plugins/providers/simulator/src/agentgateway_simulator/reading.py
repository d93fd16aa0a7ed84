"""Reading a call as a model does that cares for what it knows and overlooks the rest."""

from __future__ import annotations

from dataclasses import replace

from agentgateway.llm.calls import ChatCall, LlmCall


def lenient(call: LlmCall) -> ChatCall:
    """The canonical call without the fields that only translation refuses. Raises `InvalidRequest` for wrong ones."""
    fates = call.dialect.fields
    document = {name: value for name, value in call.document.items() if fates.get(name, "refused") != "refused"}
    return replace(call.dialect.decode_call(document), model=call.model, stream=call.stream)
