"""Copies that attempts have left behind: in the end an original lies in one place, whoever has died."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from chalicelib import items, keys
from chalicelib.settings import Settings
from tests.unit.conftest import ACCOUNT, make_resources
from tests.unit.fake.actors import Actors
from tests.unit.fake.aws import Killed
from tests.unit.fake.stage import Stage, running


@pytest.fixture
def stage(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with running(settings, monkeypatch, make_resources, ACCOUNT) as stage:
        yield stage


def arrive(stage: Stage) -> str:
    key = keys.upload_key(stage.settings, keys.NOBODY, keys.new_job_id(), "notes.txt")
    stage.aws.s3.put_object({"Bucket": stage.settings.bucket, "Key": key, "Body": b"all there is"})
    stage.bring_objects()
    return key


def die_behind_the_copy(stage: Stage) -> None:
    stage.aws.spoil(2, "dies behind")  # claim, open, copy
    with suppress(Killed):
        stage.bring_messages()
    assert stage.aws.made[-1] == "s3.CopyObject"
    stage.aws.revive()
    stage.let_pass()


def originals(stage: Stage) -> list[str]:
    return [key for key in stage.aws.s3.buckets[stage.settings.bucket] if "/outputs/" not in key]


def status(stage: Stage) -> str:
    (job,) = stage.aws.dynamodb.tables[stage.settings.jobs_table].items.values()
    return str(items.from_item(job)["status"])


def test_a_job_that_is_given_up_leaves_no_copy_of_its_attempts(stage: Stage) -> None:
    key = arrive(stage)
    for _ in range(stage.settings.max_attempts):
        die_behind_the_copy(stage)

    stage.settle()

    assert status(stage) == "FAILED"
    assert originals(stage) == [key.replace("uploads/", "failed/", 1)]


def test_a_worker_that_comes_too_late_takes_its_copy_back(stage: Stage) -> None:
    key = arrive(stage)
    for _ in range(stage.settings.max_attempts - 1):
        stage.aws.spoil(1, "dies before")
        with suppress(Killed):
            stage.bring_messages()
        stage.aws.revive()
        stage.let_pass()
    actors = Actors(stage.aws)
    actors.start("late", stage.bring_messages)
    (late,) = actors.at_work
    actors.step(late)  # has claimed, and is about to open the file
    actors.step(late)  # has opened it, and is about to copy it
    try:
        stage.let_pass()
        stage.sweep()
        stage.bring_messages()  # gives the job up
        assert status(stage) == "FAILED"
    finally:
        actors.finish()

    stage.aws.hook = None
    stage.settle()
    assert originals(stage) == [key.replace("uploads/", "failed/", 1)]
