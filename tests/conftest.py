"""What all tests share: figures that are shown at the end, whichever process measured them."""

import gc
from collections.abc import Callable

import hypothesis
import pytest

from tests import order
from tests.stack.proof import Proof

FIGURE = "figure"

# How long an example takes says more of what else the machine does than of the code.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Proof(config), "proof")


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Have a line shown below the results; what a worker of pytest-xdist prints is seen by nobody."""
    return lambda line: record_property(FIGURE, line)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = order.woven(items)


def pytest_collection_finish() -> None:
    """What was imported stays, and clients of AWS are made by the thousand: to look through all of that again
    and again is a sixth of the unit tests' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = [
        str(value)
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == FIGURE and report.when == "call"
    ]
    if lines:
        terminalreporter.section("figures")
        terminalreporter.write("\n".join(lines) + "\n")
