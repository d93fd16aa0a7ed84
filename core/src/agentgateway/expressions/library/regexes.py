"""Regular expressions, on RE2: time linear in the text, whatever the pattern."""

import re
from functools import lru_cache
from typing import Any

import re2

from agentgateway.expressions.errors import ExpressionError
from agentgateway.expressions.library.function import Function, function, text

_ENGINE: Any = re2  # without annotations


@lru_cache(maxsize=64)
def pattern(source: str) -> Any:
    """The compiled pattern; the memo bounds what a pattern taken from the request can cost."""
    options = _ENGINE.Options()
    options.log_errors = False  # RE2 writes them to stderr otherwise
    options.max_mem = 8 << 20
    try:
        return _ENGINE.compile(source, options)
    except _ENGINE.error:
        raise ExpressionError("not a regular expression of RE2") from None


def matches(value: Any, source: Any) -> bool:
    """Whether the pattern is found anywhere in the text."""
    return pattern(text("matches", source)).search(text("matches", value)) is not None


# What a replacement may refer to, as in the reference: $1, $name, ${name}, and $$ for a dollar.
_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})", re.ASCII)


def regex_replace(value: Any, source: Any, replacement: Any) -> str:
    """The text with the first match replaced; an unknown group is empty."""
    subject, template = text("regexReplace", value), text("regexReplace", replacement)
    found = pattern(text("regexReplace", source)).search(subject)
    if found is None:
        return subject

    def group(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        groups = {**found.groupdict(), **{str(n + 1): part for n, part in enumerate(found.groups())}, "0": found[0]}
        return groups.get(name) or ""

    return subject[: found.start()] + _REFERENCE.sub(group, template) + subject[found.end() :]


FUNCTIONS: tuple[Function, ...] = (
    function("matches", matches, 2, literals=True),
    function("regexReplace", regex_replace, 3, literals=True),
)
