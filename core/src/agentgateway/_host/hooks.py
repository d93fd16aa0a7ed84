"""Which phases a participant takes part in.

pluggy checks that a hook exists and takes what it is given; its callers are read here, once for each class (a file of
thousands of routes has few classes), and never called.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import pluggy

from agentgateway import hookspecs
from agentgateway.errors import ConfigError
from agentgateway.hookspecs import PHASES

Hooks = Mapping[str, bool]
"""Phases, and whether the hook must be awaited."""

_OF_CLASS: WeakKeyDictionary[type, Hooks] = WeakKeyDictionary()  # what does not change while a class is there


def hooks_of(participant: object, slot: str, at: str) -> Hooks:
    """The participant's hooks, each a method with the phase's name. Raises `ConfigError` for one of the wrong form."""
    kind = type(participant)
    own = getattr(participant, "__dict__", {})
    if any(phase in own for phase in PHASES):
        return _read(participant, slot, at)
    if kind not in _OF_CLASS:
        _OF_CLASS[kind] = _read(participant, slot, at)
    return _OF_CLASS[kind]


def _read(participant: object, slot: str, at: str) -> Hooks:
    manager = pluggy.PluginManager("agentgateway")
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(participant, name=slot)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        raise ConfigError(f"{slot}: {error}", path=at) from error
    callers: list[pluggy.HookCaller] = [getattr(manager.hook, phase) for phase in PHASES]
    return {caller.name: _awaits(impl, caller.name) for caller in callers for impl in caller.get_hookimpls()}


def _awaits(impl: pluggy.HookImpl, phase: str) -> bool:
    name = f"{impl.plugin_name}.{phase}"
    if impl.wrapper or impl.hookwrapper or impl.tryfirst or impl.trylast or impl.optionalhook:
        raise ConfigError(f"{name}: wrappers, tryfirst, trylast and optionalhook are not available")
    if impl.argnames != ("exchange",):
        raise ConfigError(f"{name}: must take exactly `exchange`, not {list(impl.argnames)}")
    if impl.function != getattr(impl.plugin, phase, None):
        raise ConfigError(f"{name}: specname is not available, a hook has the phase's name")
    return is_coroutine(impl.function)


def is_coroutine(function: Callable[..., Any]) -> bool:
    """Whether a call must be awaited. Generators are refused: nobody would run them."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"{function!r} is a generator")
    return inspect.iscoroutinefunction(function)
