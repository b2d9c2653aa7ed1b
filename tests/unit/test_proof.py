"""tests/stack/proof.py: in what the calls of a run and the policies differ is said, and nothing else."""

import pytest

from ops.policies import Place
from tests.stack import proof
from tests.stack.proof import PROVOKED, UNSEEN, faults, granted
from tests.stack.recorded import Call, Calls, function_of, place_of
from tests.unit.test_policies import LOCAL

ASSUMED = "arn:aws:sts::000000000000:assumed-role"


def a_whole_run() -> Calls:
    """Every grant used, but for those that cannot be; and refused, whatever is refused on purpose."""
    used = {use for use in granted() if use not in UNSEEN and (proof.ANY, *use[1:]) not in UNSEEN}
    return {Call(*use, True) for use in used} | {Call(*use, False) for use in PROVOKED}


def test_a_run_that_uses_every_grant_proves_them() -> None:
    assert faults(a_whole_run()) == []


def test_a_grant_that_nobody_used_is_named() -> None:
    calls = a_whole_run() - {Call("notify", "dynamodb:Query", "WEBHOOKS", True)}
    assert faults(calls) == ["notify dynamodb:Query WEBHOOKS: allowed, and no test has it done"]


def test_a_refusal_is_named() -> None:
    calls = a_whole_run() | {Call("notify", "dynamodb:Scan", "WEBHOOKS", False)}
    assert faults(calls) == ["notify dynamodb:Scan WEBHOOKS: refused"]


def test_what_is_refused_while_a_test_closes_the_bucket_is_no_fault() -> None:
    closed = Call("consume", "s3:ListBucket", "BUCKET", False)
    assert faults(a_whole_run() | {closed}) == []
    (fault,) = faults(a_whole_run() | {closed._replace(action="s3:GetBucketPolicy")})
    assert fault.endswith("refused")


def test_what_is_done_beyond_the_policy_is_named() -> None:
    calls = a_whole_run() | {Call("notify", "s3:GetObject", "arn:aws:s3:::somebody-else-s/key", True)}
    (fault,) = faults(calls)
    assert fault.startswith("notify s3:GetObject arn:aws:s3:::somebody-else-s/key: done, though")


def test_an_excuse_that_is_none_is_named() -> None:
    seen = ("consume", "sqs:ReceiveMessage", "QUEUE")
    (fault,) = faults(a_whole_run() | {Call(*seen, True)})
    assert fault.endswith("done, though UNSEEN says it cannot be")
    unknown = ("consume", "sqs:PurgeQueue", "QUEUE")
    assert faults(a_whole_run(), [*UNSEEN, unknown]) == [
        "consume sqs:PurgeQueue QUEUE: in UNSEEN, and no policy allows it"
    ]
    assert faults(a_whole_run(), UNSEEN, [*PROVOKED, unknown]) == [
        "consume sqs:PurgeQueue QUEUE: in PROVOKED, and was not refused"
    ]


@pytest.mark.parametrize(
    ("caller", "function"),
    [
        (f"{ASSUMED}/waybill-local-consume/session", "consume"),
        (f"{ASSUMED}/waybill-local-api_handler/session", "api_handler"),
        ("arn:aws:iam::000000000000:user/waybill-local-http", "api_handler"),
        ("arn:aws:iam::000000000000:user/thief", ""),
        (f"{ASSUMED}/other/session", ""),
    ],
)
def test_a_caller_is_the_function_that_it_is_the_role_of(caller: str, function: str) -> None:
    assert function_of(caller, LOCAL) == function


@pytest.mark.parametrize(
    ("arn", "place"),
    [
        ("arn:aws:s3:::waybill-local-000000000000", "BUCKET"),
        ("arn:aws:s3:::waybill-local-000000000000/uploads/_/id/a [1]*.txt", "UPLOADS"),
        ("arn:aws:dynamodb:us-east-1:000000000000:table/waybill-local-jobs", "JOBS"),
        ("arn:aws:dynamodb:us-east-1:000000000000:table/waybill-local-jobs/index/open-jobs", "OPEN_JOBS"),
        ("arn:aws:sqs:us-east-1:000000000000:waybill-local-jobs", "QUEUE"),
        ("arn:aws:sqs:us-east-1:000000000000:waybill-local-jobs-dead", ""),
    ],
)
def test_a_resource_is_in_its_place(arn: str, place: str) -> None:
    assert place_of(arn, LOCAL) == (place or arn)


def test_places_do_not_overlap() -> None:
    """Or else a call could count for another grant than the one that allowed it."""
    for place in Place:
        assert place_of(place.arn(LOCAL).replace("*", "x"), LOCAL) == place.name
