"""The signature on what webhooks get, beside the reference library's."""

import base64
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as ReferenceWebhook

from chalicelib.webhooks import signature


def test_the_signature_is_that_of_the_reference_libraries() -> None:
    """The vector that the test suites of all libraries of the Standard Webhooks project share."""
    signed = signature.sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(
    key=st.binary(min_size=24, max_size=64),
    message_id=st.from_regex(r"[a-z0-9.-]{1,60}", fullmatch=True),
    timestamp=st.integers(min_value=0, max_value=4_102_444_800),
    body=st.text(),
)
def test_it_agrees_with_the_reference_library_on_anything(
    key: bytes, message_id: str, timestamp: int, body: str
) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    reference = ReferenceWebhook(secret).sign(message_id, datetime.fromtimestamp(timestamp, UTC), body)
    assert signature.sign(secret, message_id, timestamp, body.encode()) == reference


def test_both_secrets_verify_while_one_replaces_the_other() -> None:
    old, new = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
    now = int(datetime.now(UTC).timestamp())
    for secret in (old, new):
        headers = signature.headers((new, old), "id", now, b'{"a":1}')
        assert ReferenceWebhook(secret).verify(b'{"a":1}', headers) == {"a": 1}
    assert headers["webhook-signature"].count("v1,") == 2
