"""Fuzz the HTTP/1.1 edge: scripts of what a client sends, split anywhere, and of what happens meanwhile.

    python tests/fuzz/fuzz_edge.py --seconds 600            find something (needs `pip install atheris`, Linux)
    python tests/fuzz/fuzz_edge.py --replay tests/fuzz/corpus    run what is kept; needs nothing
    python tests/fuzz/fuzz_edge.py --replay FILE            look at one: prints what was sent and what came back
    python tests/fuzz/fuzz_edge.py --minimise               keep only what covers something of its own

What must hold is in `oracle.py`. New scripts go to tests/fuzz/out/corpus, findings to tests/fuzz/out/finding-*.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
OUT = HERE / "out"
PATIENCE = 400.0
"""Seconds of virtual time after a script: longer than every timeout together."""
MOST_LENGTH = 2048
INSTRUMENTED = ("agentgateway._host.edge", "agentgateway._host.inbound_head", "agentgateway._host.inline", "h11")


def fuzz(seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=[*INSTRUMENTED, "agentgateway._host.suspension"]):
        import h11  # noqa: F401

        import agentgateway._host.edge.connection  # noqa: F401
    import mutate
    import world

    world.quiet()
    loop = world.running_loop()
    (OUT / "corpus").mkdir(parents=True, exist_ok=True)
    options = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-max_len={MOST_LENGTH}",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        f"-artifact_prefix={OUT}/finding-",
        str(OUT / "corpus"),
        str(CORPUS),
    ]
    atheris.Setup(
        options,
        lambda script: once(loop, script),
        custom_mutator=mutate.mutator(lambda data, most: atheris.Mutate(data, most)),
    )
    atheris.Fuzz()


def once(loop: object, script: bytes) -> object:
    """One connection from its beginning to its end. Raises `Finding`, and whatever escapes from a callback."""
    import oracle
    from script import steps
    from world import World

    here, conduct = World(loop), oracle.Conduct()  # type: ignore[arg-type]
    for step in steps(script):
        if here.door.handed is not None:
            break
        if isinstance(step, bytes):
            here.wire.send(step)
        else:
            conduct.note(step)
            happen(here, step)
        oracle.bounded(here)
    finish(here)
    oracle.at_end(here, conduct)
    return here


def happen(here: object, event: object) -> None:
    from script import Event
    from world import World

    assert isinstance(here, World)
    wire, loop = here.wire, here.loop
    match event:
        case Event.SPLIT | Event.BYTEWISE:
            loop.run_once()
        case Event.SETTLE:
            loop.settle()
        case Event.SECOND:
            loop.pass_time(1.0)
        case Event.LONG:
            loop.pass_time(15.0)
        case Event.STOPS_READING:
            wire.reads = False
        case Event.READS_ON:
            wire.reads_on()
        case Event.HALF_CLOSES:
            wire.half_close()
        case Event.RESETS:
            wire.reset()
        case Event.UPSTREAM:
            here.site.move()
        case Event.UPSTREAM_FAILS:
            here.site.break_off()
        case Event.DRAIN:
            here.runtime.draining = True
        case Event.RETIRE:
            if not wire.lost:
                here.connection.retire()
        case Event.CUT:
            here.connection.cut()


def finish(here: object) -> None:
    """Everybody does what is still theirs to do, then time passes."""
    from world import World

    assert isinstance(here, World)
    here.loop.settle()
    if here.door.handed is not None:
        here.wire.take_all()
        here.loop.pass_time(1.0)  # a client that was not read is looked after twice a second
    else:
        for _ in range(200):
            here.wire.reads_on()
            before = here.site.logged
            for _ in range(5):
                here.site.move()
                here.loop.settle()
            if here.site.logged == before:
                break
        here.loop.pass_time(PATIENCE)


def files(given: Iterable[Path]) -> list[Path]:
    return [one for path in given for one in (sorted(path.iterdir()) if path.is_dir() else [path])]


def replay(given: list[Path]) -> int:
    """Run files; the exit code. Tells which one fails."""
    import world

    world.quiet()
    loop = world.running_loop()
    scripts = files(given)
    failed = 0
    for file in scripts:
        try:
            here = once(loop, file.read_bytes())
        except Exception as error:
            failed += 1
            print(f"{file.name}: {type(error).__name__}: {error}", flush=True)
            if len(scripts) == 1:
                raise
            loop = world.running_loop()
            continue
        if len(scripts) == 1:
            assert isinstance(here, world.World)
            print(f"sent\n{bytes(here.wire.read)!r}\nreceived\n{bytes(here.wire.received)!r}")
            print(*here.site.begun, f"handed over: {here.door.handed!r}", sep="\n")
    print(f"{len(scripts)} scripts, {failed} findings")
    return 1 if failed else 0


def reduced() -> None:
    """Make the corpus as small as it may be, with what was found since."""
    import minimise
    import world

    world.quiet()
    loop = world.running_loop()
    scripts = files(path for path in (CORPUS, OUT / "corpus") if path.exists())
    kept, ways = minimise.reduce(scripts, lambda script: once(loop, script), CORPUS)
    print(f"{kept} of {len(scripts)} scripts, which take {ways} ways")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seconds", type=int, help="fuzz for so long")
    what.add_argument("--replay", type=Path, nargs="+", help="run files, or all of a folder")
    what.add_argument("--minimise", action="store_true", help="reduce the corpus and out/corpus to what they cover")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        if arguments.seconds:
            fuzz(arguments.seconds)
        elif arguments.minimise:
            reduced()
        else:
            sys.exit(replay(arguments.replay))


if __name__ == "__main__":
    main()
