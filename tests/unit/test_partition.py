"""The pages of an owner's jobs: every job once, nobody else's, and a cursor for the rest."""

import pytest

from chalicelib import partition
from chalicelib.errors import BadRequest
from chalicelib.jobs import Ending, Status
from chalicelib.ledger import Ledger, open_ledger
from chalicelib.settings import Settings
from tests.unit.flow import Calls, upload_at


@pytest.fixture
def ledger(aws: Settings) -> Ledger:
    return open_ledger(aws)


def entered(ledger: Ledger, count: int, owner: str = "alice") -> list[str]:
    """The ids of new jobs, the newest first."""
    ids = [f"01936b2e-{n:04x}-7d3e-8f00-0123456789ab" for n in range(count)]
    for job_id in ids:
        ledger.record(upload_at(f"uploads/{owner}/{job_id}/a.txt", sequencer="0A"))
    return ids[::-1]


def ids_of_all_pages(
    aws: Settings, limit: int, status: Status | None = None, owner: str = "alice"
) -> list[list[str]]:
    pages, cursor = [], None
    while True:
        page = partition.page(aws, owner, limit=limit, cursor=cursor, status=status)
        pages.append([job.job_id for job in page.jobs])
        cursor = page.cursor
        if cursor is None:
            return pages


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 100])
def test_pages_show_every_job_once_the_newest_first(aws: Settings, ledger: Ledger, limit: int) -> None:
    expected = entered(ledger, 7)
    pages = ids_of_all_pages(aws, limit)
    assert [job_id for page in pages for job_id in page] == expected
    assert all(len(page) == limit for page in pages[:-1])
    assert len(pages[-1]) <= limit


def test_there_is_no_cursor_after_a_page_that_is_not_full(aws: Settings, ledger: Ledger) -> None:
    entered(ledger, 3)
    assert partition.page(aws, "alice", limit=4, cursor=None, status=None).cursor is None


def test_a_full_page_is_one_read(aws: Settings, ledger: Ledger) -> None:
    entered(ledger, 7)
    calls = Calls(aws)
    partition.page(aws, "alice", limit=3, cursor=None, status=None)
    assert calls.made == ["Query"]


def test_behind_many_deleted_jobs_the_page_goes_on(aws: Settings, ledger: Ledger) -> None:
    ids = entered(ledger, 60)
    for job_id in ids[:-2]:
        ledger.delete(ledger.get("alice", job_id))
    page = partition.page(aws, "alice", limit=2, cursor=None, status=None)
    assert [job.job_id for job in page.jobs] == ids[-2:]


def test_nobody_elses_jobs_are_on_the_page(aws: Settings, ledger: Ledger) -> None:
    entered(ledger, 3)
    theirs = entered(ledger, 2, owner="bob")
    assert ids_of_all_pages(aws, 10, owner="bob") == [theirs]
    assert ids_of_all_pages(aws, 10, owner="carol") == [[]]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 10])
def test_a_status_filters_without_losing_any(aws: Settings, ledger: Ledger, limit: int) -> None:
    ids = entered(ledger, 11)
    wanted = [job_id for n, job_id in enumerate(ids) if n % 3 == 1]
    for job_id in wanted:
        _, job = ledger.claim("alice", job_id, "e1")
        assert job is not None
        ledger.finish(job, Ending(Status.COMPLETED, "completed/a.txt"))
    pages = ids_of_all_pages(aws, limit, Status.COMPLETED)
    assert [job_id for page in pages for job_id in page] == wanted
    assert all(len(page) <= limit for page in pages)
    queued = ids_of_all_pages(aws, limit, Status.QUEUED)
    assert [job_id for page in queued for job_id in page] == [i for i in ids if i not in wanted]


def test_a_rare_status_ends_a_page_early_but_the_cursor_goes_on(
    aws: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "MAX_READS_PER_PAGE", 1)
    ids = entered(ledger, 14)
    ledger.claim("alice", ids[-1], "e1")
    page = partition.page(aws, "alice", limit=1, cursor=None, status=Status.PROCESSING)
    assert (page.jobs, page.cursor is None) == ([], False)
    assert [i for p in ids_of_all_pages(aws, 1, Status.PROCESSING) for i in p] == [ids[-1]]


def test_jobs_that_come_meanwhile_do_not_shift_the_pages(aws: Settings, ledger: Ledger) -> None:
    ids = entered(ledger, 4)
    first = partition.page(aws, "alice", limit=2, cursor=None, status=None)
    ledger.record(upload_at("uploads/alice/01936b2f-0000-7d3e-8f00-0123456789ab/a.txt"))
    second = partition.page(aws, "alice", limit=2, cursor=first.cursor, status=None)
    assert [job.job_id for job in second.jobs] == ids[2:]


@pytest.mark.parametrize("cursor", ["x", "é", "!!!!", "AAAA", "L2V0Yy9wYXNzd2Q", "=", "\ud800"])
def test_a_cursor_that_was_not_given_is_refused(aws: Settings, cursor: str) -> None:
    with pytest.raises(BadRequest) as caught:
        partition.page(aws, "alice", limit=1, cursor=cursor, status=None)
    assert caught.value.code == "bad_cursor"


def test_another_owners_cursor_shows_nothing_of_theirs(aws: Settings, ledger: Ledger) -> None:
    entered(ledger, 5)
    cursor = partition.page(aws, "alice", limit=2, cursor=None, status=None).cursor
    mine = entered(ledger, 2, owner="bob")
    shown = partition.page(aws, "bob", limit=10, cursor=cursor, status=None).jobs
    assert {(job.owner, job.job_id) for job in shown} <= {("bob", job_id) for job_id in mine}
