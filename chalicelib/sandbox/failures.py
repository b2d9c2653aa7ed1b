"""What the owner of a file is told whose decoder did not come through."""

from chalicelib.errors import DecodeFailed

SLOW = "The file takes too long to read: save it again in a simpler form, or split it up."
LARGE = "The file takes more memory to read than a file may take: make it smaller, or split it up."
DEADLY = "The program that reads such files breaks over this one: open it yourself and save it anew."


def lie(what: str) -> DecodeFailed:
    """Of a child whose answer no processor of ours would give."""
    error = DecodeFailed(DEADLY)
    error.__cause__ = ValueError(what)
    return error
