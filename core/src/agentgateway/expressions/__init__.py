"""CEL, the expression language of the configuration.

::

    environment = Environment({"request.method": lambda exchange: exchange.method})
    rule = compile('request.method == "POST"', environment)
    rule.reads              # frozenset({"request.method"})
    rule.holds(exchange)    # True, False, or ExpressionError

Parsed by cel-python. The common subset becomes Python closures over native values, the rest runs in cel-python.
Language, functions and differences: `docs/expressions.md`.
"""

from agentgateway.expressions.environment import Deferred, Environment, Getter
from agentgateway.expressions.errors import ExpressionError, ExpressionSyntaxError, UnknownVariable
from agentgateway.expressions.expression import Expression

__all__ = [
    "Deferred",
    "Environment",
    "Expression",
    "ExpressionError",
    "ExpressionSyntaxError",
    "Getter",
    "UnknownVariable",
    "compile",
]


def compile(source: str, environment: Environment) -> Expression:
    """The compiled expression; takes a few milliseconds, so it belongs to the load.

    Raises `ExpressionSyntaxError` when the text does not parse or names a variable or function that
    `environment` does not have.
    """
    # Not at the top: cel-python costs 100 ms, and a gateway without expressions never needs it.
    from agentgateway.expressions.compiler import build

    return build(source, environment)
