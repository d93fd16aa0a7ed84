"""Print today's catalogue as JSON, and keep it for the next who asks."""

from __future__ import annotations

import sys

from agentgateway_prices.store import Store


def main() -> None:
    store = Store()
    with store.alone():
        text = store.read()
        if text is None:
            from agentgateway_prices.export import catalogue_text

            text = catalogue_text()
            store.write(text)
    sys.stdout.buffer.write(text)


if __name__ == "__main__":
    main()
