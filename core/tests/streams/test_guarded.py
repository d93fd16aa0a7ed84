"""What a client reads of a guarded stream is what it would read of the guarded whole."""

import re
from collections.abc import Sequence
from math import inf
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from agentgateway.errors import GatewayError, GuardFailed, GuardRejected
from agentgateway.guarded import guarded, observed
from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Dialect
from agentgateway.llm.sse import Parser

WINDOW = 13
NUMBER = re.compile(r"\b\d{3}-\d{2}-\d{4}\b", re.ASCII)


def said(text: str, channel: int = 0, scope: str = "messages") -> bytes:
    return b"data: " + to_json({"c": channel, "t": text, "s": scope}) + b"\n\n"


def spelled(text: str, channel: int = 0) -> list[bytes]:
    return [said(letter, channel) for letter in text]


END = b"data: [END]\n\n"


class Mask:
    """Masks numbers, refuses where `forbidden` stands; remembers what it was shown."""

    def __init__(self, forbidden: str = "", pattern: re.Pattern[str] = NUMBER, mask: str = "<N>") -> None:
        self.forbidden = forbidden
        self.pattern = pattern
        self.mask = mask
        self.shown: list[str] = []

    async def __call__(self, segments: Sequence[Segment]) -> list[str]:
        self.shown += [segment.text for segment in segments]
        if self.forbidden and any(self.forbidden in segment.text for segment in segments):
            raise GuardRejected("no")
        return [self.pattern.sub(self.mask, segment.text) for segment in segments]


class Read:
    """A guarded stream and what came of it."""

    def __init__(self, tiny: Dialect, below: Any, check: Any, window: float = WINDOW, limit: int = 1 << 20) -> None:
        self.blocked: list[tuple[GatewayError, int]] = []
        self.stream = guarded(
            below,
            tiny,
            check,
            lambda error, characters: self.blocked.append((error, characters)),
            scopes=frozenset({"messages", "toolInput"}),
            window=window,
            limit=limit,
        )

    async def all(self) -> bytes:
        return b"".join([chunk async for chunk in self.stream])


def texts(wire: bytes) -> dict[int, str]:
    """What a client puts together, by channel."""
    together: dict[int, str] = {}
    for event in Parser().feed(wire):
        if event.document and "t" in event.document:
            together[event.document["c"]] = together.get(event.document["c"], "") + event.document["t"]
    return together


async def test_a_clean_stream_keeps_its_bytes(tiny: Dialect, source: Any) -> None:
    wire = b": hello\n\n" + b"".join(spelled("nothing to see here, move along please")) + END
    assert await Read(tiny, source([wire[i : i + 7] for i in range(0, len(wire), 7)]), Mask()).all() == wire


async def test_a_number_split_over_many_events_is_masked(tiny: Dialect, source: Any) -> None:
    out = await Read(tiny, source([*spelled("it is 123-45-6789, keep it to yourself"), END]), Mask()).all()
    assert texts(out) == {0: "it is <N>, keep it to yourself"}
    assert out.endswith(END)


async def test_every_way_of_cutting_the_bytes_gives_the_same_texts(tiny: Dialect, source: Any) -> None:
    wire = b"".join([*spelled("call 123-45-6789 é "), said("or 987-65-4321 now", 1), *spelled(" bye"), END])
    for size in (1, 2, 3, 5, 11, 64):
        below = source([wire[i : i + size] for i in range(0, len(wire), size)])
        assert texts(await Read(tiny, below, Mask()).all()) == {0: "call <N> é  bye", 1: "or <N> now"}
    for at in range(len(wire)):
        out = await Read(tiny, source([wire[:at], wire[at:]]), Mask()).all()
        assert texts(out) == {0: "call <N> é  bye", 1: "or <N> now"}


WORDS = st.sampled_from(["a", "to", "it is", "123-45-6789", "1123-45-6789", "12", "123-45-678", "é", ",", "-", "\n"])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(WORDS, max_size=40),
    between=st.sampled_from(["", " "]),
    sizes=st.lists(st.integers(1, 30), min_size=1),
    size=st.integers(1, 99),
)
async def test_a_stream_reads_as_the_whole_would(
    tiny: Dialect, words: list[str], between: str, sizes: list[int], size: int
) -> None:
    text = between.join(words)
    if between == "" and re.search(r"\w{40}", text):
        return
    events, at = [], 0
    for index in range(len(text)):
        if at >= len(text):
            break
        length = sizes[index % len(sizes)]
        events.append(said(text[at : at + length]))
        at += length
    wire = b"".join(events) + END

    async def chunks() -> Any:
        for i in range(0, len(wire), size):
            yield wire[i : i + size]

    out = await Read(tiny, chunks(), Mask()).all()
    assert texts(out).get(0, "") == NUMBER.sub("<N>", text)
    assert len(Parser().feed(out)) == len(events) + 1


