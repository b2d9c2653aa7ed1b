"""The order in which test files begin."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import order
from tests.order import SECONDS, file_of, woven

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class One:
    nodeid: str


def files(*names: str) -> list[One]:
    return [One(f"{name}::test_{number}") for name in names for number in (2, 1)]


def begun(tests: list[One]) -> list[str]:
    return list(dict.fromkeys(map(file_of, tests)))


@pytest.fixture(autouse=True)
def _seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "SECONDS", {"tests/stack/b.py": 8, "tests/unit/y.py": 4, "tests/unit/z.py": 3})


def test_the_longest_begin_first_and_those_that_wait_beside_those_that_do_not() -> None:
    names = ("tests/stack/a.py", "tests/stack/b.py", "tests/unit/x.py", "tests/unit/y.py", "tests/unit/z.py")

    assert begun(woven(files(*names))) == [
        *("tests/stack/b.py", "tests/unit/y.py"),
        *("tests/unit/z.py", "tests/unit/x.py", "tests/stack/a.py"),
    ]


def test_all_tests_are_there_and_those_of_a_file_in_their_order() -> None:
    tests = files("tests/unit/x.py", "tests/stack/b.py", "tests/unit/y.py")
    done = woven(tests)

    assert sorted(done, key=tests.index) == tests
    for name in begun(tests):
        assert [one for one in done if file_of(one) == name] == [one for one in tests if file_of(one) == name]


def test_a_run_of_some_files_has_an_order_too() -> None:
    assert woven([]) == []
    assert begun(woven(files("tests/unit/x.py"))) == ["tests/unit/x.py"]


def test_what_has_been_measured_is_there() -> None:
    assert [name for name in SECONDS if not (ROOT / name).exists()] == []
