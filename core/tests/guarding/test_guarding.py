"""What `promptGuard` does with the verdicts of guards, and with guards that give none."""

import inspect
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from agentgateway._host.builtin.guarding import PromptGuard, PromptGuardConfig, PromptGuardPolicy
from agentgateway.errors import ConfigError, GuardFailed, GuardRejected
from agentgateway.exchange import Exchange, Reply
from agentgateway.interfaces import Protocol, Verdict
from agentgateway.testing import LoopbackHost, chat, chat_reply, http

KINDS = pytest.mark.parametrize("kind", ["Blunt", "Remote"])
DIALECTS = pytest.mark.parametrize("speaks", ["completions", "messages"])
FORBIDDEN = "this is forbidden"


def prompt_guard(host: Any, **config: Any) -> PromptGuard:
    return PromptGuard(TypeAdapter(PromptGuardConfig).validate_python(config), host)


async def run(guard: PromptGuard, phase: str, exchange: Exchange) -> None:
    for participant in guard.participants():
        if hook := getattr(participant.hooks, phase, None):
            answer = hook(exchange)
            assert (await answer if inspect.isawaitable(answer) else answer) is None


async def read(exchange: Exchange) -> bytes:
    assert exchange.reply is not None and exchange.reply.streaming
    return b"".join([chunk async for chunk in exchange.reply.body])  # type: ignore[union-attr]


def asking(text: str, **fields: Any) -> Exchange:
    return chat(messages=[{"role": "user", "content": text}], **fields)


# --- requests ---------------------------------------------------------------------------------------------------------


@KINDS
async def test_a_request_is_masked_before_anybody_else_sees_it(kit: Any, protocol: Any, kind: str) -> None:
    host = kit.Host({"blunt": getattr(kit, kind)()})
    exchange = protocol(asking("my secret"))
    await run(prompt_guard(host, request=[{"blunt": {}}]), "pre_request", exchange)
    assert exchange.call.document["messages"][0]["content"] == "my ###" and exchange.call.changed
    assert host.counters["guardrail_checks"].counts == {("Request", "Mask"): 1}


@KINDS
async def test_a_refused_request_gets_what_the_rejection_says(kit: Any, protocol: Any, kind: str) -> None:
    host = kit.Host({"blunt": getattr(kit, kind)()})
    rejection = {"body": "not here", "status": 422, "headers": {"add": {"X-Why": "words"}}}
    guard = prompt_guard(host, request=[{"blunt": {}, "name": "house rules", "rejection": rejection}])
    with pytest.raises(GuardRejected) as refused:
        await run(guard, "pre_request", protocol(asking(FORBIDDEN)))
    error = refused.value
    assert (error.status, error.message, error.headers) == (422, "not here", (("x-why", "words"),))
    assert error.detail == "house rules: words"


async def test_without_a_rejection_the_reference_s_words_are_used(kit: Any, protocol: Any) -> None:
    guard = prompt_guard(kit.Host({"blunt": kit.Blunt()}), request=[{"blunt": {}}])
    with pytest.raises(GuardRejected, match="The request was rejected due to inappropriate content") as refused:
        await run(guard, "pre_request", protocol(asking(FORBIDDEN)))
    assert refused.value.status == 403


@KINDS
async def test_a_guard_that_raises_refuses_the_request_and_quotes_nothing(kit: Any, protocol: Any, kind: str) -> None:
    host = kit.Host({"blunt": getattr(kit, kind)()})
    with pytest.raises(GuardFailed) as failed:
        await run(prompt_guard(host, request=[{"blunt": {}}]), "pre_request", protocol(asking("broken canary-71")))
    assert failed.value.detail.startswith("blunt: ValueError at judge:")
    assert "canary-71" not in failed.value.detail + failed.value.message
    assert host.counters["guardrail_checks"].counts == {("Request", "Fail"): 1}


@pytest.mark.parametrize("verdict", [None, "no", Verdict({7: "x"}), Verdict({-1: "x"}), Verdict({0: 5})])
async def test_what_is_no_verdict_refuses_the_request(kit: Any, protocol: Any, verdict: Any) -> None:
    guard = kit.Blunt()
    guard.check = lambda segments, exchange: verdict
    with pytest.raises(GuardFailed):
        await run(prompt_guard(kit.Host({"g": guard}), request=[{"g": {}}]), "pre_request", protocol(asking("hello")))