async def test_text_leaves_while_the_stream_goes_on(tiny: Dialect, source: Any) -> None:
    below = source([*spelled("a rather long text that says nothing at all"), END])
    stream = Read(tiny, below, Mask()).stream
    first = await anext(stream)
    assert b'"a"' in first and below.asked < 2 * WINDOW
    await stream.aclose()
    assert below.closed == 1


async def test_the_last_window_of_a_text_never_leaves_before_it_is_judged(tiny: Dialect, source: Any) -> None:
    """Whatever has left, the window behind it had been seen."""
    check = Mask()
    left = ""
    async for chunk in Read(
        tiny, source([*spelled("no numbers in here, but many words of it. " * 4), END]), check
    ).stream:
        left += texts(chunk).get(0, "")
        seen = max(len(shown) for shown in check.shown)
        assert seen >= min(WINDOW, len(left))
    assert left == "no numbers in here, but many words of it. " * 4


async def test_a_list_of_numbers_is_masked_without_waiting_for_its_end(tiny: Dialect, source: Any) -> None:
    text = "123-45-6789, " * 50
    below = source([*spelled(text), END])
    stream = Read(tiny, below, Mask()).stream
    await anext(stream)
    assert below.asked < 200
    rest = b"".join([chunk async for chunk in stream])
    assert "<N>, " * 45 in texts(rest)[0]


async def test_a_match_that_grows_is_held_while_it_grows(tiny: Dialect, source: Any) -> None:
    check = Mask(pattern=re.compile(r"key: \S+(?: \S+)*\."))
    secret = "key: " + "so very secret " * 20 + "indeed."
    out = await Read(tiny, source([*spelled(f"well {secret} and on it goes from here"), END]), check, window=400).all()
    assert texts(out) == {0: "well <N> and on it goes from here"}


async def test_a_mask_that_would_be_masked_again_is_masked_once(tiny: Dialect, source: Any) -> None:
    check = Mask(pattern=re.compile("masked|secret"), mask="<masked>")
    out = await Read(
        tiny, source([*spelled("a secret kept well, and another secret told to nobody"), END]), check
    ).all()
    assert texts(out) == {0: "a <masked> kept well, and another <masked> told to nobody"}


async def test_a_very_long_word_leaves_too(tiny: Dialect, source: Any) -> None:
    below = source([*spelled("x" * 300), END])
    stream = Read(tiny, below, Mask()).stream
    await anext(stream)
    assert below.asked < 100
    assert "x" * 200 in texts(b"".join([chunk async for chunk in stream]))[0]


async def test_events_keep_their_order_across_channels(tiny: Dialect, source: Any) -> None:
    events = [said(f"{channel}{number} ", channel) for number in range(30) for channel in range(3)]
    out = await Read(tiny, source([*events, END]), Mask()).all()
    assert out == b"".join(events) + END


async def test_a_channel_that_ended_does_not_hold_up_the_next(tiny: Dialect, source: Any) -> None:
    below = source([*spelled("thinking", 0), *spelled("a long answer that goes on and on and on, on and on", 1), END])
    stream = Read(tiny, below, Mask()).stream
    await anext(stream)
    assert below.asked < 45
    rest = b"".join([chunk async for chunk in stream])
    assert "on and on" in texts(rest)[1]


async def test_a_channel_that_goes_on_after_all_is_judged_with_what_had_left(tiny: Dialect, source: Any) -> None:
    other = spelled("a long answer that goes on and on and on, on and on", 1)
    read = Read(tiny, source([*spelled("it is 123-45-", 0), *other, *spelled("6789 ", 0), END]), Mask())
    out = await read.all()
    assert "6789" not in texts(out)[0]
    assert isinstance(read.blocked[0][0], GuardFailed)
    read = Read(tiny, source([*spelled("it is 123-45-", 0), *other, *spelled("67 ", 0), END]), Mask())
    assert texts(await read.all())[0] == "it is 123-45-67 "


async def test_a_refusal_ends_the_stream_with_an_error_and_nothing_unseen(tiny: Dialect, source: Any) -> None:
    below = source([*spelled("this is a long introduction to a story about the falcon project"), END])
    read = Read(tiny, below, Mask(forbidden="falcon"))
    out = await read.all()
    assert "fal" not in texts(out)[0]
    assert texts(out)[0].startswith("this is a long")
    assert out.endswith(b'data: {"error":"no","status":403}\n\n') and END not in out
    ((error, characters),) = read.blocked
    assert isinstance(error, GuardRejected) and characters == len(texts(out)[0])
    assert below.closed == 1


