"""moto, with what the settings name already there: made once, and copied for every test.

To make four tables, four queues, a bucket and a topic through the SDK takes longer than most tests, and so
does `mock_aws` itself: it tells the `requests` library of every address of AWS, and nothing here uses it.
"""

import copy
import copyreg
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from moto.core import base_backend
from moto.core.model_instances import reset_model_data
from moto.core.models import botocore_stubber

Saved = list[tuple[Any, str, Any, dict[str, tuple[Any, dict[str, Any]]]]]
"""Of each service and account: the service, the account, what moto keeps of it, and region to its backend."""

SERVICES: list[Any] = vars(base_backend.BackendDict)["_instances"]
"""Of moto, those in use."""

_saved: dict[object, Saved] = {}

# The copy of a lock is a new one, that nobody holds.
for lock in (threading.Lock, threading.RLock, threading.Condition):
    copyreg.pickle(type(lock()), lambda _, make=lock: (make, ()))  # type: ignore[misc]


@contextmanager
def mocked(resources: object, make: Callable[[], None]) -> Iterator[None]:
    """AWS is moto for as long as the block lasts, and holds what `make` makes.

    Args:
        resources: what `make` depends on; it is called once for each.
    """
    botocore_stubber.enabled = True
    try:
        _forget()
        if resources not in _saved:
            make()
            _saved[resources] = _save()
        _restore(_saved[resources])
        yield
    finally:
        botocore_stubber.enabled = False
        _forget()


def _forget() -> None:
    """Every service is as before its first use; no backend is reset, as that would empty what is saved."""
    for service in SERVICES:
        dict.clear(service)
    SERVICES.clear()
    reset_model_data()


def _save() -> Saved:
    saved: Saved = []
    for service in SERVICES:
        for account, regions in service.items():
            backends = {region: (backend, _copied(backend)) for region, backend in dict.items(regions)}
            saved.append((service, account, regions, backends))
    return saved


def _restore(saved: Saved) -> None:
    for service, account, regions, backends in saved:
        dict.clear(regions)
        for region, (backend, content) in backends.items():
            backend.__dict__ = _copied(backend, content)
            regions[region] = backend
        service[account] = regions
        if service not in SERVICES:
            SERVICES.append(service)


def _copied(backend: Any, content: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a backend holds, or held; where that speaks of the backend itself, the copy does, too."""
    return copy.deepcopy(vars(backend) if content is None else content, {id(backend): backend})
