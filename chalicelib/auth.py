"""Who the caller is: the `sub` of a bearer token (RFC 6750, RFC 7519), checked as RFC 8725 advises.

Checked here, inside the HTTP handler, and not by an authorizer of API Gateway's: so that a refusal has the
one error shape, a code, and says what to do.

Neither the token nor any part of it is ever logged, or repeated in an answer.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from chalicelib import keys
from chalicelib.errors import BadRequest, TokenRefused, Unauthorized
from chalicelib.settings import Settings, TokenRules

if TYPE_CHECKING:
    from chalicelib.jwks import KeySet

LEEWAY_SECONDS = 30
"""By how much the clocks of issuer and service may differ."""

MAX_TOKEN_BYTES = 8 * 1024


def owner(settings: Settings, headers: Mapping[str, str]) -> str:
    """The owner on whose behalf a request is made.

    Args:
        headers: of the request; names in lower case, or in a mapping that does not care.

    Raises:
        Unauthorized: this deployment wants to know who calls, and the caller did not say.
        TokenRefused: a token that is expired, or that proves nothing.
        Unavailable: nobody can be told from anybody, as the issuer's keys cannot be had.
    """
    if settings.auth_mode == "none":
        return keys.NOBODY
    assert settings.tokens is not None, "the settings see to it"
    claims = _claims(settings.tokens, _bearer_token(headers))
    try:
        return keys.owner_segment(claims["sub"])
    except BadRequest:
        raise TokenRefused("The sub of this token is empty or too long to be an owner.") from None


def _bearer_token(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Send a token: Authorization: Bearer <JWT>.", code="token_missing")
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise TokenRefused("This is no token: three parts in base64url, with a dot between each two.")
    return token.strip()


def _claims(rules: TokenRules, token: str) -> dict[str, Any]:
    """What a token says, once it is known who said it and that it is said to us and now."""
    import jwt

    try:
        key, algorithm = _key(rules, jwt.get_unverified_header(token))
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],  # one, and the key's own: nothing that the token says has a part in it
            issuer=rules.issuer,
            audience=rules.audience,
            leeway=LEEWAY_SECONDS,
            options={
                "require": ["exp", "sub"],
                "verify_aud": rules.audience is not None,
                "enforce_minimum_key_length": True,
            },
        )
    except jwt.ExpiredSignatureError:
        raise TokenRefused("This token has expired: get a new one.", code="token_expired") from None
    except jwt.ImmatureSignatureError:
        raise TokenRefused("This token is not valid yet: its nbf or iat lies in the future.") from None
    except jwt.MissingRequiredClaimError as error:
        raise TokenRefused(f"This token lacks the claim {error.claim}.") from None
    except (jwt.InvalidIssuerError, jwt.InvalidAudienceError):
        raise TokenRefused("This token was made by or for somebody else: see its iss and aud.") from None
    except jwt.PyJWTError:
        raise TokenRefused("This is no token of ours: it is malformed, or its signature is not.") from None


def _key(rules: TokenRules, header: Mapping[str, Any]) -> tuple[Any, str]:
    """The key that must have signed, and the algorithm it is for."""
    if rules.secret is not None:
        return rules.secret.encode("utf-8", "surrogateescape"), "HS256"
    assert rules.jwks_url is not None, "the settings see to it"
    found = _key_set(rules.jwks_url).find(header.get("kid"))
    if found is None:
        raise TokenRefused("This token is signed with a key that its issuer does not publish.")
    return found.key, found.algorithm_name


@lru_cache(maxsize=1)
def _key_set(url: str) -> "KeySet":
    from chalicelib.jwks import KeySet

    return KeySet(url)
