"""The gateway of the end-to-end tests, and MCP servers to put behind it."""

from ..end_to_end.conftest import *  # noqa: F403  fixtures are found by name, also those that others need
from .peers import everything

__all__ = ["everything"]
