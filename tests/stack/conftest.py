"""What whole-stack tests share: one running stack, with IAM enforced, deployed once for all of them."""

from collections.abc import Iterator

import pytest

from ops import tokens
from ops.stack import LocalStack
from tests.stack.proof import RECORDED
from tests.stack.quiet import searched_when_stopped
from tests.stack.recorded import recorded_until_stopped


@pytest.fixture(scope="session", autouse=True)
def quiet() -> Iterator[None]:
    """Whatever the stacks of this process did, no log of theirs tells a secret."""
    with searched_when_stopped() as found:
        yield
    assert found() == [], found()


@pytest.fixture(scope="session", autouse=True)
def calls(pytestconfig: pytest.Config) -> Iterator[None]:
    """What the functions do in this process is held against their policies in the end, by `proof`."""
    with recorded_until_stopped() as recorded:
        yield
    pytestconfig.stash[RECORDED].update(recorded)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(state_dir=tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="session")
def guarded_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Another one, which asks for tokens."""
    state_dir = tmp_path_factory.mktemp("guarded-stack")
    with LocalStack(state_dir=state_dir, variables=tokens.local_variables(state_dir, {})) as running:
        yield running
