"""`docs/expressions.md` tells the truth."""

import re
from pathlib import Path

import pytest

from agentgateway.expressions import Environment, compile
from agentgateway.expressions.library import library
from agentgateway.expressions.macros import BINDING
from agentgateway.expressions.scope import CALL_FORMS

PAGE = (Path(__file__).parents[2] / "docs" / "expressions.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (?P<function>.*?) \| `(?P<example>.*)` \| `(?P<result>.*)` \|$", re.MULTILINE)
ROWS = [(row["example"], row["result"]) for row in ROW.finditer(PAGE)]


@pytest.mark.parametrize(("example", "result"), ROWS, ids=[example for example, _ in ROWS])
def test_example_gives_its_result(example: str, result: str) -> None:
    environment = Environment({})
    value, expected = compile(example, environment).value(None), compile(result, environment).value(None)
    assert (type(value), value) == (type(expected), expected)


def test_every_function_has_an_example() -> None:
    documented = " ".join(row["function"] for row in ROW.finditer(PAGE))
    macros_of_cel = {"all", "exists", "exists_one", "filter", "map", "has"}
    names = {*library(), *BINDING, *CALL_FORMS} - macros_of_cel
    assert {name for name in names if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", documented)} == set()


def test_the_limits_are_those_of_the_parser() -> None:
    from agentgateway.expressions.parser import MAX_DEPTH, MAX_LENGTH

    assert f"{MAX_LENGTH:,} characters, nested at most {MAX_DEPTH} levels" in PAGE
