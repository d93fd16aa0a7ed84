"""The configuration of both modifiers."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from agentgateway.settings import HeaderName, HeaderValue, PluginConfig, problem

FRAMING = {
    "connection": "it belongs to one connection",
    "content-length": "the gateway counts what it sends",
    "host": "use the host of the backend, or `urlRewrite`",
    "keep-alive": "it belongs to one connection",
    "proxy-connection": "it belongs to one connection",
    "te": "it belongs to one connection",
    "trailer": "the gateway frames what it sends",
    "transfer-encoding": "the gateway frames what it sends",
    "upgrade": "it belongs to one connection",
}
"""Fields a message is delimited or delivered by (RFC 9110 section 7.6.1): a wrong one is request smuggling."""


def _not_framing(name: str) -> str:
    if name in FRAMING:
        raise problem(f"`{name}` cannot be changed", FRAMING[name])
    return name


def _pairs(value: Any) -> Any:
    """A mapping, or a list of `{name, value}`, as pairs."""
    if isinstance(value, Mapping):
        return tuple(value.items())
    if isinstance(value, list) and all(isinstance(one, Mapping) and set(one) == {"name", "value"} for one in value):
        return tuple((one["name"], one["value"]) for one in value)
    if isinstance(value, tuple):
        return value
    raise problem("expected a mapping of names to values, or a list of {name, value}")


Name = Annotated[HeaderName, AfterValidator(_not_framing)]
Fields = Annotated[
    tuple[tuple[Name, HeaderValue], ...],
    BeforeValidator(_pairs),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": "string"}},
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
                        "required": ["name", "value"],
                        "additionalProperties": False,
                    },
                },
            ]
        }
    ),
]


class HeaderModifierConfig(PluginConfig):
    """What happens to header fields: `remove` first, then `set`, then `add`."""

    add: Fields = ()
    """Fields to add to those of the same name."""
    set: Fields = ()
    """Fields to put in the place of those of the same name."""
    remove: list[Name] = []
    """Names of fields to take out."""
