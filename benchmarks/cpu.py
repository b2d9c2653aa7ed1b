"""CPU time, of this process and of those that it starts."""

import os
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

MS = 1000.0


def of_calls(call: Callable[[], object], times: int) -> Callable[[], float]:
    """Milliseconds of CPU for each call, of a warm function."""

    def measure() -> float:
        begun = time.process_time()
        for _ in range(times):
            call()
        return (time.process_time() - begun) * MS / times

    return measure


def of_process(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> float:
    """Milliseconds of CPU, user and system, from the start of a process to its end.

    Raises:
        RuntimeError: it failed.
    """
    before = _of_ended_children()
    done = subprocess.run(command, env=dict(env), cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]} failed:\n{done.stderr[-2000:]}")
    return (_of_ended_children() - before) * MS


def spent_by(pid: int) -> float:
    """Milliseconds of CPU that a running process has used so far (proc_pid_stat(5)); 0 where nobody says."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * MS / os.sysconf("SC_CLK_TCK")


def plain_environment(**more: str) -> dict[str, str]:
    """One without settings of Python, of AWS or of Waybill that would make one machine unlike another."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return kept | more


def _of_ended_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
