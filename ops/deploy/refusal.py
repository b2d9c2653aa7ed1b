"""Why a deployment does not happen."""


class Refused(Exception):
    """It would be unsafe, or cannot be: nothing was touched. The message is one line that says what to do."""


class Failed(Exception):
    """A step has failed; the same command goes on from there. The message is one line that says why."""
