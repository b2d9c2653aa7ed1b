"""The key grammar: what is built parses back, and nobody's key can be taken for somebody else's."""

import re
import time
import unicodedata
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chalicelib import keys
from chalicelib.errors import BadRequest
from chalicelib.keys import NOBODY, OpenKey
from chalicelib.settings import Settings

JOB_ID = "01912b3c-4d5e-7f60-8a1b-2c3d4e5f6071"

NOON = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)

PLAIN = Settings.from_env(
    {
        "BUCKET_NAME": "waybill",
        "JOBS_TABLE": "jobs",
        "EVENTS_TABLE": "events",
        "WEBHOOKS_TABLE": "webhooks",
        "DELIVERIES_TABLE": "deliveries",
        "DELIVERIES_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/deliveries",
        "DELIVERIES_DEAD_LETTER_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/dead",
        "QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/jobs",
        "TOPIC_ARN": "arn:aws:sns:eu-central-1:123456789012:events",
        "AUTH_MODE": "none",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "AWS_REGION": "eu-central-1",
    }
)
"""For properties, which take no fixture that is made anew for each example."""

BIDI_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}

# Whatever a client may send, and more often what is known to make trouble.
TROUBLE = [
    *("a", "é", "e", "\u0301", "\u0323", "\u0344", "\u0f73", "ﬁ", "\u1100", "\u1161", "\u11a8"),
    *(".", "..", "/", "\\", "\x00", "\n", "\x7f", "\x85", "%00", "%2F", ":", "*", "?", '"', "<", "|"),
    *(" ", "\t", "\u00a0", "\u2000", "\u2001", "\u3000", "\u2028", "\u2029", "\ufeff"),
    *("\u202e", "\u2066", "\u200f", "\u200d", "\ufe0f", "👩", "👧", "🏳", "\ud800", "\udfff"),
    *(".txt", ".tar.gz", ".PDF", ".jpeg", ".exe"),
]
names = st.one_of(
    st.text(st.characters(), max_size=300),
    st.lists(st.sampled_from(TROUBLE), max_size=200).map("".join),
)
subjects = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=130)


