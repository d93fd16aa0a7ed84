"""The file watch: what happens to files on disk, and which of them it reports."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from agentgateway._host.watch import FileWatch

NEVER = 600.0  # seconds of polling: only events can wake the watch


def write(path: Path, text: str) -> None:
    path.write_text(text)


def grow(path: Path) -> None:
    path.write_text(path.read_text() + "x")


def remove(path: Path) -> None:
    path.unlink()


@asynccontextmanager
async def watching(*paths: Path, poll: float = NEVER) -> AsyncIterator["Watched"]:
    watch = FileWatch(paths, poll=poll)
    async with aclosing(watch.changes()) as changes:
        yield Watched(watch, changes)
        await watch.close()


class Watched:
    def __init__(self, watch: FileWatch, changes) -> None:
        self.watch = watch
        self.changes = changes

    async def next(self) -> set[str]:
        return {path.name for path in await asyncio.wait_for(anext(self.changes), 20)}

    async def settle(self, marker: Path) -> None:
        """Waits until the watch is certainly running: a marker's change came through."""
        grow(marker)
        assert await self.next() == {marker.name}


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    path = tmp_path / "marker"
    write(path, "x")
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    write(path, "a: 1")
    return path


async def test_an_edit_is_seen(config: Path, marker: Path) -> None:
    async with watching(config, marker) as watched:
        await watched.settle(marker)
        write(config, "a: 2")
        assert await watched.next() == {"config.yaml"}


async def test_a_change_between_making_the_watch_and_waiting_for_it_is_seen(config: Path) -> None:
    async with watching(config) as watched:
        write(config, "a: 2")
        assert await watched.next() == {"config.yaml"}


async def test_a_file_replaced_by_renaming_is_seen_again_and_again(config: Path, marker: Path, tmp_path: Path) -> None:
    async with watching(config, marker) as watched:
        await watched.settle(marker)
        for text in ("a: 2", "a: 3", "a: 4"):
            fresh = tmp_path / ".config.yaml.swp"
            write(fresh, text)
            fresh.replace(config)
            assert await watched.next() == {"config.yaml"}


