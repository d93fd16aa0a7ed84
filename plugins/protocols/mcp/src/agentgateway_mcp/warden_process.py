"""The program of a process that outlives the gateway: it ends the process groups that the gateway leaves behind.

Run as a file, alone; its standard input is a pipe from the gateway, which writes `+<group>` and `-<group>`. The pipe's
end is the gateway's, however it came, SIGKILL included.
"""

import os
import signal
import time

GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # meant for everybody: the gateway acts, not this
        signal.signal(number, signal.SIG_IGN)
    groups = tell(listen(), signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while groups and time.monotonic() < deadline:
        time.sleep(0.02)
        groups = tell(groups, 0)
    tell(groups, signal.SIGKILL)


def listen() -> set[int]:
    """The groups that are there when the pipe ends."""
    groups: set[int] = set()
    rest = b""
    while chunk := os.read(0, 4096):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            (groups.add if line.startswith(b"+") else groups.discard)(int(line[1:]))
    return groups


def tell(groups: set[int], number: int) -> set[int]:
    """Send a signal; returns those that were there to get it."""
    alive = set()
    for group in groups:
        try:
            os.killpg(group, number)
            alive.add(group)
        except OSError:  # it is gone, or no longer ours to end
            continue
    return alive


if __name__ == "__main__":
    main()
