"""Our evaluation against cel-python's, on random expressions over random values: same value of the same type, or both
an error.

The oracle is cel-python's interpreter as it is, with the corrections that `docs/expressions.md` lists: where it lets
Python shine through, the overload table of the CEL specification decides. `test_corrections_are_needed` pins each.
"""

import logging
import math
from typing import Any

import pytest
from celpy import celtypes, googleapis, json_to_cel
from celpy.celparser import CELParser
from celpy.evaluation import Activation, CELEvalError, Evaluator, base_functions
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from agentgateway.expressions import Environment, ExpressionError, ExpressionSyntaxError, compile
from agentgateway.expressions.fallback import translate
from agentgateway.expressions.parser import parse
from agentgateway.expressions.scope import Scope
from agentgateway.expressions.values import Uint

Bool, Int, Uinteger, Double = celtypes.BoolType, celtypes.IntType, celtypes.UintType, celtypes.DoubleType
String, Bytes, List, Map = celtypes.StringType, celtypes.BytesType, celtypes.ListType, celtypes.MapType
NUMBERS = (Int, Uinteger, Double)


def refuse(*_: Any) -> Any:
    raise TypeError("no such overload")


def wrapped(value: Any) -> Any:
    """cel-python's sums of strings, lists and doubles are plain Python values, which its other functions refuse."""
    for native, cel in ((bool, Bool), (float, Double), (str, String), (bytes, Bytes), (list, List)):
        if type(value) is native:
            return cel(value)
    return value


def operator(name: str, allowed: Any) -> Any:
    base = base_functions[name]

    def call(left: Any, right: Any) -> Any:
        for operand in (left, right):
            if isinstance(operand, CELEvalError):
                return operand
        return wrapped(base(left, right)) if allowed(type(left), type(right)) else refuse()

    return call


def same(*types: type) -> Any:
    return lambda left, right: left is right and left in types


def ordered(left: type, right: type) -> bool:
    mixed = left in (Double, Uinteger) and right in NUMBERS
    return mixed or (left is right and left in (Bool, Int, Uinteger, Double, String, Bytes))


def equal(left: Any, right: Any) -> Any:
    if isinstance(left, CELEvalError) or isinstance(right, CELEvalError):
        return left if isinstance(left, CELEvalError) else right
    if left is None or right is None:
        return Bool(left is None and right is None)
    if isinstance(left, Bool) is not isinstance(right, Bool) and isinstance(left, NUMBERS) | isinstance(right, NUMBERS):
        return refuse()
    if isinstance(left, list) and isinstance(right, list):
        return conjunction(left, right) if len(left) == len(right) else Bool(False)
    if isinstance(left, dict) and isinstance(right, dict):
        keys = list(left)
        return (
            conjunction([left[k] for k in keys], [right[k] for k in keys]) if set(left) == set(right) else Bool(False)
        )
    return Bool(left == right)


def conjunction(left: list[Any], right: list[Any]) -> Any:
    outcome: Any = Bool(True)
    for pair in zip(left, right, strict=True):
        try:
            item = equal(*pair)
        except TypeError as error:
            item = error
        outcome = celtypes.logical_and(outcome, item)
    if isinstance(outcome, TypeError):
        raise outcome
    return outcome


def unequal(left: Any, right: Any) -> Any:
    outcome = equal(left, right)
    return outcome if isinstance(outcome, CELEvalError) else Bool(not outcome)


def inside(item: Any, container: Any) -> Any:
    for operand in (item, container):
        if isinstance(operand, CELEvalError):
            return operand
    if not isinstance(container, (list, dict)):
        return refuse()
    outcome: Any = Bool(False)
    for element in container:
        try:
            if equal(element, item):
                return Bool(True)
        except TypeError as error:
            outcome = CELEvalError("no such overload", type(error), error.args)
    return outcome


def logical(name: str) -> Any:
    base = base_functions[name]

    def call(left: Any, right: Any) -> Any:
        left, right = (
            side if isinstance(side, (Bool, CELEvalError)) else CELEvalError("no such overload")
            for side in (left, right)
        )
        # Asked about two errors, cel-python prints them, which its tree printer does not always survive.
        return base(left, right) if isinstance(left, Bool) or isinstance(right, Bool) else left

    return call


