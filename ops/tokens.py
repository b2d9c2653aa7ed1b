"""Development tokens: what `make token` prints, and the secret of a local stack that asks for them."""

import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from ops import state

SECRET_FILE = "jwt-secret"


def local_variables(state_dir: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The settings of a local stack that asks for tokens; makes it a secret unless it has one."""
    return {"AUTH_MODE": "jwt", "JWT_SECRET": find_secret(state_dir, environ) or _new_secret(state_dir)}


def find_secret(state_dir: Path, environ: Mapping[str, str]) -> str | None:
    """JWT_SECRET, or the secret that was made for the local stack of this directory."""
    if given := environ.get("JWT_SECRET"):
        return given
    try:
        return (state_dir / SECRET_FILE).read_text()
    except OSError:
        return None


def _new_secret(state_dir: Path) -> str:
    secret = secrets.token_hex(32)
    state.make(state_dir)
    with os.fdopen(
        os.open(state_dir / SECRET_FILE, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w"
    ) as file:
        file.write(secret)
    return secret


def make(
    user: str, secret: str, *, hours: float = 1, issuer: str | None = None, audience: str | None = None
) -> str:
    """A token with which `user` may call, for so many hours."""
    import jwt

    now = int(time.time())
    claims: dict[str, object] = {"sub": user, "iat": now, "exp": now + int(hours * 3600)}
    claims |= {"iss": issuer} if issuer else {}
    claims |= {"aud": audience} if audience else {}
    return jwt.encode(claims, secret, algorithm="HS256")
