"""Amazon Transcribe: what it is asked, and what is made of its answer.

moto's own answers are none to read: ours has the documented shape.
"""

import json
import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import DecodeFailed, NotFound
from chalicelib.jobs import Job
from chalicelib.keys import new_job_id, owner_segment
from chalicelib.settings import Settings
from chalicelib.transcription import Transcript, amazon, webvtt
from chalicelib.transcription.amazon_result import read
from chalicelib.transcription.transcript import Word
from tests.unit.flow import Flow

ANSWER = (Path(__file__).parents[1] / "files/speech/amazon.json").read_bytes()
JOB_ID = "0193c5e8-7d2a-7c3b-9a54-0d2f6f1f7a10"
MEDIA = f"processed/auth0=7Cjane@example.com/{JOB_ID}/outputs/audio.m4a"


def answer(*items: Any, **results: Any) -> bytes:
    return json.dumps({"results": {"items": items, **results}}).encode()


def spoken(content: Any, start: Any = "0.0", end: Any = "1.0", confidence: Any = "0.5") -> dict[str, Any]:
    best = {"confidence": confidence, "content": content}
    return {"type": "pronunciation", "start_time": start, "end_time": end, "alternatives": [best]}


def mark(content: str) -> dict[str, Any]:
    return {"type": "punctuation", "alternatives": [{"confidence": "0.0", "content": content}]}


class TestAsking:
    def test_it_is_told_where_the_sound_is_and_where_the_answer_goes(self, settings: Settings) -> None:
        asked = amazon.start_input(settings, MEDIA, JOB_ID, 2)

        assert asked["Media"] == {"MediaFileUri": f"s3://{settings.bucket}/{MEDIA}"}
        assert asked["OutputBucketName"] == settings.bucket
        assert asked["OutputKey"] == amazon.answer_key(settings, MEDIA, JOB_ID, 2)
        assert asked["OutputKey"].startswith("processed/_answers/")
        assert asked["TranscriptionJobName"].endswith(f"-{JOB_ID}-2")

    def test_it_finds_the_language_out_unless_it_is_told(self, env: dict[str, str]) -> None:
        unset = amazon.start_input(Settings.from_env(env), MEDIA, JOB_ID, 1)
        told = amazon.start_input(Settings.from_env(env | {"TRANSCRIBE_LANGUAGE": "de-CH"}), MEDIA, JOB_ID, 1)

        assert (unset.get("IdentifyLanguage"), "LanguageCode" in unset) == (True, False)
        assert (told.get("LanguageCode"), "IdentifyLanguage" in told) == ("de-CH", False)

    @pytest.mark.parametrize("subject", ["auth0|jane", "jane@example.com", "ü/../*", "x" * 400])
    def test_its_rules_are_kept_whoever_the_owner_is(self, settings: Settings, subject: str) -> None:
        job_id = new_job_id()
        key = f"processed/{owner_segment(subject)}/{job_id}/outputs/audio.m4a"

        asked = amazon.start_input(settings, key, job_id, 1)

        model = botocore.session.get_session().get_service_model("transcribe")
        shape: Any = model.operation_model("StartTranscriptionJob").input_shape
        assert not ParamValidator().validate(asked, shape).has_errors()
        for name, pattern in PATTERNS.items():
            assert re.fullmatch(pattern, asked[name])
            assert len(asked[name]) <= shape.members[name].metadata["max"]

    def test_runs_jobs_and_owners_do_not_meet(self, settings: Settings) -> None:
        asked = [
            amazon.start_input(settings, media, job_id, run)
            for media in (MEDIA, MEDIA.replace("jane", "joan"))
            for job_id in (JOB_ID, JOB_ID.replace("0193", "0194"))
            for run in (1, 2)
        ]

        assert len({one["TranscriptionJobName"] for one in asked}) == len(asked)
        assert len({one["OutputKey"] for one in asked}) == len(asked)

    def test_the_same_run_asks_the_same(self, settings: Settings) -> None:
        one, other = (amazon.start_input(settings, MEDIA, JOB_ID, 1) for _ in range(2))

        assert one == other

    def test_the_answer_is_in_no_owner_s_folder(self) -> None:
        assert not owner_segment(amazon.ANSWERS).startswith("_")


