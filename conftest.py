"""What all tests have in common. Thousands of collected ones are no garbage: Python's collector looks at them neither
meanwhile nor afterwards. How long an example takes says something of the machine alone. And what gateways would keep in
the state folder of whoever runs the tests goes into one that lasts as long as they do."""

import atexit
import gc
import os
import shutil
import tempfile

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

STATE = tempfile.mkdtemp(prefix="agentgateway-tests-")
OWNER = os.getpid()
os.environ["XDG_STATE_HOME"] = STATE
os.environ.pop("STATE_DIRECTORY", None)


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
