"""What docker/Dockerfile copies, started by its entry point: a file goes through, by another name too."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ops import tokens
from ops.state import CHECKOUT
from tests.stack.user import ENDED, Answer, eventually, http_call
from tests.unit import dockerfile

API = "https://waybill.example.org"
FILES = "https://waybill.example.org:8443"
OPTIONS = ("--port=0", "--aws-port=0", "--auth=jwt", f"--public-url={API}", f"--files-url={FILES}")
SECRET = "the secret of one container, of forty bytes"


@dataclass
class Container:
    """The running process, and where its two ports are."""

    process: subprocess.Popen[str]
    api: str
    files: str

    def call(self, method: str, path: str, body: bytes | None = None) -> Answer:
        bearer = {"Authorization": f"Bearer {tokens.make('alice', SECRET)}"}
        return http_call(method, self.api + path, body, bearer)


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    root = tmp_path_factory.mktemp("image")
    image = dockerfile.build(CHECKOUT / "docker" / "Dockerfile", CHECKOUT, root)
    # Nothing but the volumes may be written to; root, who may, would not notice.
    for path in image.path(".").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    process = subprocess.Popen(
        [sys.executable, *image.entrypoint[1:], *OPTIONS],
        cwd=image.path("."),
        env=dockerfile.environment(image, {"JWT_SECRET": SECRET, "TMPDIR": str(root)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        told = _until_ready(process)
        files, api = (re.search(rf"{what} on (http://127\.0\.0\.1:\d+)", told) for what in ("AWS", "API"))
        assert files, told
        assert api, told
        yield Container(process, api[1], files[1])
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def _until_ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    told = ""
    for line in process.stdout:
        told += line
        if line.startswith("Ready"):
            break
    return told


def test_a_file_goes_through_by_the_name_that_others_know_it_by(container: Container) -> None:
    signed = container.call("POST", "/presign", b'{"filename": "notes.txt"}').json

    assert signed["uploadUrl"].startswith(f"{FILES}/waybill-local-000000000000/uploads/alice/")
    assert signed["statusUrl"].startswith(f"{API}/jobs/")
    # What a proxy does: the request as it came, to another address.
    url = urlsplit(signed["uploadUrl"])
    sent = http_call(
        "PUT", f"{container.files}{url.path}?{url.query}", b"a few words\n", {"Host": url.netloc}
    )
    assert sent.status == 200, sent.body
    job = eventually(lambda: _ended(container, signed["jobId"]), "the job ended")
    assert job == "COMPLETED"


def _ended(container: Container, job_id: str) -> str | None:
    answer = container.call("GET", f"/jobs/{job_id}")
    status = answer.json["status"] if answer.status == 200 else ""
    return status if status in ENDED else None


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux")
def test_it_listens_where_published_ports_lead(container: Container) -> None:
    """0.0.0.0, as the kernel writes it, in state LISTEN."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {line[1] for line in lines if line[3] == "0A"}

    for url in (container.api, container.files):
        assert f"00000000:{urlsplit(url).port:04X}" in listening


def test_it_stops_as_docker_stops_it_and_leaves_nothing(container: Container) -> None:
    group = os.getpgid(container.process.pid)

    container.process.send_signal(signal.SIGTERM)

    assert container.process.wait(30) == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
