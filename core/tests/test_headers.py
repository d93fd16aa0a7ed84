"""Header fields: what is passed on, and what is set."""

from hypothesis import given
from hypothesis import strategies as st

from agentgateway.exchange import HOP_BY_HOP, Headers

NAMES = st.sampled_from(["connection", "te", "upgrade", "keep-alive", "x-a", "x-b", "host"])
FIELDS = st.lists(st.tuples(NAMES, st.sampled_from(["", "x-a", "X-A , te", "close", "x-b,host"])), max_size=6)


def headers(fields: list[tuple[str, str]]) -> Headers:
    return Headers([(name.encode(), value.encode()) for name, value in fields])


@given(FIELDS)
def test_what_is_passed_on_is_all_but_hop_by_hop_fields_and_what_connection_names(fields):
    named = {part.strip().lower() for name, value in fields if name == "connection" for part in value.split(",")}
    kept = [(name, value) for name, value in fields if name.encode() not in HOP_BY_HOP and name not in named]
    given_headers = headers(fields)
    assert list(given_headers.end_to_end()) == kept
    assert list(given_headers) == fields


@given(FIELDS, FIELDS)
def test_an_update_sets_each_field_once_and_leaves_the_others(fields, new):
    updated = headers(fields)
    updated.update(new)
    wanted = dict(new)
    assert list(updated) == [field for field in fields if field[0] not in wanted] + list(wanted.items())


@given(FIELDS)
def test_a_field_is_there_if_it_has_a_value_even_an_empty_one(fields):
    for name in ("te", "x-a", "x-c"):
        assert (name in headers(fields)) == (name in dict(fields))
