"""What whole-stack tests share: one running stack, with IAM enforced, deployed once for all of them."""

from collections.abc import Iterator

import pytest

from ops.stack import LocalStack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(state_dir=tmp_path_factory.mktemp("stack")) as running:
        yield running