async def test_the_symlink_swap_of_kubernetes_is_seen(tmp_path: Path, marker: Path) -> None:
    def publish(name: str, text: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(text)
        (tmp_path / "..data_tmp").symlink_to(name)
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")

    publish("..2026_01", "a: 1")
    config = tmp_path / "config.yaml"
    config.symlink_to("..data/config.yaml")
    async with watching(config, marker) as watched:
        await watched.settle(marker)
        publish("..2026_02", "a: 2")
        assert await watched.next() == {"config.yaml"}
        publish("..2026_03", "a: 3")
        assert await watched.next() == {"config.yaml"}


async def test_a_swapped_folder_higher_up_is_seen_and_the_new_one_watched(tmp_path: Path, marker: Path) -> None:
    for version in ("v1", "v2"):
        (tmp_path / version / "conf").mkdir(parents=True)
        write((tmp_path / version / "conf" / "config.yaml"), f"a: {version}")
    current = tmp_path / "current"
    current.symlink_to("v1")
    async with watching(current / "conf" / "config.yaml", marker) as watched:
        await watched.settle(marker)
        (tmp_path / "next").symlink_to("v2")
        (tmp_path / "next").replace(current)
        assert await watched.next() == {"config.yaml"}
        write((tmp_path / "v2" / "conf" / "config.yaml"), "a: 3")
        assert await watched.next() == {"config.yaml"}


async def test_an_edit_of_what_a_symlink_elsewhere_points_to_is_seen(tmp_path: Path, marker: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / "real.yaml"
    write(real, "a: 1")
    config = tmp_path / "config.yaml"
    config.symlink_to(real)
    async with watching(config, marker) as watched:
        await watched.settle(marker)
        write(real, "a: 2")
        assert await watched.next() == {"config.yaml"}


async def test_a_deleted_file_is_a_change_once_and_so_is_its_return(config: Path, marker: Path) -> None:
    async with watching(config, marker) as watched:
        await watched.settle(marker)
        remove(config)
        assert await watched.next() == {"config.yaml"}
        await watched.settle(marker)  # nothing more about config.yaml came before this
        write(config, "a: 1")
        os.utime(config, (1, 1))
        assert await watched.next() == {"config.yaml"}
        await watched.settle(marker)


async def test_a_deleted_folder_that_returns_is_watched(tmp_path: Path, marker: Path) -> None:
    config = tmp_path / "conf" / "config.yaml"
    config.parent.mkdir()
    write(config, "a: 1")
    async with watching(config, marker) as watched:
        await watched.settle(marker)
        remove(config)
        config.parent.rmdir()
        assert await watched.next() == {"config.yaml"}
        await watched.settle(marker)
        config.parent.mkdir()
        write(config, "a: 2")
        assert await watched.next() == {"config.yaml"}
        write(config, "a: 3")
        assert await watched.next() == {"config.yaml"}


async def test_a_file_that_did_not_exist_yet_is_seen_when_it_comes(tmp_path: Path, marker: Path) -> None:
    async with watching(tmp_path / "keys" / "openai.txt", marker) as watched:
        await watched.settle(marker)
        (tmp_path / "keys").mkdir()
        write((tmp_path / "keys" / "openai.txt"), "k")
        assert await watched.next() == {"openai.txt"}


async def test_other_files_in_the_folder_are_no_change(config: Path, marker: Path, tmp_path: Path) -> None:
    async with watching(config, marker) as watched:
        await watched.settle(marker)
        write((tmp_path / "requests.db"), "busy")
        await watched.settle(marker)


async def test_updated_paths_are_watched_instead(config: Path, marker: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    key = tmp_path / "keys" / "openai.txt"
    write(key, "k")
    async with watching(config, marker) as watched:
        await watched.settle(marker)
        watched.watch.update([marker, key])
        write(config, "a: 2")
        await watched.settle(marker)
        write(key, "l")
        assert await watched.next() == {"openai.txt"}


async def test_update_forgets_no_change_of_a_file_it_keeps(config: Path, marker: Path) -> None:
    async with watching(config, marker) as watched:
        await watched.settle(marker)
        write(config, "a: 2")
        watched.watch.update([config, marker])
        assert await watched.next() == {"config.yaml"}


async def test_without_paths_it_waits_until_closed() -> None:
    watch = FileWatch([], poll=NEVER)
    changes = asyncio.create_task(anext(watch.changes(), None))
    await asyncio.sleep(0)
    await watch.close()
    assert await asyncio.wait_for(changes, 20) is None


def test_neither_closing_nor_cancelling_leaves_a_thread(config: Path) -> None:
    async def closed() -> None:
        watch = FileWatch([config], poll=NEVER)
        asyncio.get_running_loop().call_later(0.05, lambda: asyncio.ensure_future(watch.close()))
        assert [changed async for changed in watch.changes()] == []

    async def cancelled() -> None:
        waiting = asyncio.create_task(anext(FileWatch([config], poll=NEVER).changes()))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    before = set(threading.enumerate())
    tasks = len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 0
    for run in (closed, cancelled):
        asyncio.run(asyncio.wait_for(run(), 20))
    for thread in set(threading.enumerate()) - before:
        thread.join(20)  # it notices within QUIET_MS
        assert not thread.is_alive()
    deadline = time.monotonic() + 20  # the watcher's own thread, which Python does not list
    while sys.platform == "linux" and len(os.listdir("/proc/self/task")) > tasks:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="counts inotify instances by open files")
def test_without_a_way_to_watch_it_polls_and_says_so_once(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    write(config, "a: 1")
    script = """
import asyncio, logging, os, resource, sys
from contextlib import aclosing
from pathlib import Path
import watchfiles
from agentgateway._host.watch import FileWatch

async def main(config):
    async with aclosing(FileWatch([config], poll=0.05).changes()) as changes:
        spare = os.open("/dev/null", os.O_RDONLY)
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 1, spare + 1))  # room for one file: none for inotify
        os.close(spare)
        for text in ("a: 2", "a: 3"):
            config.write_text(text)
            print(sorted(path.name for path in await asyncio.wait_for(anext(changes), 20)))

logging.basicConfig(format="%(levelname)s %(message)s")
asyncio.run(main(Path(sys.argv[1])))
"""
    done = subprocess.run([sys.executable, "-c", script, str(config)], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["['config.yaml']", "['config.yaml']"], done.stderr
    assert done.stderr.count("cannot watch the configuration's folders") == 1
