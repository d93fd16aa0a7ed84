"""What the branches of a union say about one value, said once.

Pydantic tells what is wrong with a value for each type it may have. People meant one of them.
"""

import re
from collections.abc import Sequence

from agentgateway.errors import ConfigError

EXPECTED = "expected "
"""How the message of a value of the wrong type begins."""


def told_once(errors: Sequence[ConfigError]) -> list[ConfigError]:
    """The errors in their order, where those that expect another type at one key are one, and are none at all where
    another branch took the type and says what is wrong inside."""
    told: dict[str, ConfigError] = {}
    for error in errors:
        if not error.message.startswith(EXPECTED):
            told[str(error)] = error
        elif not any(_got_further(other, error) for other in errors):
            first = told.setdefault(error.path, error)
            if first is not error:
                first.message = EXPECTED + _either(first.message, error.message)
                first.hint = first.hint or error.hint
    return list(told.values())


def _got_further(other: ConfigError, error: ConfigError) -> bool:
    """Whether another branch took the type of a value."""
    if other.path == error.path:
        return not other.message.startswith(EXPECTED)
    return other.path.startswith((f"{error.path}.", f"{error.path}["))


def _either(*messages: str) -> str:
    """`text or a mapping`, `'a', 'b' or 'c'`: each word once."""
    words = [word for one in messages for word in re.split(r", (?=')| or (?=['a-z])", one.removeprefix(EXPECTED))]
    *others, last = dict.fromkeys(words)
    return f"{', '.join(others)} or {last}" if others else last