async def test_a_plain_function_that_returns_a_coroutine_refuses_the_request(kit: Any, protocol: Any) -> None:
    guard, remote = kit.Blunt(), kit.Remote()
    guard.check = lambda segments, exchange: remote.check(segments, exchange)
    with pytest.raises(GuardFailed, match="guardrail"):
        await run(prompt_guard(kit.Host({"g": guard}), request=[{"g": {}}]), "pre_request", protocol(asking("hi")))


async def test_guards_see_what_the_guards_before_them_left_and_the_first_refusal_ends_it(
    kit: Any, protocol: Any
) -> None:
    first, second = kit.Blunt(), kit.Remote()
    guard = prompt_guard(kit.Host({"one": first, "two": second}), request=[{"one": {}}, {"two": {}}])
    await run(guard, "pre_request", protocol(asking("a secret")))
    assert second.seen == ["a ###"]
    with pytest.raises(GuardRejected):
        await run(guard, "pre_request", protocol(asking(FORBIDDEN)))
    assert FORBIDDEN not in second.seen


async def test_a_guard_sees_the_texts_of_its_scopes(kit: Any, protocol: Any) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": "told"}'}}
    messages = [
        {"role": "system", "content": "rules"},
        {"role": "user", "content": "asked"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "found"},
    ]
    for scope, text in [
        ("systemPrompt", "rules"),
        ("messages", "asked"),
        ("toolInput", "told"),
        ("toolOutput", "found"),
    ]:
        guard = kit.Blunt()
        guard.scopes = frozenset({scope})
        host = kit.Host({"g": guard})
        await run(prompt_guard(host, request=[{"g": {}}]), "pre_request", protocol(chat(messages=messages)))
        assert guard.seen == [text]


