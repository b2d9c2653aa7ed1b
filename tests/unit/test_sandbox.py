"""The sandbox: what decoders do at their worst costs one file, and what comes back is looked at.

The children of these tests run `hostile`, a processor that does what its file says.
"""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib import sandbox
from chalicelib.errors import DecodeFailed, DecodeStalled, NoTurn, Rejected, Unavailable
from chalicelib.processors import Event, Result
from chalicelib.sandbox import inside
from chalicelib.sandbox import pool as pools
from chalicelib.sandbox.pool import Pool
from chalicelib.settings import GiB
from tests.unit.sources import source

ROOT = Path(__file__).parents[2]
HOSTILE = "tests.unit.hostile:REGISTRY"
LONG = 60.0
SHORT = 0.5


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(2, GiB, HOSTILE)
    yield pool
    pool.close()


@pytest.fixture
def do(pool: Pool, tmp_path: Path) -> Callable[..., Result]:
    """Have a child of the pool behave in some way."""

    def run(behaviour: str, pool: Pool = pool, **limits: Any) -> Result:
        text = source(tmp_path, behaviour.encode(), "notes.txt", "text/plain")
        return pool.run("text", text, **({"cpu_seconds": 10, "wall_seconds": LONG} | limits))

    return run


Do = Callable[..., Result]


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 0


def idle_pids(pool: Pool) -> list[int]:
    return [child.pid for child in pool._idle]


