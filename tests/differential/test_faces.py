"""The same bytes to the edge and to the ASGI twin: same statuses, same requests passed on, same fate of the connection.

`DIFFERENTIAL_REQUESTS=100000 pytest tests/differential` sends more than the usual number, and other ones each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from .differences import DIFFERENCES, Difference, comparable, difference
from .faces import Faces
from .requests import GOOD, conversations

USUAL = 5000
REQUESTS = int(os.environ.get("DIFFERENTIAL_REQUESTS", USUAL))


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faces]:
    both = Faces(tmp_path_factory.mktemp("faces"))
    yield both
    both.close()


@pytest.mark.timeout(60 + REQUESTS // 50)
@settings(
    max_examples=REQUESTS,
    derandomize=REQUESTS == USUAL,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@example([b"P", b"RI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
@example([b"POST /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\n", b"hi"])
@given(conversations())
def test_both_faces_make_the_same_of_the_same_bytes(faces: Faces, pieces: list[bytes]) -> None:
    edge, twin = faces.fates(pieces)
    assert comparable(edge) == comparable(twin) or difference(edge, twin, b"".join(pieces)), (edge, twin)


@pytest.mark.parametrize("data", GOOD)
def test_what_is_in_order_is_the_same_at_every_split(faces: Faces, data: bytes) -> None:
    whole, *_ = fates = [faces.fates([data[:at], data[at:]])[0] for at in range(len(data))]
    assert [comparable(fate) for fate in fates] == [comparable(whole)] * len(data)


@pytest.mark.parametrize("named", DIFFERENCES, ids=lambda one: one.what)
def test_every_difference_on_the_list_is_one(faces: Faces, named: Difference) -> None:
    edge, twin = faces.fates([named.example])
    assert comparable(edge) != comparable(twin)
    assert named.holds(comparable(edge), comparable(twin)) and named.found.search(named.example), (edge, twin)
    assert difference(edge, twin, named.example) is named


def test_the_list_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "differences.md").read_text()
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.count("|") == 3]
    told = {(what.strip(), section.strip()) for what, section in rows}
    assert {(one.what, one.section) for one in DIFFERENCES} <= told
