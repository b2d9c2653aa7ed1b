"""A file that others add lines to."""

from pathlib import Path


class Growing:
    """Its whole lines, each of them once; it need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def lines(self) -> list[str]:
        """Those that have been added since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")[0]
        self._read += len(whole) + bool(whole)
        return whole.decode(errors="replace").split("\n") if whole else []
