"""The process that exports: what it leaves behind, and what its failures come to."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from agentgateway_prices.plugin import GenaiPrices
from agentgateway_prices.store import Store

from agentgateway.llm.price_format import layer_of
from agentgateway.testing import CatalogContract


class TestContract(CatalogContract):
    name = "genai-prices"
    listed: ClassVar = [
        ("openai", "gpt-4o"),
        ("anthropic", "claude-haiku-4-5"),
        ("gcp.gemini", "gemini-2.5-flash"),
        ("aws.bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ]


def broken(folder: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put another `genai_prices` before the installed one, for processes that are started."""
    package = folder / "modules" / "genai_prices"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


async def test_the_first_export_is_kept_for_those_after_it(temporary, monkeypatch, tmp_path):
    text = await GenaiPrices().read()
    assert len(layer_of(text)) > 40
    assert Store().read() == text
    broken(tmp_path, "raise ImportError('nobody needs it now')", monkeypatch)
    assert await GenaiPrices().read() == text


async def test_processes_that_start_at_once_get_one_export(temporary):
    texts = await asyncio.gather(*(GenaiPrices().read() for _ in range(3)))
    assert len(set(texts)) == 1
    assert len(list(next(temporary.iterdir()).glob("*.json"))) == 1


async def test_an_export_needs_no_place_to_keep_it(temporary):
    temporary.chmod(0o755)
    (temporary / f"agentgateway-prices-{os.geteuid()}").write_text("in the way")
    assert len(layer_of(await GenaiPrices().read())) > 40
    assert [path.is_file() for path in temporary.iterdir()] == [True]


async def test_a_failed_export_says_why_and_keeps_nothing(temporary, monkeypatch, tmp_path):
    broken(tmp_path, "raise ImportError('half an installation')", monkeypatch)
    with pytest.raises(RuntimeError, match="ended with 1: ImportError: half an installation"):
        await GenaiPrices().read()
    assert Store().read() is None


async def test_whoever_stops_waiting_ends_the_process(temporary, monkeypatch, tmp_path):
    told = tmp_path / "pid"
    source = f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    broken(tmp_path, source, monkeypatch)
    reading = asyncio.create_task(GenaiPrices().read())
    async with asyncio.timeout(20):
        while not told.exists() or not told.read_text():
            await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


async def test_nothing_is_imported_from_the_working_directory(temporary, monkeypatch, tmp_path):
    for name in ("json", "agentgateway_prices", "genai_prices"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(tmp_path)
    assert len(layer_of(await GenaiPrices().read())) > 40


def test_the_gateways_own_process_never_imports_genai_prices(temporary):
    program = """
import asyncio, sys
from agentgateway_prices.plugin import GenaiPrices
asyncio.run(GenaiPrices().read())
print("genai_prices" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
