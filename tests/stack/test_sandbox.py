"""A file that kills its decoder, on the deployed function: it costs nobody else anything."""

from ops.stack import LocalStack
from tests.stack.user import User, eventually

BOMB = b'{"a": [' + b'{"":[]},' * 5_000_000 + b"0]}"
"""38 MiB as a file, and more than a gigabyte as what it says."""


def test_a_file_that_eats_all_memory_fails_alone(stack: LocalStack) -> None:
    user = User(stack)
    neighbours = [user.upload(b"before\n", filename="a.txt")["jobId"]]
    bomb = user.upload(BOMB, filename="bomb.json")["jobId"]
    neighbours += [user.upload(b"after\n", filename="a.txt")["jobId"] for _ in range(3)]

    assert [user.ended(job_id)["status"] for job_id in neighbours] == ["COMPLETED"] * 4
    job = user.ended(bomb, patience=120)

    assert (job["status"], job["error"]["code"]) == ("FAILED", "decode_out_of_memory")
    assert user.keys(f"failed/_/{bomb}/") == [job["key"]]
    eventually(lambda: not user.keys(f"uploads/_/{bomb}"), "nothing is left under uploads/")
    assert user.ended(user.upload(b"later\n", filename="a.txt")["jobId"])["status"] == "COMPLETED"
