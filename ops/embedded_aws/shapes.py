"""What passes between MiniStack and the bridges."""

from typing import Any

Response = tuple[int, dict[str, str], Any]
"""What a service answers: status, headers and body."""

State = dict[str, Any]
"""What a service is told or keeps: JSON, and as little known about it."""
