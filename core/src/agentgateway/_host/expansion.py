"""Environment variables in the configuration.

`$VAR` and `${VAR}` are replaced by the variable, `${VAR:-default}` by the default if it is unset or empty, a leading
`~/` by the home folder, `$$` by one `$`. Any other `$` stays, so regular expressions and `$1` need no escape.

Unlike the reference, which expands the whole file before parsing it, each value is expanded after parsing: a variable
cannot add keys, comments do not count, keys are not expanded, and a default is literal text.
"""

import re
from collections.abc import Mapping

_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE = re.compile(
    rf"\$(?:(?P<dollar>\$)|(?P<bare>{_NAME})|\{{(?P<name>{_NAME})(?::-(?P<default>[^{{}}\n]*))?\}}|(?P<broken>\{{))"
)
_BRACED = re.compile(rf"\$\{{({_NAME}(?::-[^{{}}\n]*)?)\}}")

# Unicode noncharacters stand in for the braces while YAML is parsed.
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
_PROTECTED = re.compile(rf"\${_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}")


class ExpansionError(ValueError):
    """`hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def protect(text: str) -> str:
    """Hide the braces of `${VAR}`, which would otherwise end a plain scalar in `{port: ${PORT}}`; keeps the length."""
    return _BRACED.sub(rf"${_OPEN}\1{_CLOSE}", text)


def restore(text: str) -> str:
    """Undo `protect`."""
    return _PROTECTED.sub(r"${\1}", text)


def expand(text: str, environ: Mapping[str, str]) -> str:
    """The text with its references replaced; values are not expanded again.

    Raises ExpansionError for an unset variable without default and for a `${` that is no reference.
    """
    if text.startswith("~/"):
        text = _value("HOME", environ).replace("$", "$$").rstrip("/") + text[1:]
    return _REFERENCE.sub(lambda found: _replacement(found, environ), text) if "$" in text else text


def _replacement(found: re.Match[str], environ: Mapping[str, str]) -> str:
    if found["dollar"]:
        return "$"
    if found["broken"]:
        raise ExpansionError("malformed ${…}", "write ${NAME} or ${NAME:-default}; $${ gives a literal ${")
    if found["default"] is not None:
        return environ.get(found["name"]) or found["default"]
    return _value(found["bare"] or found["name"], environ)


def _value(name: str, environ: Mapping[str, str]) -> str:
    try:
        return environ[name]
    except KeyError:
        hint = f"set it, or write ${{{name}:-default}}; $$ gives a literal $"
        raise ExpansionError(f"environment variable {name} is not set", hint) from None
