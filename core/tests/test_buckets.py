"""Buckets in memory: what they hold, when they are filled, and who gives way."""

from agentgateway.buckets import MAX_KEYS, MemoryBuckets
from agentgateway.interfaces import Bucket, Taken

RULE = Bucket(capacity=5, fill=2, interval=10.0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_new_bucket_is_full_and_gives_what_it_has() -> None:
    held = MemoryBuckets(Clock())
    assert held.take("a", RULE, 4) == Taken(True, 1, 10.0)
    assert held.take("a", RULE, 2) == Taken(False, 1, 10.0)
    assert held.take("a", RULE) == Taken(True, 0, 10.0)
    assert held.take("b", RULE) == Taken(True, 4, 10.0)


def test_fills_come_whole_and_in_time_and_never_overflow() -> None:
    clock = Clock()
    held = MemoryBuckets(clock)
    held.take("a", RULE, 5)
    clock.now += 9.5
    assert held.take("a", RULE) == Taken(False, 0, 0.5)
    clock.now += 0.5
    assert held.take("a", RULE) == Taken(True, 1, 10.0)
    clock.now += 25.0
    assert held.take("a", RULE, 0) == Taken(True, 5, 5.0)
    clock.now += 1e9
    assert held.take("a", RULE, 0).remaining == 5


def test_a_charge_after_the_fact_may_go_below_zero_and_is_worked_off() -> None:
    clock = Clock()
    held = MemoryBuckets(clock)
    assert held.take("a", RULE, 8, force=True) == Taken(False, 0, 10.0)
    clock.now += 10.0
    assert held.take("a", RULE, 0) == Taken(False, 0, 10.0)
    clock.now += 10.0
    assert held.take("a", RULE, 0) == Taken(True, 1, 10.0)


def test_what_remains_is_a_whole_number() -> None:
    clock = Clock()
    held = MemoryBuckets(clock)
    for amount in (1, 2, 0):
        clock.now += 11.0
        assert type(held.take("a", RULE, amount).remaining) is int


def test_of_too_many_keys_the_least_recently_used_gives_way() -> None:
    held = MemoryBuckets(Clock())
    for number in range(MAX_KEYS):
        held.take(str(number), RULE, 2)
    assert held.take("0", RULE, 2).remaining == 1
    held.take("one more", RULE, 2)
    assert held.take("0", RULE, 0).remaining == 1
    assert held.take("2", RULE, 0).remaining == 3
    assert held.take("1", RULE, 0).remaining == 5
