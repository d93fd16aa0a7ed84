"""The tools that have to ask the client before they can answer."""

import json
from collections.abc import Mapping
from typing import Any

import contents
from calls import Call, InputRequired
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from tools import tool


def form(message: str, **properties: Any) -> dict[str, Any]:
    """An elicitation of these fields, all of them required."""
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {
        "method": "elicitation/create",
        "params": {"mode": "form", "message": message, "requestedSchema": schema},
    }


def optional_form(message: str, properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": []}
    return {"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}}


def sampling(prompt: str, tokens: int = 100) -> dict[str, Any]:
    message = {"role": "user", "content": contents.text(prompt)}
    return {"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": tokens}}


ROOTS = {"method": "roots/list", "params": {}}
STRING = {"type": "string"}


def elicited(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    said = f"Elicitation completed: action={answer['action']}, content={json.dumps(answer.get('content'))}"
    return [contents.text(said)]


def sampled(answer: Mapping[str, Any]) -> str:
    content = answer["content"]
    first = content[0] if isinstance(content, list) else content
    return str(first.get("text", first["type"]))


def named(answer: Mapping[str, Any], field: str) -> Any:
    return (answer.get("content") or {}).get(field)


@tool("Asks the client's model.", prompt=STRING)
async def test_sampling(call: Call) -> list[dict[str, Any]]:
    answers = await call.ask({"sample": sampling(call.arguments["prompt"])})
    return [contents.text(f"LLM response: {sampled(answers['sample'])}")]


@tool("Asks the user for a name and an address.", message=STRING)
async def test_elicitation(call: Call) -> list[dict[str, Any]]:
    username = {"type": "string", "description": "User's response"}
    email = {"type": "string", "description": "User's email address"}
    answers = await call.ask({"user": form(call.arguments["message"], username=username, email=email)})
    answer = answers["user"]
    said = f"User response: action={answer['action']}, content={json.dumps(answer.get('content'))}"
    return [contents.text(said)]


@tool("Asks with a default for every kind of field.")
async def test_elicitation_sep1034_defaults(call: Call) -> list[dict[str, Any]]:
    fields = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return elicited((await call.ask({"form": optional_form("Are these right?", fields)}))["form"])


@tool("Asks with every kind of choice.")
async def test_elicitation_sep1330_enums(call: Call) -> list[dict[str, Any]]:
    plain = ["option1", "option2", "option3"]
    titled = [{"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(("First", "Second"), 1)]
    fields = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return elicited((await call.ask({"form": optional_form("Which ones?", fields)}))["form"])


@tool("Needs a client that can sample.")
async def test_missing_capability(call: Call) -> list[dict[str, Any]]:
    call.require("sampling/createMessage")
    return [contents.text("You can sample.")]


@tool("Says how far it is, then asks.")
async def test_streaming_elicitation(call: Call) -> list[dict[str, Any]]:
    await call.progress(1, 2)
    return elicited((await call.ask({"confirm": form("Go on?", ok={"type": "boolean"})}))["confirm"])


@tool("Asks for a name.")
async def test_input_required_result_elicitation(call: Call) -> list[dict[str, Any]]:
    answers = await call.ask({"user_name": form("What is your name?", name=STRING)})
    return [contents.text(f"Hello, {named(answers['user_name'], 'name')}!")]


@tool("Asks for a capital.")
async def test_input_required_result_sampling(call: Call) -> list[dict[str, Any]]:
    answers = await call.ask({"capital_question": sampling("What is the capital of France?")})
    return [contents.text(sampled(answers["capital_question"]))]


@tool("Asks for the roots.")
async def test_input_required_result_list_roots(call: Call) -> list[dict[str, Any]]:
    answers = await call.ask({"client_roots": ROOTS})
    uris = [root["uri"] for root in answers["client_roots"]["roots"]]
    return [contents.text(f"Your roots: {', '.join(uris)}")]


@tool("Asks, and leaves a state with the client.")
async def test_input_required_result_request_state(call: Call) -> list[dict[str, Any]]:
    await call.ask({"confirm": form("Please confirm", ok={"type": "boolean"})}, state="asked")
    return _state_kept(call, "asked")


@tool("Asks, and finds out whether its state has been changed.")
async def test_input_required_result_tampered_state(call: Call) -> list[dict[str, Any]]:
    await call.ask({"confirm": form("Please confirm", ok={"type": "boolean"})}, state="genuine")
    return _state_kept(call, "genuine")


def _state_kept(call: Call, state: str) -> list[dict[str, Any]]:
    if call.modern and call.checked and call.state != state:
        raise MCPError(INVALID_PARAMS, "not the request state that this server gave")
    return [contents.text("state-ok")]


@tool("Asks three things at once.")
async def test_input_required_result_multiple_inputs(call: Call) -> list[dict[str, Any]]:
    questions = {
        "user_name": form("What is your name?", name=STRING),
        "greeting": sampling("Generate a greeting", 50),
        "client_roots": ROOTS,
    }
    answers = await call.ask(questions, state="three")
    roots = len(answers["client_roots"]["roots"])
    said = f"{sampled(answers['greeting'])} {named(answers['user_name'], 'name')}, {roots} roots"
    return [contents.text(said)]


@tool("Asks twice, one after the other.")
async def test_input_required_result_multi_round(call: Call) -> list[dict[str, Any]]:
    name = {"step1": form("Step 1: What is your name?", name=STRING)}
    color = {"step2": form("Step 2: What is your favorite color?", color=STRING)}
    if not call.modern:
        first, second = await call.ask(name), await call.ask(color)
        return _both(named(first["step1"], "name"), named(second["step2"], "color"))
    if call.state is None:
        raise InputRequired(name, "first")
    if not call.state.startswith("second:"):
        answers = await call.ask(name, state="first")
        raise InputRequired(color, f"second:{named(answers['step1'], 'name')}")
    answers = await call.ask(color, state=call.state)
    return _both(call.state.removeprefix("second:"), named(answers["step2"], "color"))


def _both(name: Any, color: Any) -> list[dict[str, Any]]:
    return [contents.text(f"{name} likes {color}.")]


@tool("Asks only what the client can answer.")
async def test_input_required_result_capabilities(call: Call) -> list[dict[str, Any]]:
    wanted = {"who": form("What is your name?", name=STRING), "greeting": sampling("Generate a greeting")}
    able = {key: question for key, question in wanted.items() if call.able(question["method"])}
    answers = await call.ask(able) if able else {}
    return [contents.text(f"Answered: {', '.join(sorted(key for key in able if key in answers)) or 'nothing'}")]
