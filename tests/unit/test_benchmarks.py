"""The harness of `make bench`; and what docs/performance.md says is what was measured."""

from fractions import Fraction
from pathlib import Path

import pytest

from benchmarks import page, registry, results
from benchmarks.bench import Bench, opened
from benchmarks.comparison import Comparison, Goal, Result, Rounds, by_turns, summary
from benchmarks.growing import Growing


def row(goal: str | None = None, name: str = "walk") -> Comparison:
    return Comparison(name, "ours", "theirs", "ms", lambda _: Rounds([1.0], [2.0]), goal)


def result(name: str = "walk") -> Result:
    return summary(row("≤ 1", name), Rounds([1.0, 2.0], [4.0, 8.0]))


def test_the_two_are_measured_by_turns_and_each_goes_first_as_often() -> None:
    order: list[str] = []
    heard: list[float] = []

    def measured(who: str) -> float:
        order.append(who)
        return float(len(order))

    with opened() as bench:
        bench.say = heard.append
        rounds = by_turns(bench, lambda: measured("a"), lambda: measured("b"), rounds=4, warm_up=1)

    assert "".join(order) == "ab" + "abbaabba"
    assert (len(rounds.ours), len(rounds.theirs)) == (4, 4)
    assert heard == [0.25, 0.5, 0.75, 1.0]


def test_one_slow_round_does_not_move_the_ratio() -> None:
    found = summary(row("≤ 0.5"), Rounds([1.0, 1.0, 90.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0, 2.0]))

    assert (found.ours, found.theirs, found.ratio, found.met) == (1.0, 2.0, 0.5, True)
    assert found.spread == (0.5, 0.5)


def test_figures_that_were_not_measured_together_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        summary(row(), Rounds([1.0, 2.0], [1.0]))


@pytest.mark.parametrize(
    ("text", "bound", "met", "missed"),
    [("≤ 1/15", Fraction(1, 15), 0.06, 0.07), ("≥ 0.5", Fraction(1, 2), 0.5, 0.49)],
)
def test_a_goal_is_a_sign_and_a_number(text: str, bound: Fraction, met: float, missed: float) -> None:
    goal = Goal.parse(text)

    assert goal.bound == bound
    assert goal.is_met_by(met)
    assert not goal.is_met_by(missed)


@pytest.mark.parametrize("text", ["0.5", "< 0.5", "≤ fast"])
def test_what_is_no_goal_is_said_so(text: str) -> None:
    with pytest.raises(ValueError, match=r"no goal|Invalid"):
        Goal.parse(text)


def test_without_a_goal_nothing_is_met_or_missed() -> None:
    assert summary(row(None), Rounds([1.0], [2.0])).met is None


def test_what_is_costly_is_started_once_and_stopped_at_the_end(tmp_path: Path) -> None:
    from contextlib import ExitStack, contextmanager

    told: list[str] = []

    @contextmanager
    def costly():  # type: ignore[no-untyped-def]
        told.append("started")
        yield "it"
        told.append("stopped")

    with ExitStack() as stack:
        bench = Bench(tmp_path, stack)
        assert [bench.shared("it", costly), bench.shared("it", costly)] == ["it", "it"]
        assert told == ["started"]
    assert told == ["started", "stopped"]


def test_a_part_is_chosen_by_how_its_name_begins() -> None:
    assert {c.name.partition("_")[0] for c in registry.chosen(["thumb", "pdf"])} == {"thumb", "pdf"}
    assert registry.chosen([]) == list(registry.ALL)
    with pytest.raises(ValueError, match="no comparison begins with 'thumbs'"):
        registry.chosen(["thumbs"])


def test_each_comparison_has_a_name_of_its_own_and_a_goal_that_can_be_read() -> None:
    names = [comparison.name for comparison in registry.ALL]

    assert len(set(names)) == len(names)
    assert all(Goal.parse(comparison.goal) for comparison in registry.ALL if comparison.goal)


def test_a_part_that_is_measured_again_leaves_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "COMPARED", ("chalice",))
    path = tmp_path / "results.json"
    results.write([result("walk"), result("run")], {"sharp": "1"}, path)
    results.write([summary(row("≤ 1", "run"), Rounds([9.0], [3.0]))], {}, path)

    found = results.read(path)
    assert (found["walk"]["ratio"], found["run"]["ratio"], found["run"]["met"]) == (0.25, 3.0, False)
    assert found[results.ABOUT]["versions"].keys() >= {"sharp", "chalice"}


def test_the_page_says_what_was_measured() -> None:
    """`make bench` writes both; whoever changes one by hand is found here."""
    assert page.shown() == page.tables(results.read())


def test_what_is_measured_is_what_there_is_to_measure() -> None:
    measured = results.read().keys() - {results.ABOUT}

    assert measured == {comparison.name for comparison in registry.ALL}
    assert all(results.read()[c.name]["goal"] == c.goal for c in registry.ALL)


def test_a_growing_file_gives_each_whole_line_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    growing = Growing(path)
    assert growing.lines() == []

    path.write_text("one\ntw")
    assert growing.lines() == ["one"]
    assert growing.lines() == []

    with path.open("a") as file:
        file.write("o\n\nthree\n")
    assert growing.lines() == ["two", "", "three"]
