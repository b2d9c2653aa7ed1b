"""The load run itself: the same seed sends the same, faults look like those of AWS, and sums can be wrong."""

import asyncio
import json
from collections import Counter
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.parsers import create_parser

from ops.embedded_aws.faults import ERRORS, Faults, _answer
from ops.load import cargo
from ops.load.journal import Account


class TestCargo:
    def test_the_same_seed_makes_the_same_files(self) -> None:
        assert list(cargo.parcels(200, 7)) == list(cargo.parcels(200, 7))
        assert list(cargo.parcels(50, 7)) != list(cargo.parcels(50, 8))

    def test_every_kind_is_among_them(self) -> None:
        parcels = list(cargo.parcels(2000, 1))

        assert {parcel.error for parcel in parcels} == {
            None,
            "empty_file",
            "too_large",
            "type_not_allowed",
            "invalid_json",
            "corrupt_image",
        }
        assert any(parcel.dropped for parcel in parcels)
        assert any(parcel.before for parcel in parcels)

    def test_no_two_files_are_alike(self) -> None:
        bodies = Counter(parcel.body for parcel in cargo.parcels(1000, 1) if parcel.body)

        assert set(bodies.values()) == {1}

    def test_numbers_are_written_to_the_last_digit(self) -> None:
        for parcel in cargo.parcels(100, 1):
            if parcel.name == "orders.json":
                read = json.loads(parcel.body, parse_float=Decimal, parse_int=Decimal)
                assert read == [data for _, data in parcel.events]
                assert "E" not in parcel.body.decode().replace("é", "")


def scope(access_key: str, service: str, *, call: str = "", query: str = "") -> dict[str, Any]:
    credential = f"AWS4-HMAC-SHA256 Credential={access_key}/20260101/us-east-1/{service}/aws4_request, Sig"
    headers = [] if query else [(b"authorization", credential.encode())]
    headers += [(b"amz-sdk-invocation-id", call.encode())] if call else []
    return {"type": "http", "method": "POST", "headers": headers, "query_string": query.encode()}


def answers(faults: Faults, *scopes: dict[str, Any]) -> list[int]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    statuses: list[int] = []

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    for one in scopes:
        asyncio.run(faults(one, receive, send))
    return statuses


async def well(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class TestFaults:
    def test_meet_functions_and_signed_urls_but_not_root(self) -> None:
        faults = Faults(well, 1.1, 1)

        assert min(answers(faults, scope("ASIAROLE", "dynamodb"))) >= 400
        assert min(answers(faults, scope("", "", query="X-Amz-Credential=ASIAROLE%2F20260101"))) >= 400
        assert (
            answers(faults, scope("test", "dynamodb"), scope("ASIAROLE", "iam"), scope("", "")) == [200] * 3
        )

    def test_so_many_as_were_asked_for(self) -> None:
        got = answers(Faults(well, 0.1, 1), *(scope("ASIAROLE", "s3", call=str(n)) for n in range(2000)))

        assert 150 < sum(status != 200 for status in got) < 250

    def test_some_last_for_every_attempt_at_a_call(self) -> None:
        attempts = [
            answers(Faults(well, 0.1, 1), *[scope("ASIAROLE", "s3", call=str(n))] * 3) for n in range(300)
        ]

        assert any(200 not in statuses for statuses in attempts)

    @pytest.mark.parametrize("service", list(ERRORS))
    def test_the_sdk_reads_their_codes(self, service: Any) -> None:
        client = boto3.client(service, region_name="us-east-1")
        parser = create_parser(client.meta.service_model.metadata["protocol"])
        for status, code in ERRORS[service]:
            _, body = _answer(service, code)
            shape: Any = None  # errors have none of their own
            parsed = parser.parse({"body": body, "headers": {}, "status_code": status}, shape)
            assert parsed["Error"]["Code"] == code


def test_percentiles_are_by_nearest_rank() -> None:
    account = Account(100, Counter(), [], [], [], [], [float(n) for n in range(1, 101)])

    assert [account.percentile(percent) for percent in (50, 95, 99)] == [50, 95, 99]
    assert account.is_clean
    assert not Account(1, Counter(), ["a file"], [], [], [], []).is_clean
