"""What comes with the requirements and is never read by a function.

Sources stay, for the lines in tracebacks; so do `*.dist-info`, by which scanners of deployed functions, such
as Amazon Inspector, know which versions they have before them.
"""

import shutil
from fnmatch import fnmatch
from pathlib import Path

SERVICES = ("dynamodb", "s3", "sns", "sqs", "stepfunctions")
"""Those that `chalicelib.clients` makes clients of. botocore describes four hundred, in 15 MB, and looks
through the directories of all of them when it makes its first client."""

LEFT_OUT = (
    "*.pyi",  # for type checkers
    "*.h",  # for compilers
    "boto3/examples/*",
    "botocore/data/*/examples-1.json*",  # for documentation
    "pypdfium2_cli/*",
    "bin/*",
)
"""Patterns of paths; `*` goes over slashes as well."""


def remove(root: Path) -> None:
    """From a directory that requirements were unpacked into."""
    for service in (root / "botocore" / "data").glob("*/"):
        if service.is_dir() and service.name not in SERVICES:
            shutil.rmtree(service)
    for file in root.rglob("*"):
        name = str(file.relative_to(root))
        if file.is_file() and any(fnmatch(name, pattern) for pattern in LEFT_OUT):
            file.unlink()
