"""Who the caller is: which tokens open the door, and how each of the others is refused."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import auth, jwks
from chalicelib.errors import TokenRefused, Unauthorized, WaybillError
from chalicelib.settings import Settings, TokenRules

SECRET = "a secret of the tests, which is long enough"
ISSUER = "https://issuer.example.com/"
JWKS_URL = "https://issuer.example.com/jwks.json"


def now() -> int:
    return int(time.time())


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC = ec.generate_private_key(ec.SECP256R1())
RSA_PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    """A key as an issuer publishes it."""
    algorithm = jwt.algorithms.ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else None
    published = (algorithm or jwt.algorithms.RSAAlgorithm).to_jwk(key.public_key(), as_dict=True)
    return {**published, "kid": kid, **more}


PUBLISHED = json.dumps(
    {
        "keys": [
            {"kty": "oct", "k": "c2VjcmV0", "kid": "oct-1"},
            {"kty": "something new", "kid": "new-1"},
            "no key at all",
            jwk(RSA, "rsa-1", use="sig", alg="RS256"),
            jwk(EC, "ec-1"),
            jwk(WEAK_RSA, "weak-1"),
            jwk(OTHER_RSA, "for-encryption", use="enc"),
            jwk(OTHER_RSA, "strange", alg="HS256"),
        ]
    }
).encode()


def claims(**changes: Any) -> dict[str, Any]:
    """Of a good token; a claim that is changed to None is left out."""
    good = {"sub": "alice", "exp": now() + 600, "iat": now(), "iss": ISSUER, "aud": "waybill"}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def hs256(**changes: Any) -> str:
    return jwt.encode(claims(**changes), SECRET, algorithm="HS256")


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(header: Any, payload: Any, secret: bytes = SECRET.encode()) -> str:
    """Signed with HMAC-SHA256 whatever the header says."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signing_input = ".".join(map(b64, parts))
    return f"{signing_input}.{b64(hmac.digest(secret, signing_input.encode(), hashlib.sha256))}"


HS = {"alg": "HS256", "typ": "JWT"}


@pytest.fixture
def with_secret(settings: Settings) -> Settings:
    return replace(settings, auth_mode="jwt", tokens=TokenRules(SECRET, None, None, None))


@pytest.fixture
def with_keys(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setattr(jwks, "_fetch", lambda url: {JWKS_URL: PUBLISHED}[url])
    auth._key_set.cache_clear()
    yield replace(settings, auth_mode="jwt", tokens=TokenRules(None, JWKS_URL, ISSUER, "waybill"))
    auth._key_set.cache_clear()


def owner(settings: Settings, token: str) -> str:
    return auth.owner(settings, {"authorization": f"Bearer {token}"})


def refusal(settings: Settings, token: str) -> TokenRefused:
    with pytest.raises(TokenRefused) as caught:
        owner(settings, token)
    error = caught.value
    assert (error.status, error.headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert error.message.endswith(".")
    assert token not in error.message
    return error


# --- Without a token ----------------------------------------------------------------------------------------


def test_where_nobody_is_asked_everybody_is_nobody(settings: Settings) -> None:
    assert auth.owner(settings, {}) == "_"
    assert auth.owner(settings, {"authorization": "Bearer nonsense"}) == "_"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer  "},
        {"authorization": "Basic YWxpY2U6c2VjcmV0"},
        {"authorization": hs256()},
    ],
)
def test_who_sends_no_token_is_told_how(with_secret: Settings, headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized, match="Authorization: Bearer <JWT>") as caught:
        auth.owner(with_secret, headers)

    assert (caught.value.status, caught.value.code) == (401, "token_missing")
    assert caught.value.headers["WWW-Authenticate"] == "Bearer"


# --- With a shared secret -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_sub_of_a_good_token_is_the_owner(with_secret: Settings, scheme: str) -> None:
    assert auth.owner(with_secret, {"authorization": f"{scheme} {hs256()}"}) == "alice"


@pytest.mark.parametrize(("sub", "segment"), [("auth0|7", "auth0=7C7"), ("_", "=5F"), ("é", "=C3=A9")])
def test_a_sub_becomes_one_safe_segment_and_never_nobody(
    with_secret: Settings, sub: str, segment: str
) -> None:
    assert owner(with_secret, hs256(sub=sub)) == segment


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"exp": now() - 60}, "token_expired", "get a new one"),
        ({"exp": 0}, "token_expired", "get a new one"),
        ({"exp": None}, "token_invalid", "lacks the claim exp"),
        ({"sub": None}, "token_invalid", "lacks the claim sub"),
        ({"sub": ""}, "token_invalid", "empty"),
        ({"sub": "é" * 200}, "token_invalid", "too long"),
        ({"nbf": now() + 86_400}, "token_invalid", "not valid yet"),
        ({"iat": now() + 86_400}, "token_invalid", "not valid yet"),
    ],
)
def test_a_claim_that_does_not_hold_is_refused_by_name(
    with_secret: Settings, changes: dict[str, Any], code: str, says: str
) -> None:
    error = refusal(with_secret, hs256(**changes))

    assert error.code == code
    assert says in error.message


