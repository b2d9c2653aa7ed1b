"""Cursors come back as they were given, or are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import cursors
from chalicelib.errors import BadRequest


@given(st.text(min_size=1))
def test_a_cursor_leads_back_to_its_place(place: str) -> None:
    assert cursors.decode(cursors.encode(place), lambda text: text == place) == place


@pytest.mark.parametrize("cursor", ["", "%", "a", "é", "AAAA", cursors.encode("elsewhere"), "=" * 9])
def test_what_this_api_never_gave_is_refused(cursor: str) -> None:
    with pytest.raises(BadRequest) as caught:
        cursors.decode(cursor, lambda text: text == "a place")
    assert caught.value.code == "bad_cursor"
