"""What the simulator decides to do, before any format comes in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agentgateway_simulator.config import SimulatorConfig
from agentgateway_simulator.script import Failure, Script, script

from agentgateway.exchange import Usage
from agentgateway.llm.calls import (
    CacheMark,
    ChatCall,
    ChatReply,
    Document,
    Image,
    Message,
    Reasoning,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)

WEATHER = Tool("weather", schema={"type": "object", "properties": {"city": {"type": "string"}}})
CLOCK = Tool("clock", schema={"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}}})


def ask(
    text: str = "hello there", *, config: dict[str, Any] | None = None, failing: bool = False, **rest: Any
) -> Script:
    call = ChatCall(**{"model": "gpt-5", "messages": (Message("user", (Text(text),)),), **rest})
    settings = SimulatorConfig.model_validate(config or {})
    return script(call, settings, dialect="completions", seed=b"seed", failing=failing)


def answered(plan: Script) -> ChatReply:
    assert plan.reply is not None
    return plan.reply


def said(plan: Script) -> str:
    return "".join(part.text for part in answered(plan).parts if isinstance(part, Text))


def called(plan: Script) -> list[tuple[str, Any]]:
    return [(part.name, json.loads(part.arguments)) for part in answered(plan).parts if isinstance(part, ToolUse)]


def test_it_says_what_it_heard() -> None:
    reply = answered(ask())
    assert reply.parts == (Text("You said: hello there"),)
    assert (reply.model, reply.stop_reason) == ("gpt-5", "stop")


def test_the_answer_is_a_template() -> None:
    assert said(ask("{model}", config={"reply": "{model} heard {text}"})) == "gpt-5 heard {model}"


def test_equal_calls_get_equal_answers_and_others_other_ids() -> None:
    call = ChatCall("gpt-5", (Message("user", (Text("hi"),)),))
    one, two = (script(call, SimulatorConfig(), dialect="messages", seed=b"a") for _ in range(2))
    assert one == two
    assert answered(one).id.startswith("msg_")
    assert answered(script(call, SimulatorConfig(), dialect="messages", seed=b"b")).id != answered(one).id


def test_filler_is_as_long_as_asked() -> None:
    assert len(said(ask(config={"tokens": 40})).split()) == 40
    assert len(said(ask("[[simulate tokens=7]]", config={"tokens": 40})).split()) == 7


def test_a_text_given_is_said_letter_for_letter() -> None:
    assert said(ask("x [[simulate text=SSN 078-05-1120  now]]")) == "SSN 078-05-1120  now"


def test_directives_can_be_off() -> None:
    assert said(ask("[[simulate error=500]]", config={"directives": False})) == "You said: [[simulate error=500]]"


def test_the_limit_on_tokens_cuts_the_answer() -> None:
    reply = answered(ask(config={"tokens": 40}, max_tokens=5))
    assert (reply.stop_reason, reply.usage and reply.usage.output_tokens) == ("length", 5)


def test_a_stop_sequence_ends_the_answer() -> None:
    reply = answered(ask("one two three", stop=("three", "two")))
    assert reply.parts == (Text("You said: one "),)
    assert (reply.stop_reason, reply.stop_sequence) == ("stop_sequence", "two")


def test_files_that_arrived_are_shown() -> None:
    parts = (Text("look"), Image(data="AAAA", media_type="image/png"), Document(url="https://x.example/a.pdf"))
    plan = ask(messages=(Message("user", parts),))
    assert said(plan) == "You said: look [image: image/png, 4 characters] [document: https://x.example/a.pdf]"


class TestTools:
    def test_a_tool_that_the_text_names_is_called(self) -> None:
        plan = ask("what is the weather?", tools=(WEATHER, CLOCK))
        assert called(plan) == [("weather", {"city": "city"})]
        assert answered(plan).stop_reason == "tool_use"

    def test_two_tools_named_are_called_in_parallel_in_the_texts_order(self) -> None:
        assert called(ask("clock and weather", tools=(WEATHER, CLOCK))) == [
            ("clock", {"zone": "UTC"}),
            ("weather", {"city": "city"}),
        ]

    def test_calls_have_ids_of_their_own(self) -> None:
        parts = answered(ask("clock and weather", tools=(WEATHER, CLOCK))).parts
        assert len({part.id for part in parts if isinstance(part, ToolUse)}) == 2

    def test_part_of_a_word_is_no_name(self) -> None:
        assert called(ask("clockwork", tools=(CLOCK,))) == []

    def test_one_at_a_time_when_the_request_says_so(self) -> None:
        plan = ask("clock and weather", tools=(WEATHER, CLOCK), tool_choice=ToolChoice(parallel=False))
        assert [name for name, _ in called(plan)] == ["clock"]

    def test_a_request_that_insists_gets_a_call(self) -> None:
        assert called(ask(tools=(WEATHER, CLOCK), tool_choice=ToolChoice("required")))[0][0] == "weather"
        assert called(ask(tools=(WEATHER, CLOCK), tool_choice=ToolChoice("named", "clock")))[0][0] == "clock"

    def test_a_request_that_forbids_gets_none(self) -> None:
        assert called(ask("weather", tools=(WEATHER,), tool_choice=ToolChoice("none"))) == []
        assert called(ask("weather", tools=(WEATHER,), config={"toolCalls": "never"})) == []

    def test_a_directive_names_tools_that_need_not_exist(self) -> None:
        plan = ask("[[simulate tool=clock tool=ghost]]", tools=(WEATHER, CLOCK))
        assert called(plan) == [("clock", {"zone": "UTC"}), ("ghost", {})]

    def test_after_results_it_answers_with_them(self) -> None:
        messages = (
            Message("user", (Text("weather and clock [[simulate tool=weather]]"),)),
            Message("assistant", (ToolUse("1", "weather", "{}"), ToolUse("2", "clock", "{}"))),
            Message("tool", (ToolResult("1", (Text("18 C"),)), ToolResult("2", (Text("no"),), is_error=True))),
        )
        plan = ask(messages=messages, tools=(WEATHER, CLOCK))
        assert said(plan) == "The tool said: 18 C; The tool failed: no"

    def test_a_schema_that_cannot_be_used_is_a_bad_request(self) -> None:
        plan = ask("weather", tools=(Tool("weather", schema={"properties": 3}),))
        assert plan.failure is not None and plan.failure.status == 400


class TestStructure:
    def test_a_schema_gets_a_value_that_fits(self) -> None:
        wanted = ResponseFormat("schema", {"type": "object", "properties": {"n": {"type": "integer"}}}, "number")
        assert json.loads(said(ask(response_format=wanted))) == {"n": 1}

    def test_json_without_a_schema_holds_the_answer(self) -> None:
        assert json.loads(said(ask(response_format=ResponseFormat("json")))) == {"text": "You said: hello there"}
        assert json.loads(said(ask("hi [[simulate json]]"))) == {"text": "You said: hi"}


class TestThinking:
    @pytest.mark.parametrize("reasoning", [Reasoning(effort="low"), Reasoning(budget=2048), Reasoning(adaptive=True)])
    def test_a_request_for_it_is_served(self, reasoning: Reasoning) -> None:
        reply = answered(ask(reasoning=reasoning))
        assert isinstance(reply.parts[0], Thinking) and reply.parts[0].signature
        assert reply.usage is not None and reply.usage.reasoning_tokens == 8

    def test_a_directive_for_it_is_served(self) -> None:
        assert isinstance(answered(ask("[[simulate thinking]]")).parts[0], Thinking)

    def test_otherwise_there_is_none(self) -> None:
        for reasoning in (None, Reasoning(effort="none")):
            assert answered(ask(reasoning=reasoning)).parts == (Text("You said: hello there"),)


class TestUsage:
    def test_words_are_tokens(self) -> None:
        assert answered(ask("one two three", system=(Text("be brief"),))).usage == Usage(5, 5)

    def test_pictures_and_tools_cost_too(self) -> None:
        parts = (Text("look"), Image(url="https://x.example/a.png"))
        picture = answered(ask(messages=(Message("user", parts),))).usage
        assert picture is not None and picture.input_tokens == 86
        tooled = answered(ask("weather", tools=(WEATHER,))).usage
        assert tooled is not None and tooled.input_tokens > 1 and tooled.output_tokens > 1

    def test_the_first_call_of_a_conversation_writes_the_cache(self) -> None:
        usage = answered(ask("hi", system=(Text("four words of prompt", CacheMark()),))).usage
        assert usage == Usage(5, 3, 0, 4)

    def test_a_later_one_reads_it(self) -> None:
        messages = (
            Message("user", (Text("hi"),)),
            Message("assistant", (Text("ho"),)),
            Message("user", (Text("again please", CacheMark()),)),
        )
        usage = answered(ask(messages=messages, system=(Text("four words of prompt", CacheMark()),))).usage
        assert usage == Usage(8, 4, 8, 0)

    def test_a_directive_says_what_was_cached(self) -> None:
        usage = answered(ask("one two [[simulate cached=1]]")).usage
        assert usage is not None and usage.cached_input_tokens == 1
        most = answered(ask("one two [[simulate cached=1000]]")).usage
        assert most is not None and most.cached_input_tokens == most.input_tokens


class TestFailures:
    def test_an_error_asked_for_comes_alone(self) -> None:
        plan = ask("[[simulate error=500]]")
        assert (plan.reply, plan.failure) == (None, Failure(500, "simulated error 500"))

    def test_a_rate_limit_says_when_to_come_back(self) -> None:
        assert ask("[[simulate error=429]]").failure == Failure(429, "simulated error 429", 1.0)
        assert ask("[[simulate error=429 retry-after=7s]]").failure == Failure(429, "simulated error 429", 7.0)

    def test_an_error_may_come_late(self) -> None:
        plan = ask("[[simulate error=529 after=2]]")
        assert plan.reply is not None and plan.failure == Failure(529, "simulated error 529", None, 2)

    def test_a_connection_may_break(self) -> None:
        assert ask("[[simulate disconnect after=3]]").breaks_after == 3
        assert ask("[[simulate disconnect]]").breaks_after == 0
        assert ask().breaks_after is None

    def test_the_configuration_fails_when_it_is_its_turn(self) -> None:
        config = {"fail": {"error": 503, "every": 2}}
        assert ask(config=config, failing=True).failure == Failure(503, "simulated error 503")
        assert ask(config=config, failing=False).failure is None
        assert ask(config={"fail": {"disconnectAfter": 4}}, failing=True).breaks_after == 4

    def test_a_calls_own_failure_wins_over_the_configured_one(self) -> None:
        plan = ask("[[simulate error=400]]", config={"fail": {"disconnectAfter": 4}}, failing=True)
        assert (plan.reply, plan.failure) == (None, Failure(400, "simulated error 400"))

    def test_a_directive_that_means_nothing_is_a_bad_request(self) -> None:
        failure = ask("[[simulate eror=500]]").failure
        assert failure is not None and failure.status == 400 and "eror" in failure.message

    def test_times_come_from_the_call_or_else_the_configuration(self) -> None:
        config = {"latency": "1s", "pace": "20ms"}
        assert (ask(config=config).latency, ask(config=config).pace) == (1.0, 0.02)
        own = ask("[[simulate latency=0 pace=5ms]]", config=config)
        assert (own.latency, own.pace) == (0.0, 0.005)
