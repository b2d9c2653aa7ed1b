"""Entity tags, as RFC 9110 compares them."""

import pytest

from chalicelib.conditional import matches, strong_etag

TAG = strong_etag("body")


def test_other_bytes_have_another_tag() -> None:
    assert strong_etag("body") == TAG != strong_etag("body ")
    assert TAG[0] == TAG[-1] == '"'


@pytest.mark.parametrize(
    "header", [TAG, f"W/{TAG}", f'"other", {TAG}', f'W/"a,b",W/{TAG}', "*", " * ", f"{TAG},", f" {TAG} "]
)
def test_a_client_that_has_it_is_known(header: str) -> None:
    assert matches(header, TAG)


@pytest.mark.parametrize("header", ["", '"other"', TAG.strip('"'), 'W/"', '"*"', f'"x{TAG[1:]}', "garbage"])
def test_a_client_that_has_something_else_is_not(header: str) -> None:
    assert not matches(header, TAG)
