"""A transcript by Amazon Transcribe: the state machine asks for it, and two functions see to the rest.

The embedded AWS knows no such call from a state machine: its answers are those of a test case.
"""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.transcription import amazon
from ops.stack import LocalStack
from ops.state import CHECKOUT
from tests.stack.heavy import configure, executions, start, waiting
from tests.stack.user import User, eventually

FILES = CHECKOUT / "tests" / "files" / "speech"

FOUND = {"TranscriptionJob": {"TranscriptionJobStatus": "COMPLETED"}}
UNDER_WAY = {"TranscriptionJob": {"TranscriptionJobStatus": "IN_PROGRESS"}}
RESPONSES: dict[str, Any] = {
    "started": {"0": {"Return": {}}},
    "known": {"0": {"Throw": {"Error": "Transcribe.ConflictException", "Cause": "It exists."}}},
    "refused": {"0": {"Throw": {"Error": "Transcribe.BadRequestException", "Cause": "Too long."}}},
    "in-a-while": {"0-1": {"Return": UNDER_WAY}, "2": {"Return": FOUND}},
    "failed": {"0": {"Return": {"TranscriptionJob": {"TranscriptionJobStatus": "FAILED"}}}},
}
CASES = {
    "Works": {"Transcribe": "started", "LookForTranscript": "in-a-while"},
    "AskedTwice": {"Transcribe": "known", "LookForTranscript": "in-a-while"},
    "Refused": {"Transcribe": "refused"},
    "Fails": {"Transcribe": "started", "LookForTranscript": "failed"},
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    state_dir = tmp_path_factory.mktemp("speech")
    with LocalStack(state_dir=state_dir, variables={"TRANSCRIBER": "amazon"}) as running:
        name = running.outputs["StateMachineArn"].rsplit(":", 1)[-1]
        mocked = {"StateMachines": {name: {"TestCases": CASES}}, "MockedResponses": RESPONSES}
        configure(running, {"stepfunctions._sfn_mock_config": mocked, "stepfunctions._SFN_WAIT_SCALE": 0.02})
        yield running


@pytest.fixture
def user(stack: LocalStack) -> User:
    return User(stack)


def listened_to(user: User, case: str, answer: bytes | None = None) -> Any:
    """The ended job of a recording; `answer` is what Amazon Transcribe has left."""
    with waiting(user, (FILES / "harbor.flac").read_bytes(), filename="words.flac") as signed:
        job_id = signed["jobId"]
        if answer:
            user.put(expected_key(user, job_id), answer)
        start(user.stack, case, job_id)
        job = user.ended(job_id)
    eventually(lambda: executions(user.stack, job_id) == {"1": "SUCCEEDED"}, "the execution has ended")
    assert job["status"] == "COMPLETED"
    assert "audio.m4a" in {output["name"] for output in job["outputs"]}
    assert asked_for(user, job_id) == expected_key(user, job_id)
    assert user.keys("processed/_answers/") == []
    return job


def expected_key(user: User, job_id: str) -> str:
    """Where Amazon Transcribe would put its answer; here it is there before it is asked."""
    settings: Any = SimpleNamespace(bucket=user.bucket, processed_prefix="processed/")
    return amazon.answer_key(settings, f"processed/_/{job_id}/outputs/audio.m4a", job_id, 1)


def asked_for(user: User, job_id: str) -> str | None:
    """Where the state machine has asked for the answer to be put."""
    states = user.stack.client("stepfunctions")
    arn = user.stack.outputs["StateMachineArn"].replace(":stateMachine:", ":execution:")
    history = states.get_execution_history(executionArn=f"{arn}:{job_id}-1")["events"]
    for event in history:
        details = event.get("stateEnteredEventDetails", {})
        if details.get("name") == "Transcribe":
            asked = json.loads(details["input"])["speech"]["request"]
            assert asked["Media"]["MediaFileUri"].endswith("/outputs/audio.m4a")
            return str(asked["OutputKey"])
    return None


@pytest.mark.parametrize("case", ["Works", "AskedTwice"])
def test_the_transcript_is_among_the_outputs(user: User, case: str) -> None:
    job = listened_to(user, case, (FILES / "amazon.json").read_bytes())

    assert job["metadata"]["transcript"] == {"source": "amazon"}
    assert {"transcript.json", "transcript.txt", "transcript.vtt"} <= {o["name"] for o in job["outputs"]}


@pytest.mark.parametrize("case", ["Refused", "Fails"])
def test_without_a_transcript_the_job_ends_well_and_says_so(user: User, case: str) -> None:
    job = listened_to(user, case)

    assert job["metadata"]["transcript"] == {"source": "amazon", "error": "transcript_failed"}
    assert "transcript.txt" not in {output["name"] for output in job["outputs"]}


def test_what_has_no_sound_is_not_listened_to(user: User) -> None:
    with waiting(user, b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(100), filename="broken.wav") as signed:
        start(user.stack, "Works", signed["jobId"])
        job = user.ended(signed["jobId"])

    assert job["status"] == "REJECTED"
