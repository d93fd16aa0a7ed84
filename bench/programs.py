"""The programs that make and answer the load: two in C beside this file, built on demand, and wrk."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BIN = HERE / "bin"


def build(name: str) -> Path:
    """The program made from `name`.c, newer than its source."""
    source, program = HERE / f"{name}.c", BIN / name
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return program
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        sys.exit("bench: no C compiler; install one: apt-get install gcc libc6-dev")
    BIN.mkdir(exist_ok=True)
    print(f"building {name}", flush=True)
    subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", program, source], check=True)
    return program


def wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        sys.exit("bench: wrk is not installed: apt-get update && apt-get install wrk (macOS: brew install wrk)")
    return found
