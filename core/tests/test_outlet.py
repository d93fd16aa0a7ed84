"""A log whose reader is slow, gone, or late."""

import os
import threading

from agentgateway._host.outlet import Outlet


def read_all(descriptor: int) -> bytes:
    data = b""
    while got := os.read(descriptor, 65536):
        data += got
    return data


def test_lines_come_out_in_their_order():
    theirs, ours = os.pipe()
    outlet = Outlet(ours)
    for number in range(100):
        outlet.put(f"{number}\n")
    outlet.close()
    os.close(ours)
    assert read_all(theirs).split() == [b"%d" % number for number in range(100)]
    os.close(theirs)


def test_a_reader_that_stalls_loses_lines_and_stalls_nobody(caplog):
    theirs, ours = os.pipe()
    outlet = Outlet(ours, most=300_000)
    for _ in range(100):
        outlet.put(f"{'x' * 9_998}\n" + "y\n")
    outlet.close(0.1)
    assert outlet.dropped > 100
    reading = threading.Thread(target=lambda: seen.append(read_all(theirs)))
    seen: list[bytes] = []
    reading.start()
    outlet.close(10)
    os.close(ours)
    reading.join()
    assert seen[0].count(b"\n") == 200 - outlet.dropped
    assert f"{outlet.dropped} lines dropped" in caplog.text
    os.close(theirs)


def test_a_reader_that_left_is_no_error(caplog):
    theirs, ours = os.pipe()
    os.close(theirs)
    outlet = Outlet(ours)
    outlet.put("a\nb\n")
    outlet.close(10)
    assert outlet.dropped == 2
    outlet.put("c\n")
    outlet.close(10)
    assert outlet.dropped == 3
    os.close(ours)