async def test_arguments_of_tool_calls_are_read_as_the_tool_reads_them(kit: Any, protocol: Any) -> None:
    arguments = '{"n": 1, "deep": [{"x": "line\\nsecret"}], "\\u0073": "\\u0073ecret"}'
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    exchange = protocol(chat(messages=[{"role": "assistant", "tool_calls": [call]}]))
    guard = kit.Blunt()
    await run(prompt_guard(kit.Host({"g": guard}), request=[{"g": {}}]), "pre_request", exchange)
    assert sorted(guard.seen) == ["line\nsecret", "secret"]
    told = exchange.call.document["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert from_json(told) == {"n": 1, "deep": [{"x": "line\n###"}], "s": "###"}


async def test_half_the_arguments_of_a_tool_call_are_read_without_their_escapes(kit: Any, protocol: Any) -> None:
    call = {
        "id": "1",
        "type": "function",
        "function": {"name": "f", "arguments": '{"x": "a\\u0020secre\\u0074 \\ud83d\\ude00'},
    }
    exchange = protocol(chat(messages=[{"role": "assistant", "tool_calls": [call]}]))
    await run(prompt_guard(kit.Host({"g": kit.Blunt()}), request=[{"g": {}}]), "pre_request", exchange)
    assert exchange.call.document["messages"][0]["tool_calls"][0]["function"]["arguments"] == '{"x": "a ### 😀'


async def test_a_request_without_a_call_has_nothing_to_guard(kit: Any, protocol: Any) -> None:
    guard = kit.Blunt()
    await run(
        prompt_guard(kit.Host({"g": guard}), request=[{"g": {}}]), "pre_request", protocol(http("GET", "/v1/models"))
    )
    assert guard.seen == []


async def test_guards_on_a_route_that_serves_no_models_refuse_its_requests(kit: Any) -> None:
    exchange = http("POST", "/upload", body=b"secret")
    exchange.protocol = Protocol()
    config = {"request": [{"g": {}}], "response": [{"g": {}}]}
    with pytest.raises(GuardFailed):
        await run(prompt_guard(kit.Host({"g": kit.Blunt()}), **config), "pre_request", exchange)
    exchange.reply = Reply(200, body=b"secret", upstream=True)
    with pytest.raises(GuardFailed):
        await run(prompt_guard(kit.Host({"g": kit.Blunt()}), **config), "post_response", exchange)
    on_gateway = prompt_guard(kit.Host({"g": kit.Blunt()}, level="gateway"), **config)
    await run(on_gateway, "pre_request", exchange)
    await run(on_gateway, "post_response", exchange)


# --- replies ----------------------------------------------------------------------------------------------------------


def answer(text: str) -> dict[str, Any]:
    return {"id": "1", "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}


@KINDS
async def test_a_reply_is_masked(kit: Any, protocol: Any, kind: str) -> None:
    exchange = protocol(asking("hello"))
    reply = chat_reply(exchange, answer("the secret"))
    host = kit.Host({"g": getattr(kit, kind)()})
    await run(prompt_guard(host, response=[{"g": {}}]), "post_response", exchange)
    assert reply.content is not None and reply.content.changed
    exchange.protocol.render(exchange)
    assert from_json(reply.body)["choices"][0]["message"]["content"] == "the ###"
    assert host.counters["guardrail_checks"].counts == {("Response", "Mask"): 1}


@KINDS
async def test_a_refused_reply_is_replaced_by_an_error(kit: Any, protocol: Any, kind: str) -> None:
    exchange = protocol(asking("hello"))
    chat_reply(exchange, answer(FORBIDDEN))
    with pytest.raises(GuardRejected):
        await run(prompt_guard(kit.Host({"g": getattr(kit, kind)()}), response=[{"g": {}}]), "post_response", exchange)


async def test_replies_of_the_gateway_s_own_and_errors_are_not_looked_at(kit: Any, protocol: Any) -> None:
    guard = kit.Blunt()
    whole = prompt_guard(kit.Host({"g": guard}), response=[{"g": {}}])
    for reply in (Reply.json(200, answer("secret")), Reply.json(500, {"error": {}})):
        exchange = protocol(asking("hello"))
        exchange.reply = reply
        reply.upstream = reply.status == 500
        await run(whole, "post_response", exchange)
    assert guard.seen == []


async def test_a_reply_nobody_can_read_does_not_pass(kit: Any) -> None:
    class Wordless(Protocol):
        reads_body = True

    exchange = asking("hello")
    exchange.protocol = Wordless()
    exchange.reply = Reply(200, body=b"secret", upstream=True)
    with pytest.raises(GuardFailed):
        await run(prompt_guard(kit.Host({"g": kit.Blunt()}), response=[{"g": {}}]), "post_response", exchange)


# --- streams ----------------------------------------------------------------------------------------------------------


@KINDS
@DIALECTS
async def test_a_stream_is_masked_wherever_it_is_cut(kit: Any, kind: str, speaks: str) -> None:
    whole = b"".join(kit.wire(speaks, ["it is", " a sec", "re", "t, ", "so ke", "ep the secret", " to yourself"]))
    guard = prompt_guard(kit.Host({"g": getattr(kit, kind)()}), response=[{"g": {}}])
    for size in [1, 2, 3, 7, 50, len(whole)]:
        exchange = kit.streamed(speaks, [whole[i : i + size] for i in range(0, len(whole), size)], content_length="9")
        await run(guard, "post_response", exchange)
        assert "content-length" not in exchange.reply.headers
        text, _, failed = kit.heard(speaks, await read(exchange))
        assert text == "it is a ###, so keep the ### to yourself" and not failed


@DIALECTS
async def test_a_clean_stream_keeps_its_bytes(kit: Any, speaks: str) -> None:
    chunks = kit.wire(speaks, ["nothing", " to see here, and much more of it"], ['{"a": ', '"b"}'])
    exchange = kit.streamed(speaks, chunks)
    await run(prompt_guard(kit.Host({"g": kit.Blunt()}), response=[{"g": {}}]), "post_response", exchange)
    assert await read(exchange) == b"".join(chunks)


@DIALECTS
async def test_streamed_arguments_of_a_tool_call_are_masked(kit: Any, speaks: str) -> None:
    arguments = to_json({"note": "line\nsecret", "more": "words " * 20}).decode()
    exchange = kit.streamed(speaks, kit.wire(speaks, ["well"], list(arguments)))
    await run(prompt_guard(kit.Host({"g": kit.Blunt()}), response=[{"g": {}}]), "post_response", exchange)
    text, told, failed = kit.heard(speaks, await read(exchange))
    assert text == "well" and from_json(told) == {"note": "line\n###", "more": "words " * 20} and not failed


@KINDS
@DIALECTS
async def test_a_refused_stream_ends_in_the_client_s_own_words(kit: Any, kind: str, speaks: str) -> None:
    exchange = kit.streamed(speaks, kit.wire(speaks, list("a long story of many words, and then one forbidden word")))
    below = exchange.reply.body
    guard = prompt_guard(kit.Host({"g": getattr(kit, kind)()}), response=[{"g": {}}])
    await run(guard, "post_response", exchange)
    text, _, failed = kit.heard(speaks, await read(exchange))
    assert "a long story" in text and "forb" not in text and failed
    assert isinstance(exchange.error, GuardRejected) and exchange.error.by == "ai.guards"
    assert exchange.error.detail == f"g: words, after {len(text)} characters of a stream"
    assert below.closed == 1


@DIALECTS
async def test_a_guard_that_holds_all_lets_nothing_leave_early(kit: Any, speaks: str) -> None:
    guard = kit.Blunt()
    guard.stream = "hold-all"
    exchange = kit.streamed(
        speaks, kit.wire(speaks, list("a long story of many words " * 9 + "and one forbidden word"))
    )
    await run(prompt_guard(kit.Host({"g": guard}), response=[{"g": {}}]), "post_response", exchange)
    text, _, failed = kit.heard(speaks, await read(exchange))
    assert text == "" and failed and len(guard.seen) == 1


async def test_a_guard_that_observes_sees_everything_and_changes_nothing(kit: Any) -> None:
    guard = kit.Blunt()
    guard.stream = "observe"
    chunks = kit.wire("completions", ["the secret ", "is ", "out"])
    exchange = kit.streamed("completions", chunks)
    await run(prompt_guard(kit.Host({"g": guard}), response=[{"g": {}}]), "post_response", exchange)
    assert await read(exchange) == b"".join(chunks)
    assert guard.seen == ["the secret is out"]


async def test_a_failing_guard_ends_the_stream(kit: Any) -> None:
    exchange = kit.streamed(
        "completions", kit.wire("completions", list("this one is broken, and that is that for now"))
    )
    await run(prompt_guard(kit.Host({"g": kit.Blunt()}), response=[{"g": {}}]), "post_response", exchange)
    text, _, failed = kit.heard("completions", await read(exchange))
    assert "bro" not in text and failed and isinstance(exchange.error, GuardFailed)


async def test_streams_are_left_alone_when_the_file_says_so(kit: Any) -> None:
    chunks = kit.wire("completions", ["the secret"])
    exchange = kit.streamed("completions", chunks)
    guard = prompt_guard(kit.Host({"g": kit.Blunt()}), response=[{"g": {}}], streaming="Disabled")
    await run(guard, "post_response", exchange)
    assert await read(exchange) == b"".join(chunks)


@pytest.mark.parametrize("headers", [{"content_type": "audio/mpeg"}, {"content_encoding": "gzip"}])
async def test_a_stream_nobody_can_read_does_not_pass(kit: Any, headers: dict[str, str]) -> None:
    exchange = kit.streamed("completions", [b"..."], **headers)
    with pytest.raises(GuardFailed):
        await run(prompt_guard(kit.Host({"g": kit.Blunt()}), response=[{"g": {}}]), "post_response", exchange)


@DIALECTS
async def test_a_client_that_leaves_closes_the_model_s_stream(kit: Any, speaks: str) -> None:
    exchange = kit.streamed(speaks, kit.wire(speaks, list("a long story of many words, and it goes on and on")))
    below = exchange.reply.body
    await run(prompt_guard(kit.Host({"g": kit.Blunt()}), response=[{"g": {}}]), "post_response", exchange)
    await anext(exchange.reply.body)
    await exchange.reply.body.aclose()
    assert below.closed == 1


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"regex": {}, "webhook": {}},
        {"rejection": {}},
        {"regex": {}, "rejection": {"status": 99}},
        {"x": 1, "name": 2},
    ],
)
def test_an_entry_is_exactly_one_guard(entry: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PromptGuardConfig).validate_python({"request": [entry]})


