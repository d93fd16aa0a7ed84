"""What the guard finds, what it leaves, and what it never says."""

import pytest
from agentgateway_guardrail_regex.patterns import BUILTINS, LONGEST
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentgateway.interfaces import PASS, Segment, Verdict
from agentgateway.testing import GuardContract, chat, make


class TestMasking(GuardContract):
    name = "regex"
    config = {"rules": [{"builtin": "ssn"}, {"pattern": "falcon"}]}
    caught = "my number is 123-45-6789"


class TestRejecting(GuardContract):
    name = "regex"
    config = {"action": "reject", "rules": [{"pattern": "(?i)project falcon"}]}
    caught = "tell me about Project Falcon"


def judged(text: str, *rules: dict[str, str], **config: object) -> Verdict:
    guard = make("agentgateway.guards", "regex", {"rules": list(rules), **config})
    return guard.check([Segment("user", "messages", "messages[0].content", text, lambda _: None)], chat())


def masked(text: str, *rules: dict[str, str]) -> str:
    return judged(text, *rules).masks.get(0, text)


@pytest.mark.parametrize(
    ("builtin", "text"),
    [
        ("ssn", "123-45-6789"),
        ("ssn", "123 45 6789"),
        ("creditCard", "4111111111111111"),
        ("creditCard", "4111 1111 1111 1111"),
        ("creditCard", "5500-0000-0000-0004"),
        ("creditCard", "378282246310005"),
        ("creditCard", "3782 822463 10005"),
        ("phoneNumber", "(212) 555-0123"),
        ("phoneNumber", "212-555-0123"),
        ("phoneNumber", "1-212-555-0123"),
        ("phoneNumber", "+44 20 7946 0958"),
        ("phoneNumber", "020 7946 0958"),
        ("phoneNumber", "+49 (30) 123456"),
        ("phoneNumber", "030 12345678"),
        ("phoneNumber", "+972-50-123-4567"),
        ("phoneNumber", "98765 43210"),
        ("phoneNumber", "(11) 91234-5678"),
        ("email", "jo.bloggs+spam@mail.example.co.uk"),
        ("caSin", "046 454 286"),
        ("caSin", "046454286"),
        ("iban", "DE89370400440532013000"),
        ("iban", "GB29 NWBK 6016 1331 9268 19"),
    ],
)
def test_a_builtin_is_found_wherever_it_stands(builtin: str, text: str) -> None:
    name = BUILTINS[builtin].entity
    for before, after in [
        ("", ""),
        ("é", "漢"),
        ("call ", ", now"),
        ("2024 ", " or"),
        ("(", ")"),
        ('"', '"'),
        ("\n", "\n"),
    ]:
        assert masked(f"{before}{text}{after}", {"builtin": builtin}) == f"{before}<{name}>{after}"


@pytest.mark.parametrize(
    ("builtin", "text"),
    [
        ("ssn", "000-12-3456"),
        ("ssn", "666-12-3456"),
        ("ssn", "900-12-3456"),
        ("ssn", "123-00-6789"),
        ("ssn", "123-45-0000"),
        ("ssn", "1234-45-6789"),
        ("creditCard", "4111 1111 1111 1112"),
        ("creditCard", "1700000000000"),
        ("phoneNumber", "on 01 2024-01-02"),
        ("phoneNumber", "2024-01-02"),
        ("email", "jo at example.com"),
        ("email", "@decorated.method"),
        ("caSin", "046 454 287"),
        ("iban", "DE89370400440532013001"),
    ],
)
def test_what_only_looks_like_it_stays(builtin: str, text: str) -> None:
    assert judged(text, {"builtin": builtin}) == PASS


def test_several_matches_are_masked_and_the_text_between_them_stays() -> None:
    assert masked("a@b.io, c@d.io!", {"builtin": "email"}) == "<EMAIL_ADDRESS>, <EMAIL_ADDRESS>!"