async def test_holding_all_lets_nothing_leave_before_the_end(tiny: Dialect, source: Any) -> None:
    below = source([*spelled("123-45-6789 " * 20), END])
    read = Read(tiny, below, Mask(), window=inf)
    first = await anext(read.stream)
    assert below.asked == 20 * 12 + 1
    assert texts(first)[0] == "<N> " * 20
    await read.stream.aclose()


async def test_holding_all_and_refusing_leaves_nothing_but_the_error(tiny: Dialect, source: Any) -> None:
    read = Read(tiny, source([*spelled("harmless " * 20 + "falcon"), END]), Mask(forbidden="falcon"), window=inf)
    assert texts(await read.all()) == {}
    assert read.blocked[0][1] == 0


async def test_more_than_may_be_held_fails_closed(tiny: Dialect, source: Any) -> None:
    below = source([*spelled("a" * 500), END])
    read = Read(tiny, below, Mask(), window=inf, limit=4000)
    assert b"status" in await read.all()
    assert isinstance(read.blocked[0][0], GuardFailed)
    assert below.closed == 1


async def test_an_event_nobody_can_read_fails_closed(tiny: Dialect, source: Any) -> None:
    read = Read(tiny, source([b'data: ["123-45-6789"]\n\n', END]), Mask())
    assert b"6789" not in await read.all()
    assert isinstance(read.blocked[0][0], GuardFailed)


async def test_half_an_event_at_the_end_does_not_leave(tiny: Dialect, source: Any) -> None:
    read = Read(tiny, source([said("good"), b'data: {"c": 0, "t": "123-45-']), Mask())
    assert await read.all() == said("good")


async def test_a_last_event_without_its_blank_line_is_judged(tiny: Dialect, source: Any) -> None:
    assert texts(await Read(tiny, source([said("123-45-6789")[:-2]]), Mask()).all() + b"\n\n") == {0: "<N>"}


async def test_texts_out_of_scope_pass_in_their_turn(tiny: Dialect, source: Any) -> None:
    events = [said("one "), said("123-45-6789", 5, "other"), said("two ")]
    assert await Read(tiny, source([*events, END]), Mask()).all() == b"".join(events) + END


async def test_arguments_of_a_tool_call_are_judged_whole(tiny: Dialect, source: Any) -> None:
    check = Mask()
    arguments = '{"text": "' + "a word " * 20 + '123-45-6789"}'
    out = await Read(tiny, source([*(said(letter, 0, "toolInput") for letter in arguments), END]), check).all()
    assert texts(out)[0] == arguments.replace("123-45-6789", "<N>")
    assert check.shown == [arguments]


async def test_a_failing_source_fails_the_stream_and_unjudged_text_stays(tiny: Dialect, source: Any) -> None:
    below = source(spelled("short"), ConnectionError())
    with pytest.raises(ConnectionError):
        await Read(tiny, below, Mask()).all()
    assert below.closed == 1


async def test_a_slow_reader_makes_the_source_wait(tiny: Dialect, source: Any) -> None:
    below = source([*spelled("a rather long text that says nothing at all " * 10), END])
    stream = Read(tiny, below, Mask()).stream
    await anext(stream)
    asked = below.asked
    await anext(stream)
    assert below.asked < asked + WINDOW
    await stream.aclose()
    assert below.closed == 1


async def test_an_observer_sees_everything_and_holds_nothing(tiny: Dialect, source: Any) -> None:
    check = Mask()
    below = source([*spelled("123-45-6789 " * 200), END])
    stream = observed(below, tiny, check, print, scopes=frozenset({"messages"}))
    assert await anext(stream) == said("1") and below.asked == 1
    rest = b"".join([chunk async for chunk in stream])
    assert texts(rest)[0] == ("123-45-6789 " * 200)[1:]
    assert "".join(check.shown) == "123-45-6789 " * 200 and len(check.shown) == 3


async def test_around_a_mask_every_event_keeps_its_own_text(tiny: Dialect, source: Any) -> None:
    events = [said("my "), said("number "), said("123-45"), said("-67"), said("89 is"), said(" mine")]
    out = await Read(tiny, source([*events, END]), Mask()).all()
    left = [event.document["t"] for event in Parser().feed(out) if event.document]
    assert left == ["my ", "number ", "<N>", "", " is", " mine"]


@pytest.mark.parametrize(("text", "shown"), [("ab", "xab"), ("ab", "axb"), ("ab", "abx"), ("a", ""), ("a", "aa")])
async def test_a_check_may_put_in_and_take_out(tiny: Dialect, source: Any, text: str, shown: str) -> None:
    async def check(segments: Sequence[Segment]) -> list[str]:
        return [shown for _ in segments]

    out = await Read(tiny, source([*spelled(text), END]), check).all()
    assert texts(out) == {0: shown} and len(Parser().feed(out)) == len(text) + 1