@pytest.mark.parametrize(
    "promise", [{"stream": "maybe"}, {"stream": "hold-window", "window": 0}, {"scopes": frozenset({"everything"})}]
)
def test_a_promise_nobody_can_keep_is_refused_at_load(kit: Any, promise: dict[str, Any]) -> None:
    guard = kit.Blunt()
    vars(guard).update(promise)
    with pytest.raises(ConfigError) as error:
        prompt_guard(kit.Host({"g": guard}), response=[{"g": {}}])
    assert error.value.path == "here.response[0].g"


def test_guards_are_built_at_their_place(kit: Any) -> None:
    host = kit.Host({"g": kit.Blunt()})
    config = PromptGuardConfig.model_validate({"request": [{"g": {}}], "response": [{"g": {}}]})
    PromptGuard(config, host, "promptGuard")
    PromptGuard(config, host)
    assert host.places == ["promptGuard.request[0].g", "promptGuard.response[0].g", "request[0].g", "response[0].g"]


def test_only_guards_that_must_be_awaited_are(kit: Any) -> None:
    host = kit.Host({"plain": kit.Blunt(), "remote": kit.Remote()})
    for kinds, awaited in [(["plain"], False), (["plain", "remote"], True)]:
        entries = [{kind: {}} for kind in kinds]
        for participant in prompt_guard(host, request=entries, response=entries).participants():
            hook = getattr(participant.hooks, "pre_request", None) or participant.hooks.post_response
            assert inspect.iscoroutinefunction(hook) is awaited
            assert participant.slot == "ai.guards"


