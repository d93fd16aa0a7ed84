"""What all tests have in common. Thousands of collected ones are no garbage: Python's collector looks at them neither
meanwhile nor afterwards. How long an example takes says something of the machine alone. And what gateways would keep in
the state folder of whoever runs the tests goes into one that lasts as long as they do.

Everything happens on loopback: no proxy of the machine has a part in it, and nobody of those whom it trusts, whose
certificates each of some thousand HTTP clients would take 30 ms to read."""

import atexit
import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

STATE = tempfile.mkdtemp(prefix="agentgateway-tests-")
OWNER = os.getpid()
os.environ["XDG_STATE_HOME"] = STATE
os.environ.pop("STATE_DIRECTORY", None)
OUTSIDE = dict(os.environ)
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "tests/fixtures/nobody.pem")
for name in [name for name in os.environ if name.lower() in PROXIES]:
    del os.environ[name]


@pytest.fixture(scope="session")
def outside() -> dict[str, str]:
    """The environment of those programs that fetch something from elsewhere."""
    return OUTSIDE


@atexit.register
def forget() -> None:
    if os.getpid() == OWNER:
        shutil.rmtree(STATE, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
