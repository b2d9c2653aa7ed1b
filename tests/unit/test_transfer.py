"""Sending a file over a bad network: a server that answers like the API and like S3, and has its moments."""

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ops import api_client, transfer
from ops.api_client import Api, Http, RequestFailed, Stopped
from ops.transfer import CannotSend, Note, Source, Transfer

JOB = "01912b3c-4d5e-7f60-8a1b-2c3d4e5f6071"
EXPIRED = (403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
BUSY = (503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
BAD_DIGEST = (400, b"<Error><Code>BadDigest</Code><Message>The SHA256 did not match.</Message></Error>")
HANG_UP = (0, b"")
DONE_BUT_HANG_UP = (-1, b"")


class Server:
    """API and S3 in one; `faults` are answered before anything else, by a pattern of method and path."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.faults: list[tuple[str, tuple[int, bytes]]] = []
        self.parts: dict[int, bytes] = {}
        self.whole: bytes | None = None
        self.checksum: str | None = None
        self.on_put: Callable[[], None] = lambda: None
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def count(self, pattern: str) -> int:
        return len([line for line in self.seen if re.match(pattern, line)])

    def _fault(self, line: str) -> tuple[int, bytes] | None:
        for number, (pattern, answer) in enumerate(self.faults):
            if re.match(pattern, line):
                del self.faults[number]
                return answer
        return None

    def answer(self, line: str, body: bytes, checksum: str | None) -> tuple[int, bytes]:
        match line.split("?")[0].split("/")[0].strip(), line.split("?")[0].partition("/")[2].split("/"):
            case "POST", ["presign"]:
                number = self.count("POST /presign")
                signed = {"uploadUrl": f"{self.url}/put?{number}", "headers": {}, "jobId": JOB}
                return 200, json.dumps(signed).encode()
            case "PUT", ["put"]:
                self.whole = body
                return 200, b""
            case "POST", ["s3", "multipart"]:
                self.checksum = json.loads(body).get("checksum")
                return 200, json.dumps({"uploadId": "u", "key": "k", "jobId": JOB}).encode()
            case "GET", ["s3", "multipart", "u"]:
                if self.whole is not None:
                    return 404, b'{"error": "upload_not_found", "message": "No such upload."}'
                listed = [{"PartNumber": n, "ETag": f'"{n}"', "Size": len(b)} for n, b in self.parts.items()]
                return 200, json.dumps(listed).encode()
            case "GET", ["s3", "multipart", "u", number]:
                sha256 = parse_qs(urlsplit(line).query).get("sha256")
                # S3 takes a checksum of every part, or of none.
                if bool(sha256) != bool(self.checksum):
                    return 400, b'{"error": "bad_request", "message": "Checksum Type mismatch occurred."}'
                headers = {"headers": {"x-amz-checksum-sha256": sha256[0]}} if sha256 else {}
                url = f"{self.url}/part/{number}?signature"
                return 200, json.dumps({"url": url, **headers}).encode()
            case "PUT", ["part", number]:
                if checksum and hashlib.sha256(body).hexdigest() != checksum:
                    return BAD_DIGEST
                self.parts[int(number)] = body
                self.on_put()
                return 200, b""
            case "POST", ["s3", "multipart", "u", "complete"] if self.whole is None:
                named = [part["PartNumber"] for part in json.loads(body)["parts"]]
                self.whole = b"".join(self.parts[number] for number in named)
                return 200, b"{}"
            case "GET", ["jobs", _] if self.whole is not None:
                return 200, b'{"status": "QUEUED"}'
        return 404, b'{"error": "not_found", "message": "No such thing."}'

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                line = f"{self.command} {self.path}"
                server.seen.append(line)
                fault = server._fault(line)
                checksum = self.headers.get("x-amz-checksum-sha256")
                status, content = fault if fault and fault[0] >= 0 else server.answer(line, body, checksum)
                if fault in (HANG_UP, DONE_BUT_HANG_UP):
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", f'"{self.path.split("?")[0].rpartition("/")[2]}"')
                self.end_headers()
                with suppress(ConnectionError):  # the sender may have been stopped meanwhile
                    self.wfile.write(content)

            do_GET = do_PUT = do_POST = handle_any

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(api_client, "FIRST_PAUSE", 0)
    monkeypatch.setattr(transfer, "PART_BYTES", 10)
    running = Server()
    yield running
    running.close()


class Sender:
    def __init__(self, server: Server, notes: Path) -> None:
        self.stop = threading.Event()
        self.api = Api(Http(self.stop, 4), server.url, "a.secret.token")
        self.notes = notes
        self.told = 0
        self._lock = threading.Lock()

    def progress(self, more: int) -> None:
        with self._lock:
            self.told += more

    def send(self, path: Path, threshold: int) -> str:
        with ThreadPoolExecutor(2) as parts:
            sender = Transfer(self.api, parts, notes=self.notes, threshold=threshold)
            return sender.send(Source.look(path), self.progress)

    def whole(self, path: Path) -> str:
        return self.send(path, 1000)

    def parted(self, path: Path) -> str:
        return self.send(path, 1)


@pytest.fixture
def sender(server: Server, tmp_path: Path) -> Sender:
    return Sender(server, tmp_path / "notes")


BODY = bytes(range(35))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(BODY)
    return path


FAULTS = [
    ("POST /presign", BUSY),
    ("POST /presign", HANG_UP),
    ("PUT /put", BUSY),
    ("PUT /put", HANG_UP),
    ("PUT /put", (500, b"")),
    ("PUT /put", EXPIRED),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_small_file_outlasts_a_bad_moment(
    server: Server, sender: Sender, file: Path, fault: tuple[str, tuple[int, bytes]]
) -> None:
    server.faults = [fault, fault]

    assert sender.whole(file) == JOB
    assert (server.whole, sender.told) == (BODY, len(BODY))


def test_a_second_try_goes_to_the_same_url_and_so_to_the_same_job(
    server: Server, sender: Sender, file: Path
) -> None:
    server.faults = [("PUT /put", DONE_BUT_HANG_UP)]
    sender.whole(file)
    assert (server.count("PUT"), server.count("POST /presign")) == (2, 1)


def test_only_a_url_that_has_expired_is_asked_for_again(server: Server, sender: Sender, file: Path) -> None:
    server.faults = [("PUT /put", EXPIRED)]
    sender.whole(file)
    assert server.count("POST /presign") == 2


@pytest.mark.parametrize(
    ("pattern", "answer"),
    [
        ("POST /presign", (401, b'{"error": "token_expired", "message": "This token has expired."}')),
        ("PUT /put", (403, b"<Error><Code>SignatureDoesNotMatch</Code><Message>No.</Message></Error>")),
        ("PUT /put", (400, b"<Error><Code>BadDigest</Code><Message>No.</Message></Error>")),
    ],
)
def test_a_refusal_is_not_tried_again_and_says_why(
    server: Server, sender: Sender, file: Path, pattern: str, answer: tuple[int, bytes]
) -> None:
    server.faults = [(pattern, answer)]
    with pytest.raises(RequestFailed) as caught:
        sender.whole(file)

    assert caught.value.code
    assert caught.value.code in str(caught.value)
    assert server.count(pattern) == 1
    assert "secret" not in str(caught.value)


def test_a_server_that_stays_bad_is_given_up_without_showing_the_url(
    server: Server, sender: Sender, file: Path
) -> None:
    server.faults = [("PUT /put", HANG_UP)] * 100
    with pytest.raises(RequestFailed, match="no answer from 127") as caught:
        sender.whole(file)

    assert "put?" not in str(caught.value)
    assert server.count("PUT") == api_client.ATTEMPTS
    assert sender.told == 0


@pytest.mark.parametrize(
    "fault",
    [
        ("POST /s3/multipart", BUSY),
        ("GET /s3/multipart/u/2", HANG_UP),
        ("PUT /part/2", BUSY),
        ("PUT /part/3", HANG_UP),
        ("PUT /part/1", EXPIRED),
        ("PUT /part/4", DONE_BUT_HANG_UP),
        ("POST /s3/multipart/u/complete", BUSY),
        ("POST /s3/multipart/u/complete", DONE_BUT_HANG_UP),
    ],
)
def test_a_large_file_outlasts_a_bad_moment(
    server: Server, sender: Sender, file: Path, fault: tuple[str, tuple[int, bytes]]
) -> None:
    server.faults = [fault]

    assert sender.parted(file) == JOB
    assert (server.whole, sender.told) == (BODY, len(BODY))
    assert not server.faults
    assert not list(sender.notes.iterdir())


def test_only_what_has_not_arrived_is_sent_when_it_goes_on(
    server: Server, sender: Sender, file: Path
) -> None:
    server.faults = [("PUT /part/3", BAD_DIGEST)]
    with pytest.raises(RequestFailed):
        sender.parted(file)
    assert len(list(sender.notes.iterdir())) == 1
    sent = set(server.parts)
    server.parts[1] = b"too short"
    server.seen.clear()
    sender.told = 0

    assert sender.parted(file) == JOB
    assert (server.whole, sender.told) == (BODY, len(BODY))
    assert server.count("POST /s3/multipart$") == 0
    assert server.count("PUT /part/1") == 1
    assert server.count("PUT") == 4 - len(sent - {1})


def test_what_was_completed_before_the_interruption_is_not_sent_again(
    server: Server, sender: Sender, file: Path
) -> None:
    Note.of(sender.notes, server.url, Source.look(file)).write(
        {"uploadId": "u", "key": "k", "jobId": JOB, "partBytes": 10}
    )
    server.whole = BODY

    assert sender.parted(file) == JOB
    assert server.count("PUT") == 0
    assert sender.told == len(BODY)


def test_every_part_is_sent_with_its_checksum(server: Server, sender: Sender, file: Path) -> None:
    server.faults = [("PUT /part/2", BUSY), ("PUT /part/3", BAD_DIGEST)]
    with pytest.raises(RequestFailed, match="BadDigest"):
        sender.parted(file)
    assert sender.parted(file) == JOB  # and after the interruption as well

    assert (server.checksum, server.whole) == ("SHA256", BODY)
    signed = {
        line.partition("?")[0]: parse_qs(urlsplit(line).query)["sha256"]
        for line in server.seen
        if re.match("GET /s3/multipart/u/[0-9]", line)
    }
    assert signed == {
        f"GET /s3/multipart/u/{number + 1}": [
            hashlib.sha256(BODY[10 * number : 10 * number + 10]).hexdigest()
        ]
        for number in range(4)
    }


def test_an_upload_that_was_begun_without_checksums_goes_on_without(
    server: Server, sender: Sender, file: Path
) -> None:
    note = Note.of(sender.notes, server.url, Source.look(file))
    note.write({"uploadId": "u", "key": "k", "jobId": JOB, "partBytes": 10})
    server.parts[1] = BODY[:10]

    assert sender.parted(file) == JOB
    assert (server.whole, server.count("POST /s3/multipart$")) == (BODY, 0)


def test_a_part_that_changes_after_it_was_read_is_refused_and_says_why(
    server: Server, sender: Sender, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Source.sha256

    def read_and_change(source: Source, *part: Any) -> str:
        checksum = read(source, *part)
        with file.open("r+b") as there:
            there.write(bytes(len(BODY)))
        os.utime(file, ns=(1, 1))
        return checksum

    monkeypatch.setattr(Source, "sha256", read_and_change)
    with pytest.raises(CannotSend, match="changed"):
        sender.parted(file)
    assert server.whole is None


def test_a_file_that_changes_meanwhile_is_not_put_together(
    server: Server, sender: Sender, file: Path
) -> None:
    def change() -> None:
        os.utime(file, ns=(1, 1))

    server.on_put = change
    with pytest.raises(CannotSend, match="changed"):
        sender.parted(file)
    assert server.whole is None


def test_another_content_on_the_same_path_is_another_upload(sender: Sender, file: Path) -> None:
    before = Note.of(sender.notes, "https://a", Source.look(file))
    assert before == Note.of(sender.notes, "https://a", Source.look(file))
    assert before != Note.of(sender.notes, "https://b", Source.look(file))
    file.write_bytes(BODY + b"x")
    assert before != Note.of(sender.notes, "https://a", Source.look(file))


def test_when_asked_to_stop_it_stops_and_keeps_what_it_knows(
    server: Server, sender: Sender, file: Path
) -> None:
    server.on_put = sender.stop.set
    with pytest.raises(Stopped):
        sender.parted(file)
    assert len(list(sender.notes.iterdir())) == 1


def test_a_note_that_is_damaged_is_as_none(server: Server, sender: Sender, file: Path) -> None:
    note = Note.of(sender.notes, server.url, Source.look(file))
    for damaged in ("", "[]", "{"):
        note.write({})
        note.path.write_text(damaged)
        server.whole = None
        assert sender.parted(file) == JOB


def test_parts_are_never_more_than_s3_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PART_BYTES", 16 * transfer.MiB)
    for size in (1, 160_000 * transfer.MiB, 160_000 * transfer.MiB + 1, 5 * 1024 * 1024 * transfer.MiB):
        part = transfer.part_bytes(size)
        assert -(-size // part) <= transfer.MAX_PARTS
        assert part % transfer.MiB == 0


def test_something_that_is_no_waybill_is_called_that(server: Server, sender: Sender, file: Path) -> None:
    server.faults = [("POST /presign", (200, b"<html>hello</html>"))]
    with pytest.raises(RequestFailed, match="does not answer like Waybill"):
        sender.whole(file)


@pytest.mark.parametrize(
    ("name", "says"), [("absent", "No such file"), (".", "directory"), ("empty", "empty")]
)
def test_what_cannot_be_sent_says_why(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(CannotSend, match=says):
        Source.look(tmp_path / name)