def is_gone(pid: int) -> bool:
    """Also what nobody has collected yet runs no more."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class TestAnHonestProcessor:
    def test_its_result_comes_across(self, do: Do) -> None:
        result = do("make")
        assert result.metadata == {"é": [1, 2.5, None, True, {"a": "b"}]}
        assert [(o.name, o.content_type) for o in result.outputs] == [
            ("small.txt", "text/plain; charset=utf-8"),
            ("big.bin", "application/octet-stream"),
        ]
        bodies = [output.body for output in result.outputs]
        assert [body.read_bytes() for body in bodies if isinstance(body, Path)] == [
            b"from memory",
            b"from a file",
        ]
        assert list(result.events) == [
            Event("a", 0, '{"n": 1.10, "t": "é\u2028"}'),
            Event(None, 1, None, "big.bin"),
        ]
        assert result.events[1] == list(result.events)[1]

    def test_it_is_told_what_it_needs(self, do: Do) -> None:
        said = do("tell").metadata["said"]
        assert (said["filename"], said["mediaType"], said["rows"]) == ("notes.txt", "text/plain", 1_000_000)
        assert said["scratch"] == []

    def test_a_rejection_comes_across(self, do: Do, pool: Pool) -> None:
        with pytest.raises(Rejected) as caught:
            do("reject")
        assert caught.value.body() == {
            "error": "broken_line",
            "message": "Line 3 is no good: mend it.",
            "line": 3,
        }
        assert len(idle_pids(pool)) == 1

    def test_metadata_is_measured_in_characters_that_are_written_out(self, do: Do) -> None:
        names = ["列" * 57 + f"{number:03}" for number in range(200)]
        message = {"outcome": "result", "metadata": {"names": names}, "outputs": []}

        assert do(f"answer {json.dumps(message)}").metadata == {"names": names}

    def test_an_unexpected_exception_is_told_in_the_log_alone(
        self, do: Do, pool: Pool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(RuntimeError) as caught:
            do("stumble")
        assert "nobody expected this" not in str(caught.value)
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        (note,) = [line["note"] for line in lines if line["event"] == "sandbox.exception"]
        assert "in stumble" in note
        assert "nobody expected this" not in note  # it may quote the file
        assert idle_pids(pool) == []

    @pytest.mark.parametrize("what", ["nan", "object", "bytes"])
    def test_metadata_that_json_cannot_say_is_an_unexpected_exception(self, do: Do, what: str) -> None:
        with pytest.raises(RuntimeError):
            do(f"speak_no_json {what}")

    def test_the_processors_of_the_project_run_there(self, tmp_path: Path) -> None:
        pool = Pool(1, GiB)
        data = source(tmp_path, b'{"id": "a"}', "a.json", "application/json")
        result = pool.run("data", data, cpu_seconds=9, wall_seconds=LONG)
        assert list(result.events) == [Event("a", 0, '{"id": "a"}')]
        text = source(tmp_path, b"a\r\n", "a.txt", "text/plain")
        result = pool.run("text", text, cpu_seconds=9, wall_seconds=LONG)
        assert isinstance(result.outputs[0].body, Path)
        assert result.outputs[0].body.read_bytes() == b"a\n"
        pool.close()


class TestProgress:
    def test_it_is_told_while_the_work_goes_on(self, do: Do) -> None:
        heard: list[float] = []
        do("advance_slowly", on_progress=heard.append)
        assert heard == [0.25, 0.5, 0.75]

    @pytest.mark.parametrize(
        ("fractions", "expected"),
        [("0.5,0.6,0.7", [0.5]), ("7,8", [1.0]), ("-1,nan,0,0.2", [0.2]), ("-inf", [])],
    )
    def test_it_is_never_more_than_anybody_needs(self, do: Do, fractions: str, expected: list[float]) -> None:
        heard: list[float] = []
        assert do(f"advance {fractions}", on_progress=heard.append).metadata["said"] == "done"
        assert heard == expected

    def test_nobody_has_to_listen(self, do: Do) -> None:
        assert do("advance 0.5").metadata["said"] == "done"

    def test_each_file_begins_anew(self, do: Do) -> None:
        heard: list[float] = []
        for _ in range(2):
            do("advance 0.5", on_progress=heard.append)
        assert heard == [0.5, 0.5]

    def test_who_listens_may_end_the_work(self, do: Do, pool: Pool, tmp_path: Path) -> None:
        def stop(_: float) -> None:
            raise LookupError("the lease is lost")

        with pytest.raises(LookupError, match="the lease is lost"):
            do("advance_and_hang", on_progress=stop)
        assert idle_pids(pool) == []
        (place,) = tmp_path.rglob("pid")
        assert is_gone(int(place.read_text()))

    def test_what_is_claimed_is_clamped_and_only_grows(self, do: Do) -> None:
        heard: list[float] = []
        with pytest.raises(DecodeStalled):
            do("claim_progress 0.5 0.2 -3 0.7 0.7 1e300 1", on_progress=heard.append, wall_seconds=1.5)
        assert heard == [0.5, 0.7, 1.0]

    @pytest.mark.parametrize("said", ["null", "true", '"0.5"', "[]", "{}", "0.5 false"])
    def test_what_is_no_number_is_a_lie(self, do: Do, pool: Pool, said: str) -> None:
        assert is_a_lie(do, pool, f"claim_progress {said}")

    def test_a_flood_has_an_end(self, do: Do, pool: Pool) -> None:
        assert is_a_lie(do, pool, "claim_progress_for_ever")


class TestAHang:
    @pytest.mark.parametrize("behaviour", ["sleep", "ignore_alarms"])
    def test_that_computes_nothing_may_pass(self, do: Do, pool: Pool, behaviour: str) -> None:
        do("tell")
        (pid,) = idle_pids(pool)
        with pytest.raises(DecodeStalled) as caught:
            do(behaviour, wall_seconds=SHORT)
        assert (caught.value.code, caught.value.retryable) == ("decode_timeout", True)
        assert is_gone(pid)

    @pytest.mark.parametrize("behaviour", ["spin", "spin_in_c"])
    def test_that_computes_for_ever_is_the_file_s_own(self, do: Do, behaviour: str) -> None:
        with pytest.raises(DecodeFailed) as caught:
            do(behaviour, cpu_seconds=1)
        assert (caught.value.code, caught.value.retryable) == ("decode_timeout", False)

    def test_what_earlier_files_have_computed_is_not_counted(self, do: Do) -> None:
        pids = {do("compute 0.7", cpu_seconds=1).metadata["pid"] for _ in range(3)}
        assert len(pids) == 1

    def test_the_wall_stands_behind_the_limit_on_computing(self) -> None:
        assert sandbox.wall_seconds(10) == 15
        assert all(sandbox.wall_seconds(cpu) >= cpu + 2 for cpu in range(1, 601))


class TestACrash:
    @pytest.mark.parametrize("behaviour", ["segfault", "abort", "leave", "leave_politely"])
    def test_it_costs_the_file_that_caused_it(self, do: Do, pool: Pool, behaviour: str) -> None:
        with pytest.raises(DecodeFailed) as caught:
            do(behaviour)
        assert (caught.value.code, caught.value.retryable) == ("decode_crashed", False)
        assert idle_pids(pool) == []
        assert do("tell").metadata["said"]["seen"] == ["tell"]

    def test_a_file_is_not_judged_by_the_files_before_it(self, do: Do) -> None:
        do("tell")
        said = do("crash_when_warm").metadata["said"]
        assert said["seen"] == ["crash_when_warm"]
        assert said["scratch"] == []

    def test_a_second_crash_is_its_own(self, do: Do, pool: Pool) -> None:
        do("tell")
        with pytest.raises(DecodeFailed) as caught:
            do("segfault")
        assert caught.value.code == "decode_crashed"
        assert idle_pids(pool) == []

    def test_a_child_that_was_killed_may_not_have_been_the_one_to_blame(self, do: Do) -> None:
        """The kernel kills whom it likes when the machine's memory is used up."""
        with pytest.raises(DecodeStalled) as caught:
            do("be_killed")
        assert (caught.value.code, caught.value.retryable) == ("decode_out_of_memory", True)

    def test_a_child_that_died_while_idle_is_replaced(self, do: Do, pool: Pool) -> None:
        do("tell")
        (pid,) = idle_pids(pool)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: is_gone(pid))
        assert do("tell").metadata["said"]["seen"] == ["tell"]
        assert idle_pids(pool) != [pid]

    def test_one_that_cannot_even_start_is_not_the_file_s_fault(self, do: Do) -> None:
        with pytest.raises(Unavailable) as caught:
            do("tell", Pool(1, GiB, "tests.unit.no_such_module:REGISTRY"))
        assert caught.value.code == "sandbox_unavailable"