PATTERNS = {
    "TranscriptionJobName": r"[0-9a-zA-Z._-]+",
    "OutputBucketName": r"[a-z0-9][\.\-a-z0-9]{1,61}[a-z0-9]",
    "OutputKey": r"[a-zA-Z0-9\-_.!*'()/]{1,1024}",
}
"""Amazon Transcribe API Reference, StartTranscriptionJob."""


class TestReading:
    def test_words_come_with_times_confidences_and_their_marks(self) -> None:
        transcript = read(ANSWER)

        assert (transcript.language, transcript.source, transcript.truncated) == ("en-US", "amazon", False)
        assert transcript.words[0] == Word("The", 0.04, 0.19, 0.998)
        assert transcript.words[5] == Word("o'clock.", 1.55, 2.06, 0.981)
        transcribed = json.loads(ANSWER)["results"]["transcripts"][0]["transcript"]
        assert " ".join(word.text for word in transcript.words) == transcribed

    def test_its_sentences_are_subtitles(self) -> None:
        assert webvtt.document(read(ANSWER)) == (
            "WEBVTT\n"
            "\n00:00:00.040 --> 00:00:02.060\nThe crane stopped at 7 o'clock.\n"
            "\n00:00:04.410 --> 00:00:06.340\nNobody, it seems, asked why.\n"
        )

    @pytest.mark.parametrize(
        ("results", "asked", "language"),
        [
            ({"language_code": "fr-FR"}, "de-DE", "fr-FR"),
            ({"language_identification": [{"code": "es-ES", "score": "0.9"}]}, None, "es-ES"),
            ({}, "de-DE", "de-DE"),
            ({}, None, "und"),
            ({"language_code": 7, "language_identification": "en"}, None, "und"),
        ],
    )
    def test_the_language_is_what_was_found_or_asked_for(
        self, results: dict[str, Any], asked: str | None, language: str
    ) -> None:
        assert read(answer(**results), asked).language == language

    def test_a_mark_before_a_word_stays_there(self) -> None:
        items = mark("."), mark("¿"), spoken("Qué"), mark("?"), spoken("Nada")

        assert [word.text for word in read(answer(*items)).words] == ["¿Qué?", "Nada"]

    @pytest.mark.parametrize(
        ("item", "word"),
        [
            (spoken("a", None, None, None), Word("a", 0, 0, None)),
            (spoken("a", "x", "2"), Word("a", 0, 2, 0.5)),
            (spoken("a", "3", "2"), Word("a", 3, 3, 0.5)),
            (spoken("a", "-1", "NaN", "7"), Word("a", 0, 0, None)),
            (spoken("a", 1, 2, 0.25), Word("a", 1, 2, 0.25)),
            (spoken(" a\nb ", "0", "1"), Word("a b", 0, 1, 0.5)),
            (spoken("  "), None),
            (spoken(None), None),
            ({"type": "pronunciation"}, None),
            ({"type": "pronunciation", "alternatives": []}, None),
            ({"type": "pronunciation", "alternatives": ["a"]}, None),
            ({}, None),
            (None, None),
        ],
    )
    def test_what_is_missing_is_done_without(self, item: Any, word: Word | None) -> None:
        assert read(answer(item)).words == (() if word is None else (word,))

    @pytest.mark.parametrize("raw", [b"{}", b'{"results": []}', b'{"results": {}}', answer()])
    def test_an_answer_without_words_is_an_empty_transcript(self, raw: bytes) -> None:
        assert read(raw) == Transcript("und", (), "amazon")

    @pytest.mark.parametrize("raw", [b"", b"<Error/>", b"[]", b"null", b"\xff", b"[" * 100_000])
    def test_what_is_no_answer_is_said_to_be_none(self, raw: bytes) -> None:
        with pytest.raises(DecodeFailed) as caught:
            read(raw)

        assert caught.value.code == "transcript_unreadable"

    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["results", "items", "alternatives", "content", "type", "start_time"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=20,
        )
    )
    def test_no_answer_is_unheard_of(self, inner: Any) -> None:
        raw = json.dumps({"results": {"items": [{"type": "pronunciation", "alternatives": inner}, inner]}})

        webvtt.document(read(raw.encode()))


