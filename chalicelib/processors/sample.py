"""The sample of a table: its first rows, for whoever wants to see what is in it without all of it."""

from chalicelib.processors.base import Output

MAX_ROWS = 100
MAX_BYTES = 1024 * 1024


class Sample:
    """Rows as JSON texts, up to the first that does not fit: there are no gaps."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []
        self._room = MAX_BYTES

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: str) -> None:
        if len(self._rows) == MAX_ROWS or self._room < 0:
            return
        self._room -= len(encoded := row.encode()) + len(",\n")
        if self._room >= 0:
            self._rows.append(encoded)

    def output(self) -> Output:
        return Output("sample.json", "application/json", b"[\n" + b",\n".join(self._rows) + b"\n]\n")