class TestMemory:
    @pytest.mark.parametrize("behaviour", ["eat", "nibble", "eat_in_c"])
    def test_gigabytes_are_refused(self, do: Do, pool: Pool, behaviour: str) -> None:
        with pytest.raises(DecodeFailed) as caught:
            do(behaviour)
        assert (caught.value.code, caught.value.retryable) == ("decode_out_of_memory", False)
        assert idle_pids(pool) == []

    def test_a_file_made_of_it_has_an_end(self, do: Do, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(RuntimeError):
            do("write_much")
        assert "File too large" in capsys.readouterr().out


class TestTheProcess:
    def test_credentials_stay_outside(self, do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in (
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "JWT_SECRET",
            "PGPASSWORD",
        ):
            monkeypatch.setenv(name, "hunter2")
        monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
        environ = do("tell").metadata["said"]["environ"]
        assert "hunter2" not in str(environ)
        assert environ["LD_LIBRARY_PATH"] == "/opt/lib"
        assert environ["VIPS_CONCURRENCY"] == "1"

    def test_it_has_a_session_of_its_own_and_no_input(self, do: Do) -> None:
        result = do("tell")
        assert result.metadata["said"]["session"] == result.metadata["pid"]
        assert result.metadata["said"]["stdin"] == ""

    def test_noise_is_heard_by_nobody(self, do: Do, capfd: pytest.CaptureFixture[str]) -> None:
        do("tell")
        capfd.readouterr()
        assert do("shout").metadata["said"] == "done"
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize(("then", "code"), [("sleep", "decode_timeout"), ("abort", "decode_crashed")])
    def test_what_it_leaves_behind_ends_with_it(self, do: Do, tmp_path: Path, then: str, code: str) -> None:
        do("tell")
        with pytest.raises(DecodeFailed) as caught:
            do(f"breed {then}", wall_seconds=2.0 if then == "sleep" else LONG)
        assert caught.value.code == code
        for place in tmp_path.rglob("grandchild"):
            pid = int(place.read_text())
            wait_until(lambda pid=pid: is_gone(pid))  # type: ignore[misc]  # bound now, not later

    def test_one_stays_warm_from_file_to_file(self, do: Do) -> None:
        pids = {do("tell").metadata["pid"] for _ in range(5)}
        assert len(pids) == 1

    def test_it_outlives_the_time_of_its_file(self, do: Do) -> None:
        first = do("tell").metadata["pid"]
        do("tell", wall_seconds=1.0)
        time.sleep(1.0 + inside.GRACE + 0.2)
        assert do("tell").metadata["pid"] == first

    def test_it_is_replaced_after_so_many_files(self, do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pools, "FILES_PER_CHILD", 2)
        said = [do("tell").metadata["said"]["seen"] for _ in range(3)]
        assert [len(seen) for seen in said] == [1, 2, 1]

    def test_closing_ends_it(self, do: Do, pool: Pool) -> None:
        do("tell")
        (pid,) = idle_pids(pool)
        pool.close()
        assert is_gone(pid)
        assert do("tell").metadata["pid"] != pid


LIES = {
    "no outcome": {},
    "an unknown outcome": {"outcome": "ready"},
    "no metadata": {"outcome": "result", "outputs": []},
    "a lot of metadata": {"outcome": "result", "metadata": {"a": "x" * 65_536}, "outputs": []},
    "half a character": {"outcome": "result", "metadata": {"a": "\ud800"}, "outputs": []},
    "no number": {"outcome": "result", "metadata": {"a": math.inf}, "outputs": []},
    "nested without end": {"outcome": "result", "metadata": {"a": nested(11)}, "outputs": []},
    "more outputs than anybody wants": {"outcome": "result", "metadata": {}, "outputs": [{}] * 601},
    "no outputs": {"outcome": "result", "metadata": {}},
    "outputs that are none": {"outcome": "result", "metadata": {}, "outputs": ["a"]},
    "a rejection without a code": {"outcome": "rejected", "message": "m", "details": {}},
    "a code that is none": {"outcome": "rejected", "code": "a b", "message": "m", "details": {}},
    "a rejection without a message": {"outcome": "rejected", "code": "a", "message": "", "details": {}},
    "a novel": {"outcome": "rejected", "code": "a", "message": "m" * 1_001, "details": {}},
    "deep details": {"outcome": "rejected", "code": "a", "message": "m", "details": {"a": []}},
}
NAMES = [
    "../events",
    "../../original",
    "/etc/passwd",
    "a/b",
    ".",
    "",
    ".hidden",
    "b\n",
    "é",
    "a" * 101,
    7,
    None,
]


def is_a_lie(do: Do, pool: Pool, behaviour: str) -> bool:
    with pytest.raises(DecodeFailed) as caught:
        do(behaviour)
    return (caught.value.code, caught.value.retryable, idle_pids(pool)) == ("decode_crashed", False, [])


class TestOwners:
    def test_a_warm_child_is_its_owners_alone(self, do: Do) -> None:
        alice = do("tell", owner="alice").metadata["pid"]
        bob = do("tell", owner="bob").metadata["pid"]

        assert alice != bob
        assert do("tell", owner="alice").metadata["pid"] == alice
        assert do("tell", owner="bob").metadata["pid"] == bob

    def test_where_there_is_no_room_the_oldest_ends(self, do: Do, pool: Pool) -> None:
        pids = [do("tell", owner=owner).metadata["pid"] for owner in ("alice", "bob", "carol")]

        assert idle_pids(pool) == pids[1:]
        wait_until(lambda: is_gone(pids[0]))

    @pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
    def test_a_child_cannot_read_what_its_parent_was_told(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", SPIES],
            cwd=ROOT,
            env={**os.environ, "PASSWORD": "hunter2"},
            stdout=subprocess.PIPE,
        )

        assert json.loads(done.stdout) == {"before": True, "after": False}


SPIES = """
import ctypes, json, os
from chalicelib.sandbox import pool

def a_child_sees_it():
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    try:
        seen = b"hunter2" in open(f"/proc/{os.getppid()}/environ", "rb").read()
    except PermissionError:
        seen = False
    os._exit(0 if seen else 1)

if os.geteuid() == 0:  # who may read everything
    os.setuid(65534)
    ctypes.CDLL(None).prctl(pool.PR_SET_DUMPABLE, 1, 0, 0, 0)
before = a_child_sees_it()
pool.hide()
print(json.dumps({"before": before, "after": a_child_sees_it()}))
"""


class TestALie:
    """Of a decoder that was taken over."""

    def test_whoever_can_forge_an_answer_could_also_tell_the_truth(self, do: Do) -> None:
        """The other tests of this class see a lie refused, and not the forgery itself."""
        listed = [{"name": "a.txt", "contentType": "text/plain"}]
        message = {"outcome": "result", "metadata": {"a": 1}, "outputs": listed}
        result = do(f"answer {json.dumps(message)}")
        assert (result.metadata, result.outputs[0].name) == ({"a": 1}, "a.txt")

    def test_two_outputs_of_one_name(self, do: Do, pool: Pool) -> None:
        listed = [{"name": "a.txt", "contentType": "text/plain"}] * 2
        message = {"outcome": "result", "metadata": {}, "outputs": listed}
        assert is_a_lie(do, pool, f"answer {json.dumps(message)}")

    @pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
    def test_an_answer_that_no_processor_gives(self, do: Do, pool: Pool, lie: Any) -> None:
        assert is_a_lie(do, pool, f"answer {json.dumps(lie)}")

    @pytest.mark.parametrize("name", NAMES, ids=repr)
    def test_a_name_that_leads_elsewhere(self, do: Do, pool: Pool, name: Any) -> None:
        listed = [{"name": name, "contentType": "text/plain"}]
        message = {"outcome": "result", "metadata": {}, "outputs": listed}
        assert is_a_lie(do, pool, f"answer {json.dumps(message)}")

    @pytest.mark.parametrize("content_type", ["text", "text/html\r\nx-evil: 1", "", None, "a" * 200 + "/b\n"])
    def test_a_type_that_is_none(self, do: Do, pool: Pool, content_type: Any) -> None:
        listed = [{"name": "a.txt", "contentType": content_type}]
        message = {"outcome": "result", "metadata": {}, "outputs": listed}
        assert is_a_lie(do, pool, f"answer {json.dumps(message)}")

    @pytest.mark.parametrize(
        "raw",
        [
            b"\xff\xff\xff\xff",
            b"\x00\x10\x00\x01",
            b"\x00\x00\x00\x02{]",
            b"\x00\x00\x00\x02[]",
            b"\x00\x00\x00\x03\xff\xfe{",
            b'\x00\x00\x00\x09{"a":NaN}',
            b"\x00\x01\x86\xa0" + b"[" * 100_000,
        ],
        ids=["4 GiB", "too long", "no json", "no object", "no text", "no number", "100,000 deep"],
    )
    def test_what_is_no_message(self, do: Do, pool: Pool, raw: bytes) -> None:
        assert is_a_lie(do, pool, f"answer_raw {raw.hex()}")

    @pytest.mark.parametrize("behaviour", ["link", "pipe"])
    def test_an_output_that_is_no_file(self, do: Do, pool: Pool, behaviour: str) -> None:
        assert is_a_lie(do, pool, behaviour)

    @pytest.mark.parametrize("what", ["outputs", "events", "pipe", "nothing"])
    def test_something_else_in_the_place_of_what_is_looked_for(self, do: Do, pool: Pool, what: str) -> None:
        assert is_a_lie(do, pool, f"answer_from_elsewhere {what}")

    @pytest.mark.parametrize(
        "lines",
        [
            "{}",
            "[]",
            '[null,0,"1"]',
            '[7,0,"1",null]',
            '["a",-1,"1",null]',
            '["a",true,"1",null]',
            '["a",0,null,null]',
            '["a",0,"1","a.txt"]',
            '["a",0,null,"no-such-output"]',
            '["a",0,1,null]',
            "é",
            "[" * 50_000,
            "|".join(['["a",0,"1",null]'] * 1_001),
        ],
        ids=lambda lines: lines[:30],
    )
    def test_events_that_are_none(self, do: Do, pool: Pool, lines: str) -> None:
        assert is_a_lie(do, pool, f"answer_with_events {lines}")

    def test_so_many_events_as_are_allowed_are_no_lie(self, do: Do) -> None:
        result = do("answer_with_events " + "|".join(['["a",0,"1",null]'] * 1_000))
        assert len(result.events) == 1_000


class TestTakingTurns:
    def test_as_many_run_at_once_as_there_are_children(self, pool: Pool, tmp_path: Path) -> None:
        """Two, each of which waits for the other, and a third that has to wait for them."""
        results: list[Result] = []

        def run() -> None:
            text = source(tmp_path, b"tell", "notes.txt", "text/plain")
            results.append(pool.run("text", text, cpu_seconds=10, wall_seconds=LONG))

        threads = [threading.Thread(target=run) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 12
        assert {result.metadata["pid"] for result in results} >= set(idle_pids(pool))
        assert 1 <= len(idle_pids(pool)) <= 2
        assert pool._at_work == 0

    def test_who_gets_no_turn_in_time_is_told(self, do: Do, pool: Pool) -> None:
        with pool._turn(time.monotonic()), pool._turn(time.monotonic()), pytest.raises(NoTurn):
            do("tell", begin_by=time.monotonic() + 0.05)
        assert do("tell", begin_by=time.monotonic()).metadata

    def test_a_hang_in_one_holds_up_nobody(self, do: Do, tmp_path: Path) -> None:
        def hang() -> None:
            with pytest.raises(DecodeFailed):
                do("sleep")

        def pids() -> list[str]:
            return [place.read_text() for place in tmp_path.rglob("pid")]

        hanging = threading.Thread(target=hang)
        hanging.start()
        wait_until(lambda: any(pids()))
        assert do("tell").metadata
        assert hanging.is_alive()
        os.kill(int(pids()[0]), signal.SIGKILL)
        hanging.join()

    def test_the_one_that_was_at_work_last_goes_first(self, do: Do, pool: Pool) -> None:
        with pool._turn(time.monotonic()):
            first = do("tell").metadata["pid"]
        assert do("tell").metadata["pid"] == first

    @pytest.mark.parametrize(("processors", "children"), [(None, 2), (1, 2), (2, 2), (3, 3), (64, 4)])
    def test_there_are_about_as_many_as_processors(
        self, monkeypatch: pytest.MonkeyPatch, processors: int | None, children: int
    ) -> None:
        monkeypatch.setattr(os, "cpu_count", lambda: processors)
        assert pools.children_at_once() == children


PARENT = """
import sys, tempfile, threading, time
from pathlib import Path
from chalicelib.sandbox.pool import Pool
from tests.unit.sources import source

pool = Pool(2, 1 << 30, "tests.unit.hostile:REGISTRY")

def run(behaviour):
    place = source(Path(sys.argv[1]), behaviour, "notes.txt", "text/plain")
    return pool.run("text", place, cpu_seconds=1, wall_seconds=3.0)

warm = run(b"tell").metadata["pid"]
threading.Thread(target=run, args=(b"sleep",)).start()
while pool._idle:
    time.sleep(0.01)
print(run(b"tell").metadata["pid"], warm, flush=True)
time.sleep(3600)
"""


def test_a_parent_that_is_killed_leaves_no_child_behind(tmp_path: Path) -> None:
    """Neither the idle one, whose socket ends, nor the one at work, whose time does."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(set(pids)) == 2
    assert not any(map(is_gone, pids))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for pid in pids:
        wait_until(lambda pid=pid: is_gone(pid))  # type: ignore[misc]  # bound now, not later


LOADED_BY_A_CHILD = """
import sys
import chalicelib.processors, chalicelib.sandbox.inside

ours = [name.removeprefix("chalicelib.") for name in sys.modules]
print(*[name for name in ours if name.startswith("sandbox") or name == "subprocess"])
"""


def test_a_child_starts_without_what_only_its_parent_needs() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LOADED_BY_A_CHILD], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(ran.stdout.split()) == {"sandbox", "sandbox.frames", "sandbox.inside", "sandbox.reports"}


WITHOUT_SHARED_MEMORY = """
import sys
from pathlib import Path

for module in ("multiprocessing", "_multiprocessing", "_posixshmem"):
    sys.modules[module] = None

from chalicelib.sandbox.pool import Pool
from tests.unit.sources import source

pool = Pool(2, 1 << 30, "tests.unit.hostile:REGISTRY")
place = source(Path(sys.argv[1]), b"make", "notes.txt", "text/plain")
print(len(pool.run("text", place, cpu_seconds=5, wall_seconds=60.0).outputs))
"""


def test_it_needs_no_shared_memory(tmp_path: Path) -> None:
    """Lambda has no /dev/shm, where the locks and queues of multiprocessing live."""
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_SHARED_MEMORY, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "2\n"