class TestFetching:
    @pytest.fixture
    def flow(self, aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
        return Flow(aws, monkeypatch)

    @pytest.fixture
    def job(self, flow: Flow) -> Job:
        key = flow.new_key("talk.mp3")
        flow.upload(key, b"sound")
        return flow.job(key)

    def put(self, flow: Flow, job: Job, raw: bytes) -> str:
        key = amazon.answer_key(flow.settings, "processed/any/audio.m4a", job.job_id, job.run)
        flow.s3.put_object(Bucket=flow.settings.bucket, Key=key, Body=raw)
        return key

    def listed(self, flow: Flow, prefix: str) -> list[str]:
        found = flow.s3.list_objects_v2(Bucket=flow.settings.bucket, Prefix=prefix)
        return [entry["Key"] for entry in found.get("Contents", [])]

    def test_the_answer_becomes_outputs_and_goes(self, flow: Flow, job: Job) -> None:
        key = self.put(flow, job, ANSWER)

        outputs = amazon.fetch(flow.settings, job, key)

        assert [(one["name"], one["contentType"]) for one in outputs] == [
            ("transcript.json", "application/json"),
            ("transcript.txt", "text/plain; charset=utf-8"),
            ("transcript.vtt", "text/vtt; charset=utf-8"),
        ]
        body = flow.s3.get_object(Bucket=flow.settings.bucket, Key=outputs[1]["key"])["Body"].read()
        assert body == b"The crane stopped at 7 o'clock.\n\nNobody, it seems, asked why.\n"
        assert outputs[1]["size"] == len(body)
        assert outputs[1]["key"] == f"processed/{job.owner}/{job.job_id}/outputs/transcript.txt"
        assert self.listed(flow, "processed/_answers/") == []

    def test_a_second_time_gives_the_same(self, flow: Flow, job: Job) -> None:
        key = self.put(flow, job, ANSWER)

        assert amazon.fetch(flow.settings, job, key) == amazon.fetch(flow.settings, job, key)

    def test_a_crash_before_the_answer_goes_leaves_it_for_the_next_time(
        self, flow: Flow, job: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = self.put(flow, job, ANSWER)
        with monkeypatch.context() as broken:
            broken.setattr("chalicelib.storage.remove", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                amazon.fetch(flow.settings, job, key)

        assert len(amazon.fetch(flow.settings, job, key)) == 3
        assert self.listed(flow, "processed/_answers/") == []

    def test_without_an_answer_there_is_no_transcript(self, flow: Flow, job: Job) -> None:
        with pytest.raises(NotFound) as caught:
            amazon.fetch(flow.settings, job, "processed/_answers/none.json")

        assert caught.value.code == "transcript_missing"

    def test_no_more_is_read_than_an_answer_can_have(
        self, flow: Flow, job: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(amazon, "MAX_ANSWER_BYTES", len(ANSWER) - 1)
        key = self.put(flow, job, ANSWER)

        with pytest.raises(DecodeFailed) as caught:
            amazon.fetch(flow.settings, job, key)

        assert caught.value.code == "transcript_too_large"
        assert self.listed(flow, f"processed/{job.owner}/") == []

    def test_what_is_no_answer_makes_no_outputs(self, flow: Flow, job: Job) -> None:
        key = self.put(flow, job, b"<html>")

        with pytest.raises(DecodeFailed):
            amazon.fetch(flow.settings, job, key)

        assert self.listed(flow, f"processed/{job.owner}/") == []
