import pytest
from agentgateway_simulator.words import count, cut, json_pieces, lorem, pieces
from hypothesis import given
from hypothesis import strategies as st


@given(st.text())
def test_pieces_give_the_text_again(text: str) -> None:
    assert "".join(pieces(text)) == text


@given(st.text())
def test_a_piece_is_a_word(text: str) -> None:
    assert len(pieces(text)) == max(count(text), 1 if text else 0)


@pytest.mark.parametrize("wanted", [0, 1, 7, 500])
def test_filler_has_as_many_words_as_asked(wanted: int) -> None:
    assert count(lorem(wanted)) == wanted


def test_a_text_is_cut_after_so_many_words() -> None:
    assert cut("one  two three", 2) == "one  two"
    assert cut("one two\n", 2) == "one two\n"
    assert cut("one", 0) == ""


def test_json_is_cut_without_respect() -> None:
    text = '{"city": "Paris", "days": 3}'
    assert "".join(json_pieces(text)) == text
    assert len(json_pieces(text)) > 2
