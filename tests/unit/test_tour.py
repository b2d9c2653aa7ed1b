"""docs/tour.md: every file and every function that it leads to is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOUR = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")

STOPS = sorted(set(re.findall(r"`([\w/]+\.(?:py|md|json|yaml))(?:::(\w+))?`", TOUR)))


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    imported = {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    return imported | {node.name for node in ast.walk(tree) if isinstance(node, defined)}


def test_every_stop_is_there() -> None:
    assert len(STOPS) > 30
    assert [path for path, _ in STOPS if not (ROOT / path).is_file()] == []
    missing = [f"{path}::{name}" for path, name in STOPS if name and name not in names_in(ROOT / path)]
    assert missing == []


def test_every_page_that_it_links_is_there() -> None:
    pages = re.findall(r"\]\(([\w-]+\.md)\)", TOUR)
    assert pages
    assert [page for page in pages if not (ROOT / "docs" / page).is_file()] == []


def test_it_can_be_read_in_one_sitting() -> None:
    assert len(TOUR.splitlines()) <= 200
