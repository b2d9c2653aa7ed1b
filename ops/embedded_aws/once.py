"""Documents that MiniStack reads anew for every request: read once here, and the answer is the same.

No bridges but savings: some of what a stack does all day is to read the same policies.
"""

from functools import lru_cache
from typing import Any

KEPT = 1024


def read_policies_once() -> None:
    """Each request has the policies of its caller's role read from JSON, twice."""
    from ministack.core import iam_evaluator

    read = iam_evaluator.parse_policy_document
    kept = lru_cache(KEPT)(read)

    def parse_policy_document(document: Any) -> Any:
        # A list of its own for everybody; the statements are only looked at.
        return [*kept(document)] if isinstance(document, str) else read(document)

    iam_evaluator.parse_policy_document = parse_policy_document


def read_notifications_once() -> None:
    """Each write to a bucket has what it is to tell whom read from XML.

    One without an id got a new one each time. On AWS it keeps the one that S3 has given it (Amazon S3 API
    Reference, PutBucketNotificationConfiguration, "Id").
    """
    from ministack.services import s3

    kept = lru_cache(KEPT)(s3._parse_notification_config_raw)
    s3._parse_notification_config_raw = lambda raw: [dict(one) for one in kept(raw)]
