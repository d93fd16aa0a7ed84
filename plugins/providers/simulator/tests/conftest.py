from collections.abc import AsyncIterator

import pytest
from agentgateway_simulator.server import Server

KEY = "sk-simulated-key"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server(key=KEY, models=("gpt-5", "claude-opus-4-5")) as running:
        yield running
