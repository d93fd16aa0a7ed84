"""What all tests have in common. Thousands of collected ones are no garbage: Python's collector looks at them neither
meanwhile nor afterwards. And how long an example takes says something of the machine alone."""

import gc

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
