"""Where price catalogues come from: the configuration, files, and what plugins bring.

What is written is read with the configuration and refused with it. What a plugin brings is read once the gateway
serves; until then it is as if it were not there. A catalogue that cannot be had is told and changes nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from agentgateway._host import registry
from agentgateway._host.load import Document, parse, validate
from agentgateway._host.static_config import StaticConfig
from agentgateway.errors import ConfigError
from agentgateway.files import MAX_FILE_BYTES
from agentgateway.interfaces import Catalog
from agentgateway.llm.price_format import CatalogConfig, layer_of
from agentgateway.llm.prices import PRICES, Layer, PriceCatalogue

logger = logging.getLogger("agentgateway.prices")

GROUP = "agentgateway.catalogs"
LONGEST_SECONDS = 120.0
"""How long a plugin may take to bring its catalogue."""

Slots = tuple[Layer | str, ...]
"""Catalogues in order; for one that a plugin brings, the plugin's name."""


def slots_of(settings: StaticConfig, document: Document) -> Slots:
    """The catalogues of a configuration. Raises `ConfigError`."""
    return tuple([_slot(one, document, index) for index, one in enumerate(settings.model_catalog)])


def _slot(one: Any, document: Document, index: int) -> Layer | str:
    place = ("config", "modelCatalog", index)
    if one.inline is not None:
        inline: CatalogConfig = one.inline
        return inline.layer()
    if one.file is not None:
        return read_file(one.file)
    try:
        registry.load(GROUP, one.plugin)
    except ConfigError as error:
        raise document.error((*place, "plugin"), error.message, error.hint) from error
    return str(one.plugin)


def read_file(name: str) -> Layer:
    """The catalogue of a file, YAML or JSON. Raises `ConfigError` with the place in that file."""
    try:
        with open(name, "rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
        text = content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"cannot read the price catalogue: {reason}", file=name) from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"the price catalogue is larger than {MAX_FILE_BYTES // 2**20} MiB", file=name)
    try:
        return CatalogConfig.model_validate(from_json(text), by_alias=True, by_name=False).layer()
    except (ValueError, ValidationError):  # no JSON, or a place has to be told, which only the slow way knows
        document = parse(text, file=name, environ={})
        return validate(CatalogConfig, document.data, document).layer()


class PriceSources:
    """The catalogues of this process. `use` puts those of a configuration in force; one that a plugin brings is brought
    once, and kept."""

    def __init__(self) -> None:
        self._slots: Slots = ()
        self._brought: dict[str, Layer] = {}
        self._asked: dict[str, asyncio.Task[None]] = {}

    def use(self, slots: Slots) -> None:
        """Swap the catalogue for the one that these make, as far as they are there."""
        self._slots = slots
        self._put_in_force()

    def start(self) -> None:
        """Let plugins bring what is not there yet, or could not be had; in the background."""
        loop = asyncio.get_running_loop()
        for name in self._slots:
            if isinstance(name, str) and name not in self._brought and not self._under_way(name):
                self._asked[name] = loop.create_task(self._bring(name))

    async def stop(self) -> None:
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)

    def _under_way(self, name: str) -> bool:
        asked = self._asked.get(name)
        return asked is not None and not asked.done()

    async def _bring(self, name: str) -> None:
        started = time.monotonic()
        try:
            source: Catalog = registry.load(GROUP, name)()
            async with asyncio.timeout(LONGEST_SECONDS):
                text = await source.read()
            self._brought[name] = await asyncio.to_thread(layer_of, text)
        except TimeoutError:
            logger.error("the price catalogue `%s` cannot be had: nothing came in %g s", name, LONGEST_SECONDS)
            return
        except Exception as error:
            logger.error("the price catalogue `%s` cannot be had: %s: %s", name, type(error).__name__, error)
            return
        self._put_in_force()
        logger.info("the price catalogue `%s` is there after %.1f s", name, time.monotonic() - started)

    def _put_in_force(self) -> None:
        PRICES.catalogue = PriceCatalogue(self._layers()) if self._slots else None

    def _layers(self) -> Sequence[Layer]:
        there = [self._brought.get(slot) if isinstance(slot, str) else slot for slot in self._slots]
        return [layer for layer in there if layer is not None]
