"""Thousands of collected tests are no garbage: Python's collector looks at them neither meanwhile nor afterwards."""

import gc

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
