"""Webhooks: the ends of an owner's jobs, sent to the owner's URLs.

POST /webhooks ─▶ registry     URLs, types, secrets: the `webhooks` table
SNS ─▶ fan_out ─▶ delivery     one message on the deliveries queue for each event and webhook
queue ─▶ deliveries            a batch of them, side by side
           └─▶ attempt ─▶ signature, sender ─▶ connection
           └─▶ schedule        when the next attempt is due, until they are used up: a dead letter
           └─▶ journal         the `deliveries` table, which the owner can read
"""

from typing import TYPE_CHECKING

if not TYPE_CHECKING:  # see chalicelib/__init__.py

    def __getattr__(name):
        from chalicelib.lazy import submodule

        return submodule(__name__, name)
