"""Time stamps of every kind, and the time that is made of them."""

import pytest

from chalicelib.media.timeline import FORWARDS, Timeline


def placed(stamps: list[float | None], duration: float = 0.5, start: float = 0.0) -> list[float]:
    timeline = Timeline(start, FORWARDS)
    clock = timeline.clock()
    return [timeline.place(clock, stamp, duration) for stamp in stamps]


@pytest.mark.parametrize(
    ("stamps", "start", "expected"),
    [
        ([0, 0.5, 1], 0, [0, 0.5, 1]),
        ([30, 30.5, 31], 30, [0, 0.5, 1]),
        ([-2, -1.5, -1], -2, [0, 0.5, 1]),
        ([0, 0.5, 4, 4.5], 0, [0, 0.5, 4, 4.5]),
        ([0, None, None, 1.5], 0, [0, 0.5, 1, 1.5]),
        ([50, 50.5, 3, 3.5, 4], 50, [0, 0.5, 1, 1.5, 2]),
        ([0, 0.5, 95_443, 95_443.5], 0, [0, 0.5, 1, 1.5]),
        ([0, 0.5, 0.4, 1], 0, [0, 0.5, 0.4, 1]),
    ],
    ids=["sound", "late", "early", "a gap", "missing", "begins anew", "far away", "a little back"],
)
def test_stamps_become_time(stamps: list[float | None], start: float, expected: list[float]) -> None:
    assert placed(stamps, start=start) == expected


def test_one_stream_follows_the_other_to_a_clock_that_began_anew() -> None:
    timeline = Timeline(50.0, FORWARDS)
    film, sound = timeline.clock(), timeline.clock()
    assert [timeline.place(film, stamp, 1.0) for stamp in (50.0, 51.0)] == [0.0, 1.0]
    assert timeline.place(sound, 50.0, 1.0) == 0.0

    assert timeline.place(film, 7.0, 1.0) == 2.0
    assert timeline.place(sound, 51.0, 1.0) == 1.0  # what was on its way before
    assert timeline.place(sound, 7.0, 1.0) == 2.0
    assert timeline.place(sound, 8.25, 1.0) == 3.25


def test_two_clocks_that_never_agree_both_go_on() -> None:
    timeline = Timeline(0.0, FORWARDS)
    one, other = timeline.clock(), timeline.clock()
    for step in range(5):
        assert timeline.place(one, step, 1.0) == step
        assert timeline.place(other, 1_000 + step, 1.0) == step
