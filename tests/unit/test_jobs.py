"""The job itself: the order of uploads, its shape in the table and in the API, and exact values."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import items, jobs
from chalicelib.jobs import Job, Order, Status, order, queued, timestamp
from tests.unit.flow import upload_at

KEY = "uploads/alice/01936b2e-7c1a-7d3e-8f00-0123456789ab/order.json"
NOON = "2026-01-02T12:00:00.000Z"

SEQUENCERS = st.text("0123456789ABCDEF", min_size=1, max_size=24)


def job_of(**differences: Any) -> Job:
    """The job that an upload at noon opens."""
    upload = upload_at(KEY, etag="e1", sequencer="0A", uploaded_at=NOON)
    return replace(queued(upload, run=1, created_at=NOON, now=NOON), **differences)


class TestOrder:
    @pytest.mark.parametrize(
        ("known", "heard", "expected"),
        [
            ("0A", "0A", Order.SAME),
            ("0A", "0B", Order.NEWER),
            ("0B", "0A", Order.OLDER),
            ("0A", "0A00", Order.SAME),
            ("0A", "0A01", Order.NEWER),
            ("0A01", "0A", Order.OLDER),
            ("0A", "0900000000", Order.OLDER),
            ("0900000000", "0A", Order.NEWER),
            # As whole numbers the longer one would win, and wrongly.
            ("1", "0FFF", Order.OLDER),
        ],
    )
    def test_sequencers_compare_as_text_padded_on_the_right(
        self, known: str, heard: str, expected: Order
    ) -> None:
        job = job_of(sequencer=known)
        # The etags say the opposite each time: where there are sequencers, they alone count.
        etag = "e2" if expected is Order.SAME else "e1"
        assert order(job, upload_at(KEY, etag=etag, sequencer=heard, uploaded_at=NOON)) is expected

    @given(known=SEQUENCERS, heard=SEQUENCERS)
    def test_sequencers_compare_like_fractions(self, known: str, heard: str) -> None:
        job, upload = job_of(sequencer=known), upload_at(KEY, sequencer=heard, uploaded_at=NOON)
        difference = int(heard.ljust(24, "0"), 16) - int(known.ljust(24, "0"), 16)
        assert order(job, upload).value == (difference > 0) - (difference < 0)

    @pytest.mark.parametrize(("known", "heard"), [("", ""), ("0A", ""), ("", "0A")])
    def test_the_etag_decides_where_a_sequencer_is_absent(self, known: str, heard: str) -> None:
        job = job_of(sequencer=known)
        same = upload_at(KEY, etag="e1", sequencer=heard, uploaded_at=NOON)
        assert order(job, same) is Order.SAME
        assert order(job, replace(same, etag="e2")) is Order.NEWER

    def test_a_late_event_does_not_undo_what_a_listing_has_found(self) -> None:
        found_by_sweep = job_of(sequencer="", etag="e2")
        before = upload_at(KEY, etag="e1", sequencer="0A", uploaded_at="2026-01-02T11:59:59.999Z")
        same_second = replace(before, uploaded_at="2026-01-02T12:00:00.001Z")
        assert order(found_by_sweep, before) is Order.OLDER
        assert order(found_by_sweep, same_second) is Order.NEWER

    def test_a_listing_is_believed_whatever_its_time(self) -> None:
        # The time of a multipart upload is that of its beginning: it may lie before the last event's.
        listed = upload_at(KEY, etag="e2", uploaded_at="2026-01-02T11:00:00.000Z")
        assert order(job_of(sequencer="0A"), listed) is Order.NEWER


class TestShapes:
    def test_only_three_states_are_ends(self) -> None:
        assert {status for status in Status if status.ended} == {
            Status.COMPLETED,
            Status.REJECTED,
            Status.FAILED,
        }

    def test_an_upload_opens_a_job_that_nobody_has_touched(self) -> None:
        upload = upload_at(KEY, etag="e9", sequencer="0C", uploaded_at=NOON, size=17)
        job = queued(upload, run=3, created_at="then", now="now")
        assert (job.status, job.stage, job.attempts, job.progress) == (Status.QUEUED, "queued", 0, 0)
        assert (job.run, job.created_at, job.updated_at) == (3, "then", "now")
        assert (job.key, job.source_key, job.etag, job.size) == (KEY, KEY, "e9", 17)
        assert (job.sequencer, job.uploaded_at, job.lease, job.lease_until) == ("0C", NOON, None, 0)

    def test_a_job_has_moved_once_its_original_is_elsewhere(self) -> None:
        assert not job_of().moved
        assert job_of(key=KEY.replace("uploads/", "failed/")).moved

    def test_the_view_leaves_out_what_is_ours_and_what_is_not_known(self) -> None:
        view = job_of(lease="secret", lease_until=99).view()
        assert view == {
            "jobId": "01936b2e-7c1a-7d3e-8f00-0123456789ab",
            "owner": "alice",
            "status": "QUEUED",
            "stage": "queued",
            "progress": 0,
            "filename": "order.json",
            "size": 3,
            "key": KEY,
            "sourceKey": KEY,
            "attempts": 0,
            "outputs": [],
            "declared": {},
            "metadata": {},
            "createdAt": NOON,
            "updatedAt": NOON,
        }

    def test_a_job_comes_back_from_its_item_as_it_was(self) -> None:
        ended = job_of(
            status=Status.FAILED,
            lease="l",
            lease_until=1_700_000_000,
            outputs=[{"name": "text.txt", "size": 5}],
            declared={"order": "7"},
            metadata={"share": Decimal("0.10"), "nothing": None, "words": 2},
            error={"code": "broken", "message": "It is broken."},
            finished_at=NOON,
            expires_at=1_800_000_000,
        )
        for job in (job_of(), ended):
            assert jobs.from_item(jobs.to_item(job)) == job

    def test_what_is_not_known_is_absent_from_the_item(self) -> None:
        assert {"error", "lease", "expiresAt", "finishedAt"}.isdisjoint(jobs.to_item(job_of()))


@given(
    earlier=st.integers(0, 4_000_000_000_000),
    later=st.integers(0, 4_000_000_000_000),
)
def test_timestamps_are_iso_8601_and_sort_as_text(earlier: int, later: int) -> None:
    one, other = timestamp(earlier / 1000), timestamp(later / 1000)
    assert len(one) == len(NOON)
    assert one.endswith("Z")
    assert abs(datetime.fromisoformat(one).timestamp() - earlier / 1000) <= 0.001
    assert (one < other) == (
        datetime.fromisoformat(one).astimezone(UTC) < datetime.fromisoformat(other).astimezone(UTC)
    )


class TestItems:
    @given(
        digits=st.integers(-(10**38) + 1, 10**38 - 1),
        exponent=st.integers(-128, 125),
        zeros=st.integers(0, 20),
    )
    def test_every_number_that_dynamodb_holds_comes_back_exactly(
        self, digits: int, exponent: int, zeros: int
    ) -> None:
        exact = Context(prec=60)
        padded = Decimal(digits * 10**zeros)
        number = exact.scaleb(padded, exponent - padded.adjusted())
        assert items.from_item(items.to_item({"n": number})) == {"n": number}

    @pytest.mark.parametrize("text", ["0", "-0.0", "0E+500", "0E-300", "0." + "0" * 60])
    def test_zero_is_zero_with_any_exponent(self, text: str) -> None:
        assert items.from_item(items.to_item({"n": [Decimal(text)]})) == {"n": [0]}

    @pytest.mark.parametrize("text", ["1" * 39, "1E+127", "1E-170", "NaN", "Infinity"])
    def test_a_number_that_would_change_is_refused(self, text: str) -> None:
        with pytest.raises((TypeError, ArithmeticError)):
            items.to_item({"n": Decimal(text)})

    def test_whole_numbers_are_int_and_others_decimal(self) -> None:
        back = items.from_item(items.to_item({"a": 3, "b": Decimal("3.5"), "c": 0.1}))
        assert back == {"a": 3, "b": Decimal("3.5"), "c": Decimal("0.1")}
        assert type(back["a"]) is int

    def test_none_is_left_out_at_the_top_and_null_further_down(self) -> None:
        assert items.to_item({"gone": None, "kept": {"null": None}}) == {
            "kept": {"M": {"null": {"NULL": True}}}
        }