class TestFilename:
    @hypothesis_settings(max_examples=1000)
    @given(names)
    @example("\u200d" * 100 + ".txt")
    @example(". \u00a0.a")
    @example("e\x00\u0301")
    @example("a" * 143 + "👩\u200d👩\u200d👧\u200d👧.jpeg")
    @example("." * 300 + "txt")
    @example(" " * 300)
    def test_whatever_comes_in_what_goes_out_is_safe(self, name: str) -> None:
        safe = keys.safe_filename(name)

        assert safe
        assert len(safe.encode()) <= 150
        assert not safe.startswith(".")
        assert safe == safe.strip()
        assert not set(safe) & set("/\\")
        assert not [c for c in safe if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
        assert not [c for c in safe if unicodedata.bidirectional(c) in BIDI_CONTROLS]
        assert unicodedata.is_normalized("NFC", safe)

    @hypothesis_settings(max_examples=1000)
    @given(names)
    @example("\u200d" * 100 + ".txt")
    @example("e\x00\u0301")
    @example(". \u00a0a")
    def test_what_is_safe_already_stays_as_it_is(self, name: str) -> None:
        """`parse` knows a presigned key by this."""
        safe = keys.safe_filename(name)

        assert keys.safe_filename(safe) == safe

    @pytest.mark.parametrize(
        ("sent", "kept"),
        [
            ("report.pdf", "report.pdf"),
            ("with spaces & + % = ü.txt", "with spaces & + % = ü.txt"),
            ("🎉👩\u200d👩\u200d👧.txt", "🎉👩\u200d👩\u200d👧.txt"),
            ("e\u0301.txt", "é.txt"),
            ("/etc/passwd", "passwd"),
            ("..\\..\\windows\\system.ini", "system.ini"),
            ("C:\\Users\\me\\photo.jpg", "photo.jpg"),
            ("../../secret", "secret"),
            ("....//....//x", "x"),
            (".htaccess", "htaccess"),
            ("...hidden", "hidden"),
            (". . .x", "x"),
            ("bell\x07\x1b[31m.txt", "bell[31m.txt"),
            ("nul\x00.txt", "nul.txt"),
            ("%00.php", "%00.php"),
            ("line\r\nSet-Cookie: x.txt", "lineSet-Cookie: x.txt"),
            ("two\u2028lines.txt", "twolines.txt"),
            ("invoice\u202efdp.exe", "invoicefdp.exe"),
            ("no\ufffe xml\uffff.txt", "no xml.txt"),
            ("\u2066name\u2069.txt", "name.txt"),
            ("invoice.pdf.exe", "invoice.pdf.exe"),
            ("  padded.txt  ", "padded.txt"),
            ("half \ud83d.txt", "half .txt"),
            ("outputs", "outputs"),
        ],
    )
    def test_known_tricks(self, sent: str, kept: str) -> None:
        assert keys.safe_filename(sent) == kept

    @pytest.mark.parametrize(
        "sent",
        [None, "", ".", "..", "...", "/", "dir/", "\\", "\x00", " ", "\u202e", "\ud800", "./", "\u2028"],
    )
    def test_a_name_that_comes_to_nothing_is_file(self, sent: str | None) -> None:
        assert keys.safe_filename(sent) == "file"

    @pytest.mark.parametrize(
        ("sent", "extension"),
        [
            ("a" * 300 + ".pdf", ".pdf"),
            ("é" * 300 + ".JPEG", ".JPEG"),
            ("漢" * 85 + ".txt", ".txt"),  # 259 bytes, while file systems take 255
            ("a" * 300 + ".tar.gz", ".gz"),
            ("a" * 300, ""),
            ("a" * 300 + "." + "b" * 17, ""),
            ("a" * 300 + ".ex!", ""),
            ("a." * 200, ""),
        ],
    )
    def test_a_long_name_is_cut_before_its_extension(self, sent: str, extension: str) -> None:
        safe = keys.safe_filename(sent)

        assert 147 <= len(safe.encode()) <= 150
        assert safe.endswith(extension)
        stem = safe.removesuffix(extension)
        assert sent.startswith(stem)

    def test_a_name_of_150_bytes_is_left_alone_and_one_of_151_is_not(self) -> None:
        assert keys.safe_filename("a" * 146 + ".txt") == "a" * 146 + ".txt"
        assert keys.safe_filename("a" * 147 + ".txt") == "a" * 146 + ".txt"

    def test_an_emoji_at_the_cut_is_left_out_whole_and_leaves_no_joiner_behind(self) -> None:
        family = "👩\u200d👩\u200d👧\u200d👧"
        for filler in range(110, 150):
            safe = keys.safe_filename("a" * filler + family + ".jpeg")

            assert not safe.removesuffix(".jpeg").endswith("\u200d")
            assert safe.endswith(".jpeg")

    def test_a_space_at_the_cut_is_gone(self) -> None:
        assert keys.safe_filename("a" * 140 + " " * 50 + "b.txt") == "a" * 140 + ".txt"


class TestOwner:
    @hypothesis_settings(max_examples=300)
    @given(subjects, subjects)
    @example(".", "=2E")
    @example("_", "=5F")
    @example("a", "A")
    @example("é", "e\u0301")
    @example("a/b", "a=2Fb")
    def test_no_two_subjects_share_a_segment(self, one: str, other: str) -> None:
        assume(one != other)

        assert encoded(one) is None or encoded(one) != encoded(other)

    @hypothesis_settings(max_examples=300)
    @given(subjects)
    @example("_")
    @example("..")
    @example("=")
    def test_a_segment_is_safe_in_a_key_and_gives_the_subject_back(self, sub: str) -> None:
        segment = encoded(sub)
        assume(segment is not None)
        assert segment is not None

        assert re.fullmatch(r"[A-Za-z0-9@.=-]+", segment)
        assert not segment.startswith(".")
        assert segment != NOBODY
        raw = re.sub(rb"=(..)", lambda found: bytes.fromhex(found[1].decode()), segment.encode())
        assert raw.decode() == sub

    @pytest.mark.parametrize(
        ("sub", "segment"),
        [
            ("alice@example.com", "alice@example.com"),
            ("auth0|5f7c", "auth0=7C5f7c"),
            ("a b/c", "a=20b=2Fc"),
            ("_", "=5F"),
            ("..", "=2E."),
            ("é", "=C3=A9"),
            ("a=b", "a=3Db"),
            ("a\x00b", "a=00b"),
        ],
    )
    def test_some_of_them(self, sub: str, segment: str) -> None:
        assert keys.owner_segment(sub) == segment

    @pytest.mark.parametrize("sub", ["", "a" * 401, "é" * 67])
    def test_a_subject_that_is_no_part_of_a_key_is_refused(self, sub: str) -> None:
        with pytest.raises(BadRequest) as caught:
            keys.owner_segment(sub)

        assert caught.value.code == "bad_owner"

    def test_the_longest_one_fits(self) -> None:
        assert keys.owner_segment("a" * 400) == "a" * 400


def encoded(sub: str) -> str | None:
    """None where the subject is too long."""
    try:
        return keys.owner_segment(sub)
    except BadRequest:
        return None


class TestParse:
    @hypothesis_settings(max_examples=300)
    @given(subjects | st.none(), names)
    def test_every_key_that_presign_signs_parses_back(self, sub: str | None, name: str) -> None:
        owner = NOBODY if sub is None else encoded(sub)
        assume(owner is not None)
        assert owner is not None
        filename, job_id = keys.safe_filename(name), keys.new_job_id()

        key = keys.upload_key(PLAIN, owner, job_id, filename)

        assert len(key.encode()) <= 1024
        assert keys.parse(PLAIN, key) == OpenKey(owner, job_id, filename)

    @pytest.mark.parametrize(
        "key",
        [
            "processed/_/" + JOB_ID + "/a.txt",
            "rejected/_/" + JOB_ID + "/a.txt",
            "failed/a.txt",
            "other/a.txt",
            "a.txt",
            "",
            "/uploads/a.txt",
            "Uploads/a.txt",
            "uploads",
            "uploadsx/a.txt",
            "uploads/",
            "uploads/folder/",
            "uploads//",
            f"uploads/_/{JOB_ID}/",
            "incoming/",
            "incoming/shop/",
            "incoming/readme.txt",
            "incoming/shop/day.JSON",
            "incoming/json",
        ],
    )
    def test_what_is_elsewhere_or_a_folder_is_no_work(self, settings: Settings, key: str) -> None:
        assert keys.parse(settings, key) is None

    @pytest.mark.parametrize(
        ("key", "owner", "filename"),
        [
            ("uploads/x", "_", "x"),
            ("uploads//x", "_", "x"),
            ("uploads/_/x", "_", "x"),
            ("uploads/alice/x", "alice", "x"),
            ("uploads/alice/2026/05/x.txt", "alice", "x.txt"),
            ("uploads/a lice/x", "a=20lice", "x"),
            ("uploads/../x", "=2E.", "x"),
            ("uploads/./x", "=2E", "x"),
            ("uploads/=zz/x", "=3Dzz", "x"),
            ("uploads/é/x", "=C3=A9", "x"),
            ("uploads/alice/.hidden", "alice", "hidden"),
            ("uploads/alice/..", "alice", "file"),
            ("uploads/alice/back\\slash", "alice", "slash"),
            ("incoming/day.json", "_", "day.json"),
            ("incoming/shop-7/day.json", "shop-7", "day.json"),
            (f"incoming/_/{JOB_ID}/day.json", "_", "day.json"),
            ("incoming//day.json", "_", "day.json"),
        ],
    )
    def test_a_drop_belongs_to_its_first_folder_and_has_no_job_id(
        self, settings: Settings, key: str, owner: str, filename: str
    ) -> None:
        assert keys.parse(settings, key) == OpenKey(owner, None, filename)

    @pytest.mark.parametrize(
        "key",
        [
            f"uploads/_/{JOB_ID.upper()}/a.txt",
            f"uploads/_/{JOB_ID}0/a.txt",
            f"uploads/_/{JOB_ID}/deep/a.txt",
            f"uploads/_/{JOB_ID}/.a.txt",
            f"uploads/_/{JOB_ID}/e\u0301.txt",
            f"uploads/_/{JOB_ID}/{'a' * 151}",
            f"uploads/two words/{JOB_ID}/a.txt",
            f"uploads//{JOB_ID}/a.txt",
            f"uploads/{JOB_ID}/a.txt",
        ],
    )
    def test_what_presign_would_never_have_signed_is_a_drop(self, settings: Settings, key: str) -> None:
        place = keys.parse(settings, key)

        assert place is not None
        assert place.job_id is None
        assert keys.safe_filename(place.filename) == place.filename

    @pytest.mark.parametrize("folder", ["漢" * 300, "é" * 100, "a" * 401, "a b" * 150])
    def test_a_folder_too_long_for_any_owner_is_nobody_s(self, settings: Settings, folder: str) -> None:
        """Shortened, it could be the name of a caller, who would see a stranger's files."""
        place = keys.parse(settings, f"uploads/{folder}/x")

        assert place == OpenKey(NOBODY, None, "x")

    @hypothesis_settings(max_examples=300)
    @given(st.text(st.characters(), max_size=400))
    def test_no_key_is_too_odd(self, rest: str) -> None:
        for prefix, suffix in (("uploads/", ""), ("incoming/", ".json")):
            key = prefix + rest + suffix
            place = keys.parse(PLAIN, key)
            if place is None:
                assert key.endswith("/")
            else:
                ended = keys.ended_key("processed/", place.owner, place.job_id or JOB_ID, place.filename)
                assert ended.count("/") == 3
                assert len(ended.encode()) <= 1024

    def test_the_prefixes_are_the_configured_ones(self, env: dict[str, str]) -> None:
        inbox = Settings.from_env(env | {"UPLOAD_PREFIX": "inbox/"})

        assert keys.parse(inbox, f"inbox/_/{JOB_ID}/a.txt") == OpenKey("_", JOB_ID, "a.txt")
        assert keys.parse(inbox, f"uploads/_/{JOB_ID}/a.txt") is None


def test_an_ended_original_is_the_same_key_with_its_first_segment_swapped(settings: Settings) -> None:
    key = keys.upload_key(settings, "alice", JOB_ID, "a.txt")

    assert key == f"uploads/alice/{JOB_ID}/a.txt"
    for prefix in settings.ended_prefixes:
        assert keys.ended_key(prefix, "alice", JOB_ID, "a.txt") == key.replace("uploads/", prefix, 1)


def test_outputs_lie_beside_their_original(settings: Settings) -> None:
    assert keys.output_key(settings, "alice", JOB_ID, "text.txt") == (
        f"processed/alice/{JOB_ID}/outputs/text.txt"
    )


class TestJobId:
    def test_a_new_one_is_a_uuid_of_version_7(self) -> None:
        before = time.time_ns() // 1_000_000
        made = uuid.UUID(keys.new_job_id())
        after = time.time_ns() // 1_000_000

        assert (made.version, made.variant) == (7, uuid.RFC_4122)
        assert before <= made.int >> 80 <= after

    def test_they_are_never_the_same_and_always_job_ids(self) -> None:
        made = [keys.new_job_id() for _ in range(1000)]

        assert len(set(made)) == len(made)
        assert all(map(keys.is_job_id, made))

    def test_they_sort_by_the_time_of_their_making(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 1_700_000_000_000_000_000
        made = []
        for step in (0, 1, 255, 256, 65_536, 10**9):
            monkeypatch.setattr(time, "time_ns", lambda step=step: now + step * 1_000_000)
            made.append(keys.new_job_id())

        assert made == sorted(made)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "x",
            JOB_ID.upper(),
            JOB_ID.replace("-", ""),
            f"{{{JOB_ID}}}",
            JOB_ID + "\n",
            " " + JOB_ID,
            JOB_ID.replace("7f60", "0f60"),
            JOB_ID.replace("8a1b", "ca1b"),
            JOB_ID[:-1] + "g",
            JOB_ID[:-1] + "\u0661",
        ],
    )
    def test_anything_else_is_none(self, text: str) -> None:
        assert keys.is_job_id(JOB_ID)
        assert not keys.is_job_id(text)


