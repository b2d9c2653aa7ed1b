"""Modules that load when something of them is first used.

The HTTP function answers most requests with a few of the modules that the map names. What it does not use, a
cold start need not pay for. Every other function is called for one thing, and loads all there is before:
Lambda gives a function more of a processor while it starts than it may have later.
"""

import os
from importlib import import_module
from typing import Any

HTTP_HANDLERS = ("", "app.app")
"""Of `_HANDLER`, where Lambda says what it will call; "" is not on Lambda."""


class Lazy:
    """Stands for a module where that is used. Loading is Python's own, and so safe between threads."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)


def modules(*names: str) -> list[Any]:
    """Stand-ins for modules of `chalicelib`, in the order of their names.

    For who checks types, the same modules are imported under `TYPE_CHECKING`.
    """
    full = [f"chalicelib.{name}" for name in names]
    if os.environ.get("_HANDLER", "") in HTTP_HANDLERS:
        return [Lazy(name) for name in full]
    return [import_module(name) for name in full]
