"""The embedded AWS: MiniStack, in a process of its own, with IAM enforced.

    python -m ops.embedded_aws --port 4566 --state-dir DIR

It listens on 127.0.0.1 only and keeps everything below DIR, so that the next start finds it again. It stops
cleanly on SIGTERM, on SIGINT, or when its standard input ends, which is how it notices that whoever started
it is gone, whatever the reason.

The few places where MiniStack differs from AWS in a way that matters here are bridged in this package and
nowhere else, one function each, with the reason, in a module named after what is bridged.
`tests/stack/test_embedded_aws.py` runs the same probe against MiniStack as it comes and against this package,
and fails when a bridge can be deleted. Some modules are no bridges: `faults` has calls fail, for who asks for
it, and `calls` notes them; `forked`, `nursery`, `once`, `output` and `server` save time.
"""

import os
from collections.abc import Mapping
from pathlib import Path

HOST = "127.0.0.1"

# What functions may inherit from the machine: MiniStack hands its own environment on to them.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")


def environment(port: int, state_dir: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """MiniStack's settings, and nothing of the surrounding shell but INHERITED.

    A stray AWS_PROFILE, AWS_ENDPOINT_URL or proxy of the user would otherwise reach the functions.
    """
    return {
        **{name: inherited[name] for name in INHERITED if name in inherited},
        "TMPDIR": str(state_dir / "tmp"),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "GATEWAY_PORT": str(port),
        "BIND_HOST": HOST,
        "MINISTACK_HOST": HOST,
        "AUTH": "true",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(state_dir / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(state_dir / "s3"),
    }