def divided(left: Any, right: Any) -> Any:
    if type(left) is type(right) is Double and right == Double(0):
        if left == Double(0) or math.isnan(left):
            return Double("nan")
        return Double(math.copysign(math.inf, left) * math.copysign(1, right))
    return operator("_/_", same(*NUMBERS))(left, right)


def item_of(container: Any, key: Any) -> Any:
    if isinstance(container, CELEvalError) or isinstance(key, CELEvalError):
        return refuse()
    if isinstance(container, List) and type(key) in (Int, Uinteger) and key < 0:
        raise IndexError("negative")
    listed = isinstance(container, List) and type(key) in (Int, Uinteger)
    return container[key] if listed or isinstance(container, Map) else refuse()


def contained(container: Any, item: Any) -> Any:
    if isinstance(container, String):
        return Bool(item in container) if isinstance(item, String) else refuse()
    return inside(item, container)


def converted(name: str, *sources: type) -> Any:
    base = base_functions[name]
    return lambda value: base(value) if type(value) in sources else refuse()


CORRECTIONS = {
    "_+_": operator("_+_", same(Int, Uinteger, Double, String, Bytes, List)),
    "_-_": operator("_-_", same(*NUMBERS)),
    "_*_": operator("_*_", same(*NUMBERS)),
    "_/_": divided,
    "_%_": operator("_%_", same(Int, Uinteger)),
    **{f"_{name}_": operator(f"_{name}_", ordered) for name in ("<", "<=", ">", ">=")},
    "_==_": equal,
    "_!=_": unequal,
    "_in_": inside,
    "_&&_": logical("_&&_"),
    "_||_": logical("_||_"),
    "-_": lambda value: wrapped(base_functions["-_"](value)),
    "_[_]": item_of,
    "contains": contained,
    "size": lambda value: base_functions["size"](value) if value is not None else refuse(),
    "startsWith": lambda a, b: base_functions["startsWith"](a, b) if same(String)(type(a), type(b)) else refuse(),
    "endsWith": lambda a, b: base_functions["endsWith"](a, b) if same(String)(type(a), type(b)) else refuse(),
    "matches": lambda a, b: base_functions["matches"](a, b) if same(String)(type(a), type(b)) else refuse(),
    "string": lambda value: (
        String("true" if value else "false")
        if isinstance(value, Bool)
        else converted("string", Int, Uinteger, Double, String, Bytes)(value)
    ),
    "int": converted("int", Bool, Int, Uinteger, Double, String),
    "double": converted("double", Bool, Int, Uinteger, Double, String),
}


class Oracle(Evaluator):
    """cel-python's interpreter; its macros take lists and maps only, and bool conditions only."""

    def sub_evaluator(self, ast: Any) -> "Oracle":
        return Oracle(ast, activation=self.activation)

    def member_dot_arg(self, tree: Any) -> Any:
        if tree.children[1].value in ("map", "filter", "all", "exists", "exists_one"):
            target = self.visit(tree.children[0])
            if isinstance(target, CELEvalError):
                return target
            if not isinstance(target, (list, dict)):
                return CELEvalError("no such overload")
        try:
            return super().member_dot_arg(tree)
        except CELEvalError as error:
            return error

    def build_macro_eval(self, child: Any) -> Any:
        evaluate = super().build_macro_eval(child)
        if child.children[1].value == "map":
            return evaluate

        def held(value: Any) -> Any:
            outcome = evaluate(value)
            if not isinstance(outcome, Bool):
                raise CELEvalError("no such overload")
            return outcome

        return held

    def build_ss_macro_eval(self, child: Any) -> Any:
        evaluate = super().build_ss_macro_eval(child)

        def held(value: Any) -> Any:
            outcome = evaluate(value)
            return outcome if isinstance(outcome, (Bool, CELEvalError)) else CELEvalError("no such overload")

        return held

    def mapinits(self, tree: Any) -> Any:
        made = super().mapinits(tree)
        return next((value for value in made.values() if isinstance(value, CELEvalError)), made)