class TestDerivedJobId:
    def test_the_same_object_has_the_same_id_however_it_is_seen(self) -> None:
        """An event's receiver asks with HEAD, the sweep lists: another time zone, or milliseconds."""
        first = keys.derived_job_id("bucket", "uploads/x", "etag", NOON)
        same_moment = NOON.astimezone(timezone(timedelta(hours=9))) + timedelta(milliseconds=123)

        assert keys.derived_job_id("bucket", "uploads/x", "etag", same_moment) == first

    def test_it_is_a_job_id_that_sorts_by_the_time_of_the_upload(self) -> None:
        made = [
            keys.derived_job_id("bucket", "uploads/x", "etag", NOON + timedelta(seconds=seconds))
            for seconds in range(100)
        ]

        assert all(map(keys.is_job_id, made))
        assert all(uuid.UUID(one).version == 7 for one in made)
        assert made == sorted(made)

    def test_another_object_has_another_id(self) -> None:
        made = {
            keys.derived_job_id("bucket", "uploads/x", "etag", NOON),
            keys.derived_job_id("bucket2", "uploads/x", "etag", NOON),
            keys.derived_job_id("bucket", "uploads/y", "etag", NOON),
            keys.derived_job_id("bucket", "uploads/x", "etag2", NOON),
            keys.derived_job_id("bucket", "uploads/x", "etag", NOON + timedelta(seconds=1)),
            keys.derived_job_id("bucketu", "ploads/x", "etag", NOON),
        }

        assert len(made) == 6
