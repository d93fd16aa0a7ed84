"""What only cel-python evaluates: types as values (`type(x) == int`), protobuf messages, `reduce`.

The expression is rebuilt as a tree for cel-python's interpreter (its compiled runner keeps state in module globals and
evaluates both branches of `?:`). Variables and constants enter as context values, and the operators and functions are
ours wherever the operands are native values, so that an expression means the same on both ways.
"""

import logging
from collections.abc import Callable
from typing import Any

import celpy
import lark
from celpy import celtypes
from celpy.evaluation import Activation, CELEvalError, Evaluator, base_functions

from agentgateway.expressions import syntax
from agentgateway.expressions.celvalues import NotNativeError, to_cel, to_native
from agentgateway.expressions.closures import Run
from agentgateway.expressions.errors import ExpressionError
from agentgateway.expressions.library import library
from agentgateway.expressions.scope import FOREIGN_NAMES, Scope
from agentgateway.expressions.translation import Translator
from agentgateway.expressions.values import (
    arithmetic,
    compare,
    contains,
    equals,
    index,
    invert,
    kind,
    make_map,
    negate,
    no_overload,
)

# At level DEBUG it writes every value it touches, credentials included.
logging.getLogger("celpy").setLevel(logging.CRITICAL)


def _lifted(name: str, native: Callable[..., Any]) -> Callable[..., Any]:
    """`native` for cel-python: on native values ours, else cel-python's own, if it has one."""
    foreign = base_functions.get(name)

    def call(*arguments: Any) -> Any:
        for argument in arguments:
            if isinstance(argument, CELEvalError):
                return argument
        try:
            values = [to_native(argument) for argument in arguments]
        except NotNativeError:
            if foreign is None:
                return CELEvalError(f"no such overload: {name}")
            return foreign(*arguments)
        except ExpressionError as error:
            return CELEvalError(str(error))
        try:
            return to_cel(native(*values))
        except ExpressionError as error:
            return CELEvalError(str(error))

    call.__name__ = name
    return call


def _junction(name: str, decisive: bool) -> Callable[[Any, Any], Any]:
    def call(left: Any, right: Any) -> Any:
        failure = None
        for operand in (left, right):
            if not isinstance(operand, celtypes.BoolType):
                failure = failure or (operand if isinstance(operand, CELEvalError) else None)
                failure = failure or CELEvalError(f"no such overload: {name}")
            elif bool(operand) is decisive:
                return celtypes.BoolType(decisive)
        return failure or celtypes.BoolType(not decisive)

    call.__name__ = name
    return call


def _condition(value: Any) -> bool:
    if type(value) is not bool:
        raise no_overload("condition", value)
    return value


def _iterable(value: Any) -> Any:
    if kind(value) not in ("list", "map"):
        raise no_overload("macro", value)
    return value


def _operators() -> dict[str, Callable[..., Any]]:
    natives: dict[str, Callable[..., Any]] = {
        "_==_": equals,
        "_!=_": lambda left, right: not equals(left, right),
        "_in_": contains,
        "_[_]": index,
        "!_": invert,
        "-_": negate,
        "@condition": _condition,
        "@iterable": _iterable,
        "@map": lambda *parts: make_map(parts[::2], parts[1::2]),
    }
    for name in "+-*/%":
        natives[f"_{name}_"] = lambda left, right, name=name: arithmetic(name, left, right)
    for name in ("<", "<=", ">", ">="):
        natives[f"_{name}_"] = lambda left, right, name=name: compare(name, left, right)
    return {name: _lifted(name, native) for name, native in natives.items()}


class _Interpreter(Evaluator):
    """cel-python's evaluator, with a macro that fails giving an error that `||` can absorb, as any other does."""

    def sub_evaluator(self, ast: lark.Tree[Any]) -> "_Interpreter":
        return _Interpreter(ast, activation=self.activation)

    def member_dot_arg(self, tree: lark.Tree[Any]) -> Any:
        try:
            return super().member_dot_arg(tree)
        except CELEvalError as error:
            return error
        except (TypeError, ValueError, ArithmeticError):
            return CELEvalError("no such overload")


def translate(tree: syntax.Node, scope: Scope) -> Run:
    """The closure that evaluates `tree` in cel-python. Raises `ExpressionSyntaxError` for a mix it cannot do."""
    translator = Translator(scope)
    program = translator.tree(tree)
    functions = {
        **_operators(),
        "_&&_": _junction("_&&_", False),
        "_||_": _junction("_||_", True),
        **{name: _lifted(name, function.call) for name, function in library().items()},
        **{name: _lifted(name, scope.guarded(name, own)) for name, own in scope.environment.functions.items()},
    }
    constants = {**{name: base_functions[name] for name in FOREIGN_NAMES}, **translator.constants}
    variables = dict(translator.variables)
    activation = Activation(annotations=dict(celpy.googleapis), functions=functions)

    def run(subject: Any) -> Any:
        context = dict(constants)
        for name, read in variables.items():
            try:
                context[name] = to_cel(read(subject))
            except KeyError:
                continue  # an undeclared name is cel-python's absent variable
        return _evaluated(_Interpreter(program, activation), context)

    return run


def _evaluated(interpreter: Evaluator, context: dict[str, Any]) -> Any:
    try:
        return to_native(interpreter.evaluate(context))
    except CELEvalError as error:
        raise _failure(error) from None
    except NotNativeError:
        raise ExpressionError("the result is a type or a message, which is no value") from None
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise ExpressionError(f"cel-python failed: {type(error).__name__}") from None


def _failure(error: CELEvalError) -> ExpressionError:
    """Only our own messages are free of values; of cel-python's, the first words are."""
    message = str(error.args[0])
    known = ("no such overload", "division by zero", "modulus by zero", "no such key")
    for words in (*known, "overflow", "undeclared reference", "no such member"):
        if words in message:
            return ExpressionError(words)
    return ExpressionError("evaluation failed")