ERROR = ("error",)


def typed(value: Any) -> Any:
    """The value with its CEL types spelt out, so that 1, 1u, 1.0 and true differ, and NaN equals itself."""
    match value:
        case None:
            return ("null",)
        case list():
            return "list", [typed(item) for item in value]
        case dict():
            return "map", {typed(key): typed(item) for key, item in value.items()}
        case bool() | Bool():
            return "bool", bool(value)
        case Uint() | Uinteger():
            return "uint", int(value)
        case int():
            return "int", int(value)
        case float():
            return "double", repr(float(value))
        case str():
            return "string", str(value)
        case bytes():
            return "bytes", bytes(value)
    raise AssertionError(type(value))


def by_cel_python(source: str, variables: dict[str, Any], functions: dict[str, Any] | None) -> Any:
    tree = CELParser().parse(source)
    activation = Activation(annotations=dict(googleapis), functions=functions)
    kind = Oracle if functions else Evaluator
    try:
        return typed(kind(tree, activation).evaluate({name: json_to_cel(value) for name, value in variables.items()}))
    except (CELEvalError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError):
        return ERROR


def by_us(source: str, variables: dict[str, Any]) -> Any:
    names = {*variables, "absent"}
    environment = Environment({name: lambda subject, name=name: subject[name] for name in names})
    try:
        expression = compile(source, environment)
    except ExpressionSyntaxError:
        return ERROR
    assert expression.native
    try:
        return typed(expression.value(variables))
    except ExpressionError:
        return ERROR


# Values. Strings are short and few, so that they meet.

words = st.sampled_from(["", "a", "b", "ab", "é", "eng", "x-team", "POST"])
integers = st.one_of(st.integers(-3, 4), st.sampled_from([2**63 - 1, -(2**63), 2**62, -7]))
doubles = st.one_of(st.sampled_from([0.0, -0.0, 0.5, 1.0, -2.5, 1e308]), st.floats(-10, 10))
scalars = st.one_of(st.none(), st.booleans(), integers, doubles, words)
documents = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=8,
)
subjects = st.fixed_dictionaries(
    {
        "s": words,
        "i": integers,
        "d": doubles,
        "b": st.booleans(),
        "ss": st.lists(words, max_size=4),
        "l": st.lists(documents, max_size=3),
        "m": st.dictionaries(words, documents, max_size=4),
        "any": documents,
        "ms": st.fixed_dictionaries({"a": words, "b": words}),
        "mi": st.fixed_dictionaries({"a": integers, "b": integers}),
        "li": st.lists(integers, max_size=4),
    }
)

# Expressions: mostly of the wanted type, now and then of any.

BOUND = ["x", "y"]


