"""Buckets that several processes share are as exact as those of one."""

import os
import signal
import subprocess
import sys
from hashlib import blake2b
from itertools import count, islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgateway._host.shared_buckets import GROUPS, SLOTS, SharedBuckets
from agentgateway.buckets import MemoryBuckets
from agentgateway.interfaces import Bucket

NEVER = 1e9


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def python(program: str, *arguments: str) -> subprocess.Popen[str]:
    head = "import sys\nfrom pathlib import Path\nfrom agentgateway._host.shared_buckets import SharedBuckets\n"
    head += "from agentgateway.interfaces import Bucket\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


STEPS = st.tuples(
    st.sampled_from(["a", "b", "\ud800"]), st.integers(0, 5), st.booleans(), st.sampled_from([0.0, 0.3, 1.0, 7.5])
)


@given(steps=st.lists(STEPS, max_size=30), fill=st.integers(1, 5))
def test_they_count_as_the_buckets_of_one_process_do(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, bool, float]], fill: int
) -> None:
    clock = Clock()
    rule = Bucket(capacity=5, fill=fill, interval=1.0)
    shared, alone = SharedBuckets(tmp_path_factory.mktemp("buckets"), "name", clock), MemoryBuckets(clock)
    for key, amount, force, later in steps:
        clock.now += later
        assert shared.take(key, rule, amount, force=force) == alone.take(key, rule, amount, force=force)
    shared.close()


def test_several_processes_never_take_more_than_there_is(tmp_path: Path) -> None:
    program = """
buckets = SharedBuckets(Path(sys.argv[1]), "name")
rule = Bucket(5000, 1, 1e9)
print("ready", flush=True)
sys.stdin.readline()
print(sum(buckets.take("key", rule).allowed for _ in range(4000)))
"""
    processes = [python(program, str(tmp_path)) for _ in range(4)]
    assert [process.stdout.readline() for process in processes if process.stdout] == ["ready\n"] * 4
    taken = sum(int(process.communicate("go\n")[0]) for process in processes)
    assert taken == 5000
    shared = SharedBuckets(tmp_path, "name")
    assert not shared.take("key", Bucket(5000, 1, NEVER)).allowed
    shared.close()


def test_a_forked_worker_locks_for_itself(tmp_path: Path) -> None:
    program = """
import os
buckets = SharedBuckets(Path(sys.argv[1]), "name")
rule = Bucket(3000, 1, 1e9)
read, write = os.pipe()
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        taken = sum(buckets.take("key", rule).allowed for _ in range(2000))
        os.write(write, f"{taken:5}".encode())
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
print(sum(int(os.read(read, 5)) for _ in children))
"""
    assert int(python(program, str(tmp_path)).communicate()[0]) == 3000


def test_a_worker_that_is_killed_inside_the_lock_stops_nobody(tmp_path: Path) -> None:
    program = """
import os, signal
def clock():
    print("inside", flush=True)
    sys.stdin.readline()
SharedBuckets(Path(sys.argv[1]), "name", clock).take("key", Bucket(5, 1, 1e9))
"""
    worker = python(program, str(tmp_path))
    assert worker.stdout is not None and worker.stdout.readline() == "inside\n"
    probe = 'SharedBuckets(Path(sys.argv[1]), "name").take("key", Bucket(5, 1, 1e9)); print("through")'
    other = python(probe, str(tmp_path))
    with pytest.raises(subprocess.TimeoutExpired):
        other.wait(0.5)
    os.kill(worker.pid, signal.SIGKILL)
    assert other.communicate(timeout=10)[0] == "through\n"
    worker.communicate()


def test_they_outlive_the_object_that_made_them(tmp_path: Path) -> None:
    rule = Bucket(3, 1, NEVER)
    first = SharedBuckets(tmp_path, "name")
    first.take("key", rule, 2)
    first.close()
    second = SharedBuckets(tmp_path, "name")
    assert second.take("key", rule).remaining == 0
    assert SharedBuckets(tmp_path, "another name").take("key", rule).remaining == 2
    second.close()


@pytest.mark.parametrize("content", [b"", b"somebody else's", b"\xff" * 4_000_000])
def test_a_file_that_is_something_else_is_made_anew(tmp_path: Path, content: bytes) -> None:
    path = SharedBuckets(tmp_path, "name").path
    path.write_bytes(content)
    assert SharedBuckets(tmp_path, "name").take("key", Bucket(3, 1, NEVER)).remaining == 2


def test_a_slot_that_makes_no_sense_is_a_fresh_bucket(tmp_path: Path) -> None:
    buckets = SharedBuckets(tmp_path, "name")
    rule = Bucket(3, 1, NEVER)
    buckets.take("key", rule)
    raw = buckets.path.read_bytes()
    at = raw.index(digest("key"))
    for garbage in (b"\xff" * 8, b"\0" * 6 + b"\xf0\x7f"):  # not a number, infinity
        with buckets.path.open("r+b") as file:
            file.seek(at + 16)
            file.write(garbage)
        assert buckets.take("key", rule).remaining == 2


def test_a_file_of_an_earlier_boot_does_not_hold_anybody_back(tmp_path: Path) -> None:
    clock = Clock()
    before = SharedBuckets(tmp_path, "name", clock)
    before.take("key", Bucket(3, 1, 1.0), 3)
    clock.now = 1.0
    assert before.take("key", Bucket(3, 1, 1.0)).allowed


def test_a_slot_that_another_key_was_given_is_not_mistaken_for_the_remembered_one(tmp_path: Path) -> None:
    clock = Clock()
    mine, theirs = SharedBuckets(tmp_path, "name", clock), SharedBuckets(tmp_path, "name", clock)
    rule = Bucket(5, 1, NEVER)
    first, *others = islice((key for key in map(str, count()) if group(key) == 0), SLOTS + 1)
    mine.take(first, rule, 4)
    for key in others:
        clock.now += 0.01
        theirs.take(key, rule, 2)
    clock.now += 0.01
    assert theirs.take(others[0], rule, 0).remaining == 3
    assert mine.take(first, rule).remaining == 4  # forgotten, and so full again
    assert [mine.take(key, rule, 0).remaining for key in others[2:]] == [3] * (SLOTS - 2)
    mine.close()
    theirs.close()


def test_more_keys_than_a_process_remembers_are_counted_as_exactly(tmp_path: Path) -> None:
    buckets = SharedBuckets(tmp_path, "name")
    rule = Bucket(3, 1, NEVER)
    for remaining in (2, 1, 0):
        assert {buckets.take(f"key {number}", rule).remaining for number in range(5000)} == {remaining}
    buckets.close()


def test_when_there_is_no_room_the_full_and_the_unused_give_way(tmp_path: Path) -> None:
    clock = Clock()
    buckets = SharedBuckets(tmp_path, "name", clock)
    slow, quick = Bucket(5, 1, NEVER), Bucket(5, 5, 0.001)
    buckets.take("mine", slow, 5)
    neighbours = (str(number) for number in count() if group(str(number)) == group("mine"))
    for key in islice(neighbours, 2 * SLOTS):
        clock.now += 0.01
        buckets.take(key, quick)
    assert not buckets.take("mine", slow).allowed
    for key in islice(neighbours, SLOTS):
        clock.now += 0.01
        buckets.take(key, slow)
    assert buckets.take("mine", slow).allowed


def digest(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=16).digest()


def group(key: str) -> int:
    return int.from_bytes(digest(key)[:4], "little") % GROUPS
