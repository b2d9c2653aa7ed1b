"""The built page in the repository is what its sources make."""

from pathlib import Path

import pytest

from chalicelib import page
from tests.browser import node


@pytest.mark.skipif(not node.FOUND, reason=node.MISSING)
def test_the_page_is_the_one_that_its_sources_make(tmp_path: Path) -> None:
    project = node.installed("web", tmp_path)

    node.run(project, Path("build.mjs"), str(tmp_path / "page.html"))

    assert (tmp_path / "page.html").read_bytes() == page.BUILT.read_bytes(), "run `make page`"
