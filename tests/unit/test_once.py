"""What is made once, however many threads ask first."""

import threading

import pytest

from chalicelib.once import once


def test_threads_that_come_while_it_is_made_wait_for_it() -> None:
    made: list[object] = []
    asked = threading.Semaphore(0)

    @once
    def make() -> object:
        for _ in range(8):
            asked.acquire()  # until all the others have come
        made.append(object())
        return made[-1]

    got: list[object] = []

    def ask() -> None:
        asked.release()
        got.append(make())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert got == made * 8


def test_it_is_made_again_when_it_was_forgotten_or_failed() -> None:
    calls: list[int] = []

    @once
    def make(number: int) -> int:
        calls.append(number)
        return 1 // number

    with pytest.raises(ZeroDivisionError):
        make(0)
    assert [make(1), make(1)] == [1, 1]
    make.cache_clear()
    make(1)
    assert calls == [0, 1, 1]


def test_there_is_one_of_each_kind() -> None:
    @once
    def make(_number: int) -> object:
        return object()

    first = make(1)

    assert make(2) is not first
    assert make(1) is first