@pytest.mark.parametrize(
    "token",
    [
        "garbage",
        "a.b",
        "a.b.c",
        "..",
        "é.é.é",
        hs256() + "x",
        hs256()[:-2],
        hs256() + "," + hs256(),
        "A" * 100_000,
        by_hand(HS, claims(), b"another secret of the tests, also long enough"),
        by_hand(HS, claims(), b""),
        by_hand({"alg": "none"}, claims()),
        by_hand({"alg": "None"}, claims()),
        by_hand({"alg": "HS384"}, claims()),
        by_hand({"alg": "RS256"}, claims()),
        by_hand({"alg": ["HS256"]}, claims()),
        by_hand({"typ": "JWT"}, claims()),
        by_hand({**HS, "kid": 1}, claims()),
        by_hand({**HS, "crit": ["exp"]}, claims()),
        by_hand({**HS, "b64": False, "crit": ["b64"]}, claims()),
        by_hand(b"not json", claims()),
        by_hand([], claims()),
        by_hand(HS, b"not json"),
        by_hand(HS, b"\xff"),
        by_hand(HS, []),
        by_hand(HS, b"[" * 3_000),
        by_hand(HS, claims(sub=7)),
        by_hand(HS, claims(sub=["alice"])),
        by_hand(HS, claims(exp="soon")),
        by_hand(HS, claims(exp=float("nan"))),
        by_hand(HS, claims(exp={})),
        by_hand(HS, claims(nbf=[])),
        by_hand(HS, claims(iat="now")),
        by_hand(HS, claims(iat=float("inf"))),
        b64(b'{"alg":"none"}') + "." + b64(json.dumps(claims()).encode()) + ".",
        jwt.encode(claims(), RSA, algorithm="RS256"),
    ],
)
def test_whatever_proves_nothing_is_refused(with_secret: Settings, token: str) -> None:
    assert refusal(with_secret, token).code == "token_invalid"


def test_the_clocks_may_differ_a_little(with_secret: Settings) -> None:
    assert owner(with_secret, hs256(exp=now() - 2, nbf=now() + 10, iat=now() + 10)) == "alice"


@pytest.mark.parametrize("rule", ["issuer", "audience"])
def test_issuer_and_audience_count_once_they_are_set(with_secret: Settings, rule: str) -> None:
    claim = {"issuer": "iss", "audience": "aud"}[rule]
    assert with_secret.tokens
    strict = replace(with_secret, tokens=replace(with_secret.tokens, **{rule: "expected"}))

    assert owner(with_secret, hs256(**{claim: "whatever"})) == "alice"
    assert owner(strict, hs256(**{claim: "expected"})) == "alice"
    for wrong in ("expect", "expected ", "Expected", ""):
        assert refusal(strict, hs256(**{claim: wrong})).code == "token_invalid"
    assert claim in refusal(strict, hs256(**{claim: None})).message


def test_one_of_several_audiences_is_enough(with_secret: Settings) -> None:
    assert with_secret.tokens
    strict = replace(with_secret, tokens=replace(with_secret.tokens, audience="waybill"))

    assert owner(strict, hs256(aud=["other", "waybill"])) == "alice"
    assert refusal(strict, hs256(aud=["other"])).code == "token_invalid"
    assert refusal(strict, hs256(aud={"waybill": 1})).code == "token_invalid"


RULES = TokenRules(SECRET, None, None, None)


SEGMENTS = st.lists(st.binary().map(b64), min_size=3, max_size=3)


@given(st.one_of(st.text(), SEGMENTS.map(".".join)))
def test_no_text_does_anything_but_be_refused(text: str) -> None:
    with pytest.raises(Unauthorized):
        auth._claims(RULES, auth._bearer_token({"authorization": f"Bearer {text}"}))


