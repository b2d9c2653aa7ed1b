"""How the fake's services refuse a call; `aws` makes the SDK's own exception of it."""

from typing import Any


class Refused(Exception):
    def __init__(self, status: int, code: str, **more: Any) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.more = more
        """What stands in the answer beside its `Error`."""
