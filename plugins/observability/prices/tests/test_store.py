"""Where an export is kept, and whom it is not taken from."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from agentgateway_prices.store import LOCK, Store, private

TEXT = b'{"providers":{}}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "kept"
    made.mkdir(mode=0o700)
    return made


def kept(folder: Path) -> Path:
    """The file of an export."""
    Store(folder).write(TEXT)
    (file,) = folder.glob("*.json")
    return file


def test_what_was_written_is_read_by_the_next_and_only_by_its_user(folder):
    file = kept(folder)
    assert Store(folder).read() == TEXT
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == [file.name]


def test_the_folder_is_made_for_one_user_alone_in_the_systems_temporary_one(temporary):
    store = Store()
    with store.alone():
        store.write(TEXT)
    (made,) = temporary.iterdir()
    assert made.name == f"agentgateway-prices-{os.geteuid()}"
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert Store().read() == TEXT


def test_older_exports_make_room(folder):
    (folder / "0.0.9-0.2.0-20260101.json").write_bytes(b"old}")
    assert kept(folder).read_bytes() == TEXT
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o755, 0o701, 0o777])
def test_a_folder_that_others_may_use_is_not_used(folder, mode):
    file = kept(folder)
    folder.chmod(mode)
    assert not private(folder) and Store(folder).read() is None
    file.unlink()
    Store(folder).write(TEXT)
    with Store(folder).alone():
        assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_not_used(folder):
    kept(folder)
    os.chown(folder, 12345, -1)
    assert Store(folder).read() is None


def test_a_link_in_place_of_the_folder_is_not_followed(folder, tmp_path):
    kept(folder)
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert Store(link).read() is None
    Store(link).write(b"other}")
    with Store(link).alone():
        assert Store(folder).read() == TEXT


def test_a_link_in_place_of_the_file_is_not_followed_but_replaced(folder, tmp_path):
    file, elsewhere = kept(folder), tmp_path / "elsewhere.json"
    elsewhere.write_bytes(b"planted}")
    file.unlink()
    file.symlink_to(elsewhere)
    assert Store(folder).read() is None
    Store(folder).write(TEXT)
    assert elsewhere.read_bytes() == b"planted}" and not file.is_symlink() and Store(folder).read() == TEXT


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_to_is_not_read(folder, mode):
    kept(folder).chmod(mode)
    assert Store(folder).read() is None


def test_a_pipe_in_place_of_the_file_holds_nobody_up(folder):
    file = kept(folder)
    file.unlink()
    os.mkfifo(file, 0o600)
    assert Store(folder).read() is None


@pytest.mark.parametrize("text", [b"", b'{"providers":{"openai"', b"\0" * 64])
def test_a_file_that_a_crash_cut_short_is_not_read(folder, text):
    kept(folder).write_bytes(text)
    assert Store(folder).read() is None


def test_where_nothing_can_be_written_nothing_happens_and_nothing_is_left_behind(folder):
    file = kept(folder)
    file.unlink()
    file.mkdir()
    (file / "in the way").touch()
    Store(folder).write(TEXT)
    assert Store(folder).read() is None
    assert [path.name for path in folder.iterdir()] == [file.name]


@pytest.mark.parametrize("what", ["link", "folder", "pipe"])
def test_something_else_in_place_of_the_lock_does_not_stop_an_export(folder, tmp_path, what):
    lock = folder / LOCK
    if what == "link":
        lock.symlink_to(tmp_path / "missing")
    elif what == "folder":
        lock.mkdir()
    else:
        os.mkfifo(lock)
    with Store(folder).alone():
        Store(folder).write(TEXT)
    assert Store(folder).read() == TEXT
    assert not (tmp_path / "missing").exists()


def test_one_process_exports_and_the_others_wait(folder):
    program = (
        "import fcntl, os, sys; lock = os.open(sys.argv[1], os.O_RDWR)\n"
        "try: fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError: sys.exit(3)"
    )
    command = [sys.executable, "-c", program, str(folder / LOCK)]
    with Store(folder).alone():
        assert subprocess.run(command).returncode == 3
    assert subprocess.run(command).returncode == 0
