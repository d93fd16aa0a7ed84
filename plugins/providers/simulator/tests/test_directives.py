import pytest
from agentgateway_simulator.directives import Directives, UnknownDirective, read, without


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello", Directives()),
        ("[[simulate error=429]]", Directives(error=429)),
        ("please [[simulate latency=2s pace=5ms tokens=500]] do", Directives(latency=2.0, pace=0.005, tokens=500)),
        ("[[simulate latency=0 after=0]]", Directives(latency=0.0, after=0)),
        ("[[simulate disconnect after=3]]", Directives(disconnect=True, after=3)),
        ("[[simulate error=529 retry-after=10s after=2]]", Directives(error=529, retry_after=10.0, after=2)),
        ("[[simulate tool=a, tool=b]]", Directives(tool=("a", "b"))),
        ("[[simulate thinking json]]", Directives(thinking=True, json=True)),
        ("[[simulate cached=5]]", Directives(cached=5)),
        ("[[simulate text=mail a@b.example, error=500 please]]", Directives(text="mail a@b.example, error=500 please")),
        ("[[simulate pace=1ms text=two\nlines]]", Directives(pace=0.001, text="two\nlines")),
        ("[[simulate error=500]] [[simulate thinking]]", Directives(error=500, thinking=True)),
    ],
)
def test_what_a_message_says(text: str, said: Directives) -> None:
    assert read(text, "gpt-5") == said


def test_what_a_models_name_says() -> None:
    assert read("hi", "simulate:error=429,retry-after=3s") == Directives(error=429, retry_after=3.0)
    assert read("hi", "gpt-5-simulate:disconnect,after=2") == Directives(disconnect=True, after=2)


def test_the_message_wins_over_the_models_name() -> None:
    assert read("[[simulate latency=0]]", "simulate:latency=9s,thinking") == Directives(latency=0.0, thinking=True)


@pytest.mark.parametrize(
    "words",
    [
        "eror=429",
        "error",
        "error=200",
        "error=abc",
        "latency=2",
        "tokens=-1",
        "tokens=9999999",
        "thinking=yes",
        "=3",
        "tool=",
    ],
)
def test_a_word_that_means_nothing_is_refused(words: str) -> None:
    with pytest.raises(UnknownDirective):
        read(f"[[simulate {words}]]", "gpt-5")


def test_an_answer_shows_no_directives() -> None:
    assert without("say [[simulate pace=1ms]] hello [[simulate text=x]]") == "say hello"
    assert without("say [[other]] hello") == "say [[other]] hello"