async def test_every_guard_is_stopped_even_when_one_fails_to(kit: Any) -> None:
    class Stuck(kit.Blunt):  # type: ignore[misc, name-defined]
        async def stop(self) -> None:
            raise OSError

    first, stuck = kit.Blunt(), Stuck()
    policy = PromptGuardPolicy(
        PromptGuardConfig.model_validate({"request": [{"a": {}}, {"b": {}}]}), kit.Host({"a": first, "b": stuck})
    )
    await policy.start()
    with pytest.raises(ExceptionGroup):
        await policy.stop()
    assert first.calls == ["start", "stop"]


def test_without_guards_nobody_takes_part(kit: Any) -> None:
    assert list(prompt_guard(kit.Host({})).participants()) == []


# --- verdicts with words of their own ---------------------------------------------------------------------------------

REJECTION = {"body": "not here", "status": 422}


async def refused_by(kit: Any, protocol: Any, verdict: Verdict) -> GuardRejected:
    guard = kit.Blunt()
    guard.check = lambda segments, exchange: verdict
    placed = prompt_guard(kit.Host({"g": guard}), request=[{"g": {}, "rejection": REJECTION}])
    with pytest.raises(GuardRejected) as refused:
        await run(placed, "pre_request", protocol(asking("hello")))
    return refused.value


async def test_a_refusal_s_own_status_and_message_stand_for_those_of_the_file(kit: Any, protocol: Any) -> None:
    error = await refused_by(kit, protocol, Verdict(rejected=True, reason="words", status=451, body="go away"))
    assert (error.status, error.message, error.detail) == (451, "go away", "g: words")


@pytest.mark.parametrize("status", [None, 200, 302, 99, 600, "403"])
@pytest.mark.parametrize("body", [None, "", 5])
async def test_a_refusal_that_would_not_look_like_one_gets_what_the_file_says(
    kit: Any, protocol: Any, status: Any, body: Any
) -> None:
    error = await refused_by(kit, protocol, Verdict(rejected=True, status=status, body=body))
    assert (error.status, error.message) == (422, "not here")


@pytest.mark.parametrize(
    ("at", "phase"),
    [
        ("llm.models[0].guardrails.request[1].g", "request"),
        ("routes[0].policies.promptGuard.response[0].g", "response"),
        ("response[0].g", "response"),
        ("backends.response.policies.promptGuard.request[0].g", "request"),
    ],
)
def test_a_guard_knows_which_side_it_looks_at(kit: Any, at: str, phase: str) -> None:
    guard = kit.Blunt()
    guard.host = LoopbackHost(at)
    assert guard.phase == phase