# --- With the issuer's keys ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"), [(RSA, "RS256", "rsa-1"), (EC, "ES256", "ec-1")], ids=["RS256", "ES256"]
)
def test_a_token_of_the_issuer_s_opens_the_door(
    with_keys: Settings, key: Any, algorithm: str, kid: str
) -> None:
    assert owner(with_keys, jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": kid})) == "alice"


EVIL = {
    "jwk": jwk(OTHER_RSA, "rsa-1"),
    "jku": "https://evil.example.com/",
    "x5u": "https://evil.example.com/",
}


@pytest.mark.parametrize("header", EVIL)
def test_a_key_that_the_token_brings_along_counts_for_nothing(with_keys: Settings, header: str) -> None:
    brought = {"kid": "rsa-1", header: EVIL[header]}

    forged = jwt.encode(claims(), OTHER_RSA, algorithm="RS256", headers=brought)
    honest = jwt.encode(claims(), RSA, algorithm="RS256", headers=brought)

    assert refusal(with_keys, forged).code == "token_invalid"
    assert owner(with_keys, honest) == "alice"


@pytest.mark.parametrize(
    "token",
    [
        # The public key as an HMAC secret: RFC 8725, section 2.1.
        by_hand({"alg": "HS256", "kid": "rsa-1"}, claims(), RSA_PEM),
        by_hand({"alg": "HS256", "kid": "oct-1"}, claims(), b"secret"),
        by_hand({"alg": "HS256", "kid": "strange"}, claims(), RSA_PEM),
        by_hand({"alg": "none", "kid": "rsa-1"}, claims()),
        jwt.encode(claims(), RSA, algorithm="RS512", headers={"kid": "rsa-1"}),
        jwt.encode(claims(), RSA, algorithm="PS256", headers={"kid": "rsa-1"}),
        jwt.encode(claims(), EC, algorithm="ES256", headers={"kid": "rsa-1"}),
        jwt.encode(claims(), RSA, algorithm="RS256", headers={"kid": "ec-1"}),
        jwt.encode(claims(), WEAK_RSA, algorithm="RS256", headers={"kid": "weak-1"}),
        jwt.encode(claims(), OTHER_RSA, algorithm="RS256", headers={"kid": "for-encryption"}),
        jwt.encode(claims(), OTHER_RSA, algorithm="RS256", headers={"kid": "strange"}),
        jwt.encode(claims(), RSA, algorithm="RS256", headers={"kid": "../../etc/passwd"}),
        jwt.encode(claims(), RSA, algorithm="RS256"),  # names none of two keys
        jwt.encode(claims(iss="https://evil.example.com/"), RSA, algorithm="RS256", headers={"kid": "rsa-1"}),
        jwt.encode(claims(iss=None), RSA, algorithm="RS256", headers={"kid": "rsa-1"}),
        jwt.encode(claims(aud="another service"), RSA, algorithm="RS256", headers={"kid": "rsa-1"}),
        jwt.encode(claims(aud=None), RSA, algorithm="RS256", headers={"kid": "rsa-1"}),
    ],
)
def test_whatever_the_issuer_did_not_sign_for_us_is_refused(with_keys: Settings, token: str) -> None:
    assert refusal(with_keys, token).code == "token_invalid"


def test_an_expired_token_of_the_issuer_s_is_called_that(with_keys: Settings) -> None:
    token = jwt.encode(claims(exp=now() - 60), RSA, algorithm="RS256", headers={"kid": "rsa-1"})

    assert refusal(with_keys, token).code == "token_expired"


def test_an_issuer_that_cannot_be_reached_lets_nobody_in(
    with_keys: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(_url: str) -> bytes:
        raise OSError("no route")

    monkeypatch.setattr(jwks, "_fetch", unreachable)
    with pytest.raises(WaybillError) as caught:
        owner(with_keys, jwt.encode(claims(), RSA, algorithm="RS256", headers={"kid": "rsa-1"}))

    assert (caught.value.status, caught.value.code) == (503, "keys_unavailable")


def test_the_issuer_is_asked_once_for_many_tokens(
    with_keys: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return PUBLISHED

    monkeypatch.setattr(jwks, "_fetch", fetch)
    for _ in range(3):
        assert owner(with_keys, jwt.encode(claims(), EC, algorithm="ES256", headers={"kid": "ec-1"}))

    assert asked == [JWKS_URL]


# --- Nothing leaks ------------------------------------------------------------------------------------------


def test_no_refusal_is_logged_with_its_token(
    with_secret: Settings, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for token in (hs256(exp=1), "garbage.garbage.garbage", by_hand(HS, claims(sub=7))):
        refusal(with_secret, token)

    assert "".join(capfd.readouterr()) + caplog.text == ""


def test_the_secret_is_not_shown_with_the_settings(with_secret: Settings) -> None:
    assert SECRET not in repr(with_secret)
