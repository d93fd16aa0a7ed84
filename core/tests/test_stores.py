"""Which store a gateway has, and what a file of one goes through."""

import asyncio
import logging
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentgateway._host.builtin.sqlite_store import SqliteStore
from agentgateway._host.load import parse
from agentgateway._host.redaction import redacted
from agentgateway._host.runtime import Runtime
from agentgateway._host.serving import settings_of
from agentgateway._host.state import OwnStore, state_file, store_of
from agentgateway._host.static_config import StaticConfig
from agentgateway.errors import ConfigError, StoreFailed
from agentgateway.stores import MemoryStore, Shelf

SERVED = "llm: {models: [{name: m, provider: simulator}]}\n"


def program(text: str, *arguments: str) -> subprocess.Popen[str]:
    head = "import asyncio, os, sys\nfrom pathlib import Path\n"
    head += "from agentgateway._host.builtin.sqlite_store import SqliteStore\n"
    command = [sys.executable, "-c", head + text, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore("sqlite:state.sqlite", tmp_path)
    yield store
    await store.stop()


# --- the file ---------------------------------------------------------------------------------------------------------


async def test_what_was_written_survives_a_kill_in_the_middle_of_writing(tmp_path: Path, store: SqliteStore) -> None:
    writing = """
async def write():
    store, number = SqliteStore("sqlite:state.sqlite", Path(sys.argv[1])), 0
    while True:
        number += 1
        await store.put("a", b"%d" % number + b" " * 5000)
        await store.swap("b", await store.get("b"), b"%d" % number)
        print(number, flush=True)
asyncio.run(write())
"""
    for _ in range(3):
        with program(writing, str(tmp_path)) as process:
            assert process.stdout is not None
            told = [process.stdout.readline() for _ in range(50)]
            process.kill()
            told += process.stdout.readlines()
        last = int(told[-1] if told[-1].endswith("\n") else told[-2])
        first, second = await store.get("a"), await store.get("b")
        assert first is not None and second is not None
        assert last <= int(second) <= int(first) <= last + 1
    await store.put("a", b"goes on")
    checked = sqlite3.connect(store.path)
    assert checked.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    checked.close()


async def test_several_processes_forked_before_its_first_use_count_together(tmp_path: Path, store: SqliteStore) -> None:
    counting = """
async def count():
    for _ in range(100):
        while True:
            old = await store.get("n")
            if await store.swap("n", old, b"%d" % (int(old or b"0") + 1)):
                break
    await store.stop()
store = SqliteStore("sqlite:state.sqlite", Path(sys.argv[1]))
children = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        asyncio.run(count())
        os._exit(0)
    children.append(pid)
asyncio.run(count())
assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
"""
    process = program(counting, str(tmp_path))
    await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
    assert await store.get("n") == b"400"


async def test_only_its_owner_may_read_the_file(tmp_path: Path, store: SqliteStore) -> None:
    await store.put("k", b"v")
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes["state.sqlite"] == 0o600
    assert set(modes.values()) == {0o600}


async def test_what_has_expired_leaves_the_file(tmp_path: Path) -> None:
    now = [1000.0]
    store = SqliteStore("sqlite:state.sqlite", tmp_path, lambda: now[0])
    for number in range(10):
        await store.put(str(number), b"v", ttl=10)
    now[0] += 100
    await store.put("k", b"v")
    looked_at = sqlite3.connect(store.path)
    assert looked_at.execute("SELECT count(*) FROM entries").fetchone() == (1,)
    looked_at.close()
    await store.stop()


@pytest.mark.parametrize(
    "content", [b"no database, but long enough to be one" * 100, b"SQLite format 3\x00" + b"x" * 4096]
)
async def test_a_file_that_is_spoilt_is_said_to_be_so(tmp_path: Path, store: SqliteStore, content: bytes) -> None:
    store.path.write_bytes(content)
    with pytest.raises(StoreFailed) as caught:
        await store.get("k")
    assert "state.sqlite" in caught.value.detail and "state.sqlite" not in caught.value.message
    assert store.path.read_bytes() == content


async def test_a_database_of_somebody_else_is_left_alone(tmp_path: Path, store: SqliteStore) -> None:
    theirs = sqlite3.connect(store.path)
    theirs.execute("CREATE TABLE books (title)")
    theirs.close()
    with pytest.raises(StoreFailed) as caught:
        await store.put("k", b"v")
    assert "not one of this version of agentgateway" in caught.value.detail


async def test_a_memory_store_lets_go_of_what_has_expired() -> None:
    now = [0.0]
    store = MemoryStore(clock=lambda: now[0])
    await store.put("k", b"v", ttl=1)
    now[0] = 100
    await store.put("other", b"v")
    assert list(store._values) == ["other"]


async def test_shelves_of_one_store_know_nothing_of_each_other() -> None:
    store = MemoryStore()
    one, other = Shelf(store, "one"), Shelf(store, "on")
    await one.put("k", b"1")
    await other.put("k", b"2")
    assert (await one.get("k"), await other.get("k")) == (b"1", b"2")
    assert await other.keys("") == ["k"]
    assert await one.swap("k", b"1", None) and await one.keys("") == []
    await other.delete("k")
    assert await store.keys("") == []
    with pytest.raises(ValueError):
        Shelf(store, "a:b")


# --- which one --------------------------------------------------------------------------------------------------------


def chosen(config: str, environ: dict[str, str] | None = None, file: str = "gateway.yaml") -> object:
    document = parse(SERVED + config, file=file, environ={})
    return store_of(settings_of(document), document, environ or {})


def test_a_file_is_relative_to_the_configuration(tmp_path: Path) -> None:
    store = chosen('config: {store: {url: "sqlite:state/s.sqlite"}}', file=str(tmp_path / "gateway.yaml"))
    assert isinstance(store, SqliteStore) and store.path == tmp_path / "state/s.sqlite"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis+nothing://:canary@host", "unknown store"),
        ("canary", "not the URL of a store"),
        ("sqlite:", "the name of a file"),
        ("memory:canary", "has no place"),
    ],
)
def test_a_url_that_is_wrong_is_refused_at_its_place_and_not_quoted(url: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        chosen(f'config: {{store: {{url: "{url}"}}}}')
    assert caught.value.path == "config.store.url" and caught.value.line == 2
    assert says in str(caught.value) and "canary" not in str(caught.value)


def test_a_url_that_stands_alone_is_told_where_it_belongs() -> None:
    with pytest.raises(ConfigError) as caught:
        chosen('config: {store: "sqlite:canary"}')
    assert (caught.value.path, caught.value.line) == ("config.store", 2)
    assert str(caught.value).endswith('expected a mapping\n  hint: write {url: "sqlite:state.sqlite"}')
    assert "canary" not in str(caught.value)


def test_a_password_in_the_url_is_in_no_dump() -> None:
    url = "redis://user:canary@host/0"
    assert "canary" not in str(redacted({"config": {"store": {"url": url}}}))
    assert "canary" not in repr(StaticConfig(store={"url": url}))  # type: ignore[arg-type]


async def test_a_store_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    text = SERVED + 'config: {store: {url: "sqlite:missing/s.sqlite"}}'
    document = parse(text, file=str(tmp_path / "gateway.yaml"), environ={})
    runtime = Runtime(None, document, {}, settings_of(document))
    with pytest.raises(ConfigError, match="the store cannot be used") as caught:
        await runtime.start()
    assert caught.value.path == "config.store.url"
    await runtime.stop()


def test_the_state_folder_is_the_service_managers_or_the_users(tmp_path: Path) -> None:
    def folder(**environ: str) -> str | None:
        found = state_file(parse(SERVED, file=str(tmp_path / "a.yaml"), environ={}), environ)
        return str(found.parent) if found is not None else None

    assert folder(STATE_DIRECTORY="/var/lib/gw:/other", XDG_STATE_HOME="/x", HOME="/h") == "/var/lib/gw"
    assert folder(XDG_STATE_HOME="/x", HOME="/h") == "/x/agentgateway"
    assert folder(XDG_STATE_HOME="relative", HOME="/h") == "/h/.local/state/agentgateway"
    assert folder() is None


def test_each_configuration_file_has_a_state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def name(file: str) -> str:
        found = state_file(parse(SERVED, file=file, environ={}), {"HOME": "/h"})
        assert found is not None
        return found.name

    monkeypatch.chdir(tmp_path)
    assert name("a.yaml") == name(str(tmp_path / "a.yaml")) == name("./x/../a.yaml")
    assert name("a.yaml") != name("b.yaml")


async def test_the_state_folder_is_made_when_something_is_kept_and_private(tmp_path: Path) -> None:
    file = tmp_path / "home" / "agentgateway" / "s.sqlite"
    store = OwnStore(file)
    await store.start()
    assert not file.parent.exists()
    got = await asyncio.gather(*(store.get("k") for _ in range(5)))
    assert got == [None] * 5
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700 and stat.S_IMODE(file.stat().st_mode) == 0o600
    await store.put("k", b"v")
    await store.stop()
    again = OwnStore(file)
    assert await again.keys("") == ["k"] and await again.get("k") == b"v"
    assert await again.swap("k", b"v", b"w")
    await again.delete("k")
    await again.stop()


@pytest.mark.parametrize("reason", ["no home", "a file in its place", "a folder nobody may write to"])
async def test_state_that_cannot_be_kept_is_kept_in_memory_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    (tmp_path / "file").write_text("")
    files = {"no home": None, "a file in its place": tmp_path / "file" / "s"}
    store = OwnStore(files.get(reason, Path("/proc/s.sqlite")))
    with caplog.at_level(logging.WARNING):
        await store.put("k", b"v")
        assert await store.get("k") == b"v"
    (told,) = caplog.records
    assert "config.store.url" in told.getMessage()
    await store.stop()


async def test_a_state_file_that_is_spoilt_is_no_reason_to_forget_it(tmp_path: Path) -> None:
    file = tmp_path / "s.sqlite"
    file.write_bytes(b"spoilt" * 1000)
    store = OwnStore(file)
    for _ in range(2):
        with pytest.raises(StoreFailed):
            await store.get("k")
    await store.stop()
    file.unlink()
    assert await store.get("k") is None
    await store.stop()


async def test_a_reload_keeps_the_store(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(SERVED + 'config: {store: {url: "sqlite:s.sqlite"}}')
    document = parse(file.read_text(), file=str(file), environ={})
    runtime = Runtime(str(file), document, {}, settings_of(document))
    await runtime.start()
    before = runtime._lends.store
    file.write_text(file.read_text().replace("name: m", "name: n"))
    assert await runtime.reload()
    assert runtime._lends.store is before
    await runtime.stop()
    assert not (tmp_path / "s.sqlite-wal").exists()


def test_no_store_is_opened_to_check_a_configuration(tmp_path: Path) -> None:
    document = parse(SERVED + 'config: {store: {url: "sqlite:s.sqlite"}}', file=str(tmp_path / "g.yaml"), environ={})
    Runtime(None, document, dict(os.environ), settings_of(document))
    assert list(tmp_path.iterdir()) == []
    assert StaticConfig().store.url is None
