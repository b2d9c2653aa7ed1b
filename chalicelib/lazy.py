"""Modules that load when something of them is first used.

    with lazy.imports():
        from chalicelib import downloads, ledger

The HTTP function answers most requests with a few of the modules that the map names. What it does not use, a
cold start need not pay for. Every other function is called for one thing, and loads all there is before:
Lambda gives a function more of a processor while it starts than it may have later.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from types import ModuleType
from typing import Any

HTTP_HANDLERS = ("", "app.app")
"""Of `_HANDLER`, where Lambda says what it will call; "" is not on Lambda."""

_put_off: ContextVar[bool] = ContextVar("put_off", default=False)
"""Of the thread that imports: what others import meanwhile is loaded as ever."""


@contextmanager
def imports() -> Iterator[None]:
    """Within, `from chalicelib import x` only gives `x` a name, in the function that answers requests."""
    before = _put_off.set(os.environ.get("_HANDLER", "") in HTTP_HANDLERS)
    try:
        yield
    finally:
        _put_off.reset(before)


class _Later:
    """Stands for a module where that is used. Loading is Python's own, and so safe between threads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: ModuleType | None = None

    def __getattr__(self, attribute: str) -> Any:
        if self._module is None:
            self._module = import_module(self._name)
        return getattr(self._module, attribute)


def submodule(package: str, name: str) -> Any:
    """What a package answers who asks it for a name that it does not have, as its `__getattr__` (PEP 562).

    An import asks for a submodule in this way before it loads it.

    Raises:
        AttributeError: nothing is to be put off here; Python then loads the module, if there is one.
    """
    if _put_off.get() and not name.startswith("__"):
        return _Later(f"{package}.{name}")
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