def test_rules_see_what_the_rules_before_them_left() -> None:
    rules = [{"builtin": "ssn"}, {"pattern": "<SSN>"}]
    assert masked("123-45-6789", *rules) == "<masked>"
    assert masked("123-45-6789", *rules[::-1]) == "<SSN>"


def test_a_pattern_of_ones_own_is_masked_without_telling_which() -> None:
    assert masked("the key is sk-abc123", {"pattern": r"sk-\w+", "name": "our keys"}) == "the key is <masked>"


def test_matches_of_nothing_change_nothing() -> None:
    assert masked("aéxxb", {"pattern": "x*"}) == "aé<masked>b"
    assert judged("abc", {"pattern": "$|^|x*"}) == PASS


def test_a_failed_checksum_does_not_hide_the_number_behind_it() -> None:
    assert masked("2000 4111 1111 1111 1111", {"builtin": "creditCard"}) == "2000 <CREDIT_CARD>"


def test_the_reason_names_the_rule_and_nothing_else() -> None:
    assert judged("falcon", {"pattern": "falcon"}, action="reject").reason == "rules[0]"
    assert judged("falcon", {"pattern": "falcon", "name": "birds"}, action="reject").reason == "birds"
    assert judged("123-45-6789", {"builtin": "ssn"}, action="reject").reason == "ssn"


def test_the_scope_says_which_texts_are_looked_at() -> None:
    rules = [{"builtin": "ssn"}]
    assert make("agentgateway.guards", "regex", {"rules": rules}).scopes == {"systemPrompt", "messages"}
    assert make("agentgateway.guards", "regex", {"rules": rules, "scope": ["toolInput"]}).scopes == {"toolInput"}


def test_the_window_of_a_stream_is_never_shorter_than_a_builtin() -> None:
    assert make("agentgateway.guards", "regex", {"rules": [{"builtin": "ssn"}], "window": 10}).window == LONGEST
    assert make("agentgateway.guards", "regex", {"rules": [{"builtin": "ssn"}], "window": 900}).window == 900


@pytest.mark.parametrize(
    "config",
    [
        {"rules": []},
        {"rules": [{}]},
        {"rules": [{"builtin": "ssn", "pattern": "x"}]},
        {"rules": [{"builtin": "shoeSize"}]},
        {"rules": [{"pattern": ""}]},
        {"rules": [{"builtin": "ssn"}], "scope": []},
        {"rules": [{"builtin": "ssn"}], "action": "ignore"},
    ],
)
def test_a_configuration_that_guards_nothing_is_refused(config: object) -> None:
    with pytest.raises(ValidationError):
        make("agentgateway.guards", "regex", config)


@pytest.mark.parametrize(("pattern", "reason"), [("(secret", "missing )"), ("(?=secret)", "invalid perl operator")])
def test_a_wrong_pattern_is_named_by_its_place_and_not_quoted(pattern: str, reason: str) -> None:
    with pytest.raises(ValidationError) as error:
        make("agentgateway.guards", "regex", {"rules": [{"builtin": "ssn"}, {"pattern": pattern}]})
    assert error.value.errors()[0]["loc"] == ("rules", 1, "pattern")
    assert reason in str(error.value) and "secret" not in str(error.value)


EVERY_RULE = [{"builtin": name} for name in BUILTINS] + [{"pattern": "[0-9]+"}]


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    masked(text, *EVERY_RULE)


def test_texts_that_are_no_unicode_can_be_read() -> None:
    assert masked("\ud800 123-45-6789", {"builtin": "ssn"}) == "\ud800 <SSN>"


@pytest.mark.parametrize(
    "text", ["4-" * 20000, "a@" * 20000, "1234 " * 8000, "a." * 20000, "(555) " * 7000, "AA11" * 9000]
)
def test_hostile_texts_cost_no_more_than_long_ones(text: str) -> None:
    assert len(masked(text, *EVERY_RULE[:-1])) <= len(text)


@given(st.sampled_from(sorted(BUILTINS)), st.data())
def test_no_builtin_matches_more_than_the_window_holds(builtin: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(BUILTINS[builtin].pattern, fullmatch=True))
    assert len(text) <= LONGEST
