"""What knowing prices adds to a call: the pipeline alone (`pipeline.py`), the catalogue swapped between rounds.

Without a catalogue, with one of a line, with genai-prices' whole one, and with that one for a model it does not have.
Rounds alternate, so that a busy minute hits all alike; of each the least CPU is kept.

    python bench/prices.py    µs a call, and its ratio to a call without a catalogue
"""

from __future__ import annotations

import argparse
import asyncio
import os

import bodies
import pipeline
from agentgateway_prices.plugin import GenaiPrices

from agentgateway._host import access_log
from agentgateway._host.outlet import Outlet
from agentgateway.llm.price_format import CatalogConfig, layer_of
from agentgateway.llm.prices import PRICES, PriceCatalogue

LINE = {"providers": {"openai": {"models": {"mock-model": {"rates": {"input": "2.50", "output": "10"}}}}}}


async def catalogues() -> dict[str, PriceCatalogue | None]:
    """What to compare, by name; the first is what the others are held against."""
    own, whole = CatalogConfig.model_validate(LINE).layer(), layer_of(await GenaiPrices().read())
    return {
        "no catalogue": None,
        "one model": PriceCatalogue([own]),
        "genai-prices, and that model": PriceCatalogue([whole, own]),
        "genai-prices, without it": PriceCatalogue([whole]),
    }


async def measure(rounds: int) -> dict[str, float]:
    at, body, known = pipeline.listener(), bodies.call(), await catalogues()
    pipeline.check(at)
    least = dict.fromkeys(known, float("inf"))
    for _ in range(rounds):
        for name, catalogue in known.items():
            PRICES.catalogue = catalogue
            us = pipeline.cost(lambda: pipeline.call(at, body), count=1000, rounds=1)
            least[name] = min(us, least[name])
    return least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="rounds of each, the cheapest counts (30)")
    arguments = parser.parse_args()
    access_log.LINES.outlet = Outlet(os.open(os.devnull, os.O_WRONLY))
    least = asyncio.run(measure(arguments.rounds))
    without = least["no catalogue"]
    for name, us in least.items():
        print(f"{us:9.2f} µs  {us / without:.3f}  {name}")


if __name__ == "__main__":
    main()
