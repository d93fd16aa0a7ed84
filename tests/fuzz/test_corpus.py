"""Every script of the corpus, through the whole edge, on every run of the tests; no fuzzer is needed for that."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_what_the_fuzzer_found_holds():
    command = [sys.executable, str(HERE / "fuzz_edge.py"), "--replay", str(HERE / "corpus")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 findings" in done.stdout
    assert len(list((HERE / "corpus").iterdir())) > 50
