"""How many AWS calls a file costs, and that docs/cost-and-scale.md says so."""

import json
from collections.abc import Callable

import pytest

from benchmarks import burst, cost
from benchmarks.designs import Design, Use, designs
from tests.unit.counted import EVENTS, FILE, WORK, counted

GOAL = 9


def test_a_light_file_costs_nine_calls_from_its_event_to_its_notification(
    figure: Callable[[str], None],
) -> None:
    light = counted("light")
    figure(f"AWS calls of a light file, intake to notification: {light.calls.total()}")
    assert light.calls.total() <= GOAL, light.calls
    assert set(light.invocations) == {"on_upload", "consume", "notify"}


def test_an_output_and_an_event_cost_a_call_each() -> None:
    light = counted("light").calls
    assert counted("text").calls - light == {"s3.PutObject": 1}
    assert counted("data").calls - light == {"dynamodb.PutItem": EVENTS}


def test_signing_calls_nobody() -> None:
    assert counted("presign").calls.total() == 0


@pytest.mark.parametrize("work", WORK)
def test_the_calls_on_file_are_those_that_are_made(work: str) -> None:
    """When they are meant to change: python -m tests.unit.counted, then python -m benchmarks.cost --write."""
    assert json.loads(FILE.read_text(encoding="utf-8"))[work] == counted(work).as_json()


def test_the_page_shows_what_is_reckoned() -> None:
    """When it is meant to change: python -m benchmarks.cost --write, and benchmarks.burst --write."""
    page = cost.PAGE.read_text(encoding="utf-8")
    assert cost.written(page) == page
    bursts = {name: burst.simulate(setting) for name, setting in burst.SCENARIOS.items()}
    assert cost.fill(page, "burst", burst.bursts_table(bursts)) == page


def test_every_price_has_a_source_and_is_used() -> None:
    used = {
        use.price for design in designs() for use in (*design.per_file, *design.per_month, *design.in_use)
    }
    assert used == set(cost.PRICES["prices"])
    assert all(
        price["source"].startswith("https://aws.amazon.com/") for price in cost.PRICES["prices"].values()
    )


def test_a_million_files_are_added_up_by_price() -> None:
    design = Design("two PUTs and a read", (Use("s3.write", 2), Use("s3.read", 1)))
    price = {name: entry["dollars"] / entry["per"] for name, entry in cost.PRICES["prices"].items()}
    assert cost.per_million(design) == pytest.approx(1e6 * (2 * price["s3.write"] + price["s3.read"]))
    assert cost.per_month(design) == 0
