"""The functions every expression may call, by name.

`x.name(y)` and `name(x, y)` are the same call, as in cel-python; names with a dot (`base64.encode`) are called as
written. A function gets native values and raises `ExpressionError`, whatever Python raised inside it.
"""

from functools import cache

from agentgateway.expressions.library import conversions, encodings, mathematics, moments, network, regexes, strings
from agentgateway.expressions.library.function import Function


@cache
def library() -> dict[str, Function]:
    parts = (conversions, strings, regexes, encodings, mathematics, network, moments)
    return {function.name: function for part in parts for function in part.FUNCTIONS}