def literal(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"({value!r})"
    return f'"{value}"'


@st.composite
def expressions(draw: Any, wanted: str = "any", depth: int = 3, bound: tuple[str, ...] = ()) -> str:
    def sub(of: str = "any", *names: str) -> str:
        return draw(expressions(of, depth - 1, bound + names))

    if wanted != "any" and draw(st.integers(0, 29)) == 0:
        wanted = "any"
    if wanted == "any":
        wanted = draw(st.sampled_from(["bool", "int", "double", "string", "list", "map", "leaf"]))
    if depth == 0 or wanted == "leaf":
        return leaf(draw, wanted, bound)
    pick = draw(st.sampled_from(FORMS[wanted]))
    return pick(sub, draw, bound)


def leaf(draw: Any, wanted: str, bound: tuple[str, ...]) -> str:
    names = {
        "bool": ["b"],
        "int": ["i", "mi.a", 'mi["b"]'],
        "double": ["d"],
        "string": ["s", "ms.a", 'ms["b"]'],
        "list": ["ss", "ss", "l", "li", "li"],
        "map": ["m", "ms", "mi"],
    }
    if bound and draw(st.integers(0, 9)) < (5 if wanted in ("string", "any") else 1):
        return draw(st.sampled_from(bound))
    if draw(st.booleans()):
        return draw(st.sampled_from(names.get(wanted, ["any", "s", "i", "d", "ms.b", "absent"])))
    match wanted:
        case "bool":
            return literal(draw(st.booleans()))
        case "int":
            return literal(draw(integers))
        case "double":
            return literal(draw(doubles))
        case "string":
            return literal(draw(words))
        case "list":
            return "[" + ", ".join(literal(item) for item in draw(st.lists(words, max_size=3))) + "]"
        case "map":
            entries = draw(st.dictionaries(words, scalars, max_size=2)).items()
            return "{" + ", ".join(f"{literal(key)}: {literal(value)}" for key, value in entries) + "}"
    return draw(st.one_of(scalars.map(literal), st.sampled_from(["1u", "18446744073709551615u", 'b"a"', "0u"])))


def binary(wanted: str, *operators: str) -> Any:
    return lambda sub, draw, bound: f"({sub(wanted)} {draw(st.sampled_from(operators))} {sub(wanted)})"


def method(target: str, name: str, *arguments: str) -> Any:
    return lambda sub, draw, bound: f"{sub(target)}.{name}({', '.join(sub(argument) for argument in arguments)})"


def macro(name: str, body: str) -> Any:
    def made(sub: Any, draw: Any, bound: tuple[str, ...]) -> str:
        variable = draw(st.sampled_from(BOUND))
        target = draw(st.sampled_from(["ss", "ss", "ms", None]))
        of = target or sub(draw(st.sampled_from(["list", "map"])))
        return f"{of}.{name}({variable}, {sub(body, variable)})"

    return made


def has_field(sub: Any, draw: Any, bound: tuple[str, ...]) -> str:
    return f"has({draw(st.sampled_from(['m', 'absent', 'any', *bound]))}.{draw(st.sampled_from(['a', 'b', 'eng']))})"


def choice(wanted: str) -> Any:
    return lambda sub, draw, bound: f"({sub('bool')} ? {sub(wanted)} : {sub(wanted)})"


def field(sub: Any, draw: Any, bound: tuple[str, ...]) -> str:
    return f"{sub('map')}.{draw(st.sampled_from(['a', 'b', 'eng']))}"


def indexed(target: str, key: str) -> Any:
    return lambda sub, draw, bound: f"{sub(target)}[{sub(key)}]"


def made_list(sub: Any, draw: Any, bound: tuple[str, ...]) -> str:
    return (
        "["
        + ", ".join(sub(draw(st.sampled_from(["any", "string", "string"]))) for _ in range(draw(st.integers(0, 3))))
        + "]"
    )


def made_map(sub: Any, draw: Any, bound: tuple[str, ...]) -> str:
    keys = draw(st.lists(words, max_size=3))
    return "{" + ", ".join(f"{literal(key)}: {sub()}" for key in keys) + "}"


def of_two(template: str, *types: str) -> Any:
    return lambda sub, draw, bound: template.format(*[sub(wanted) for wanted in types])


FORMS: dict[str, list[Any]] = {
    "bool": [
        *(binary(wanted, "==", "!=") for wanted in ("string", "string", "int", "double", "list", "bool")),
        *(binary(wanted, "<", "<=", ">", ">=") for wanted in ("string", "int", "double")),
        binary("any", "==", "!=", "<", "<=", ">", ">="),
        binary("bool", "&&", "||"),
        binary("bool", "&&", "||"),
        binary("bool", "&&", "||"),
        of_two("({0} && {1} && {2})", "bool", "bool", "bool"),
        of_two("!{0}", "bool"),
        of_two("({0} in {1})", "string", "list"),
        of_two("({0} in {1})", "any", "list"),
        of_two("({0} in {1})", "string", "map"),
        method("string", "startsWith", "string"),
        method("string", "endsWith", "string"),
        method("string", "contains", "string"),
        method("string", "matches", "string"),
        method("list", "contains", "any"),
        macro("all", "bool"),
        macro("exists", "bool"),
        macro("exists_one", "bool"),
        has_field,
        choice("bool"),
    ],
    "int": [
        binary("int", "+", "-", "*", "/", "%"),
        binary("int", "+", "-"),
        binary("any", "+", "-", "*", "/", "%"),
        of_two("-{0}", "int"),
        of_two("size({0})", "list"),
        of_two("size({0})", "any"),
        method("string", "size"),
        of_two("int({0})", "double"),
        of_two("int({0})", "any"),
        choice("int"),
        field,
    ],
    "double": [
        binary("double", "+", "-", "*", "/"),
        of_two("-{0}", "double"),
        of_two("double({0})", "any"),
        choice("double"),
    ],
    "string": [binary("string", "+"), of_two("string({0})", "any"), choice("string"), binary("string", "+"), field],
    "list": [
        made_list,
        binary("list", "+"),
        macro("map", "any"),
        macro("filter", "bool"),
        choice("list"),
        indexed("list", "int"),
    ],
    "map": [made_map, choice("map"), made_map, field],
}

OFTEN = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("wanted", ["bool", "any"])
@OFTEN
@given(data=st.data(), subject=subjects)
def test_agrees_with_cel_python(wanted: str, data: st.DataObject, subject: dict[str, Any]) -> None:
    source = data.draw(expressions(wanted))
    expected = by_cel_python(source, subject, CORRECTIONS)
    event("error" if expected == ERROR else expected[0])
    assert by_us(source, subject) == expected


@OFTEN
@given(data=st.data(), subject=subjects)
def test_the_fallback_means_the_same(data: st.DataObject, subject: dict[str, Any]) -> None:
    source = data.draw(expressions("bool"))
    environment = Environment({name: lambda subject, name=name: subject[name] for name in [*subject, "absent"]})
    try:
        ours = typed(translate(parse(source), Scope(environment))(subject))
    except (ExpressionError, ExpressionSyntaxError):
        ours = ERROR
    assert ours == by_us(source, subject)


@OFTEN
@given(data=st.data(), subject=subjects)
def test_where_cel_python_untouched_gives_a_value_ours_is_that_value_or_a_refusal(
    data: st.DataObject, subject: dict[str, Any]
) -> None:
    """Strings, comparisons and macros need no correction; this one guards the corrections themselves."""
    wanted = data.draw(
        st.sampled_from(["s == any", "any in ss", "s.startsWith(any)", "size(any) > i", "i + any == any"])
    )
    expected = by_cel_python(wanted, subject, None)
    ours = by_us(wanted, subject)
    if expected != ERROR:
        assert ours in (expected, ERROR)


@pytest.mark.parametrize(
    ("source", "shines_through", "ours"),
    [
        ("true == 1", True, ERROR),
        ("true < 2", True, ERROR),
        ("true + true == 2", True, ERROR),
        ('"a" * true == "a"', True, ERROR),
        ("1.0 + 1 == 2.0", True, ERROR),
        ("1 / 1.0 == 1", True, ERROR),
        ("1 + 1u == 2", True, ERROR),
        ('"a" in "abc"', True, ERROR),
        ('"abc".all(c, c < "d")', True, ERROR),
        ('"abc"[0] == "a"', True, ERROR),
        ("[1, 2][-1] == 2", True, ERROR),
        ("size(null) == 0", True, ERROR),
        ("int(null) == 0", True, ERROR),
        ("bool(null) == false", True, ERROR),
        ('size({"a": 1 / 0}) == 1', True, ERROR),
        ("[1, 2].filter(x, x) == [1, 2]", True, ERROR),
        ('("a" && true) == "a"', True, ERROR),
        ("-1.0 / 0.0 < 0.0", False, True),
        ('string(true) == "true"', False, True),
        ("1 == null", ERROR, False),
        ("[1] != null", ERROR, True),
        ('("a" + "b").contains("a")', ERROR, True),
        ("[0].map(x, 1 / x) == [] || true", ERROR, True),
        ('timestamp(0) == timestamp("1970-01-01T00:00:00Z")', ERROR, True),
        ('"""a\nb""".size() == 3', False, True),
    ],
)
def test_corrections_are_needed(source: str, shines_through: Any, ours: Any) -> None:
    expected = ERROR if shines_through == ERROR else ("bool", shines_through)
    assert by_cel_python(source, {}, None) == expected
    assert by_us(source, {}) == (ERROR if ours == ERROR else ("bool", ours))
