"""How the modules hang together: imports point one way, and AWS is in few places."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "chalicelib"

LAYERS = (
    {"app"},
    {"companion", "webhooks.routes"},
    {"routes"},
    {
        "api",
        "consumer",
        "deletion",
        "downloads",
        "invocation",
        "listings",
        "page",
        "retries",
        "signing",
        "stats",
        "sweeper",
        "workflow",
    },
    {"heavy", "multipart", "speech"},
    {"auth", "intake", "openapi", "pipeline", "uploads", "webhooks"},
    {"executions", "outputs", "progress", "quotas", "scans", "transcription.amazon", "transfers"},
    {
        "answers",
        "declared",
        "endpoints",
        "events",
        "ledger",
        "messages",
        "notifications",
        "partition",
        "sandbox",
        "scratch",
        "storage",
    },
    {"batch", "schemas"},
    {"queues"},
    {"budget", "clients", "jobs", "jwks", "keys", "metrics", "processors"},
    {
        "conditional",
        "cursors",
        "deadline",
        "files",
        "filetypes",
        "items",
        "jsontext",
        "media",
        "once",
        "settings",
        "sigv4_post",
        "status",
        "telemetry",
        "transcription",
    },
    {"errors", "lazy", "processors.base", "sigv4"},
)
"""From the map down: a module imports from the layers below its own, and from no other.

A package has one place; a module of it that is named here has its own."""

AWS = ("boto3", "botocore", "s3transfer", "mypy_boto3")
SLOW = (
    *AWS,
    "av",
    "charset_normalizer",
    "cryptography",
    "fastjsonschema",
    "jwt",
    "pocketsphinx",
    "pypdfium2",
    "pyvips",
)
"""What is only imported where it is used: a cold start would pay for it every time."""


@dataclass(frozen=True)
class Import:
    """One module that another one imports."""

    name: str
    lazy: bool
    """Inside of a function."""
    for_types: bool
    """Under `if TYPE_CHECKING`: nothing happens when the program runs."""


def sources() -> dict[str, Path]:
    """Every module by its dotted name."""
    files = [ROOT / "app.py", *sorted((ROOT / PACKAGE).rglob("*.py"))]
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in files
    }


MODULES = sources()
OURS = [name for name in MODULES if name != PACKAGE]


def imports(module: str) -> list[Import]:
    return list(_imports(ast.parse(MODULES[module].read_text()), lazy=False, for_types=False))


def _imports(node: ast.AST, *, lazy: bool, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(alias.name, lazy, for_types)
            case ast.ImportFrom(module=origin, names=names, level=level):
                assert level == 0, "imports are absolute"
                for alias in names:
                    inner = f"{origin}.{alias.name}"
                    yield Import(inner if inner in MODULES else str(origin), lazy, for_types)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from _imports(child, lazy=lazy, for_types=True)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from _imports(child, lazy=True, for_types=for_types)
            case _:
                yield from _imports(child, lazy=lazy, for_types=for_types)


def is_of(name: str, packages: tuple[str, ...]) -> bool:
    """`mypy_boto3` stands for all of its parts, which are packages of their own."""
    top = name.split(".")[0]
    return any(top == package or top.startswith(package + "_") for package in packages)


def unit_of(module: str) -> str:
    """The module, or the package, that has its place in a layer."""
    name = module.removeprefix(f"{PACKAGE}.")
    return name if any(name in layer for layer in LAYERS) else name.split(".")[0]


def depth(unit: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if unit in layer)


def test_every_module_has_its_layer() -> None:
    placed = [unit for layer in LAYERS for unit in layer]

    assert len(placed) == len(set(placed))
    assert set(placed) == {unit_of(module) for module in OURS}


@pytest.mark.parametrize("module", OURS)
def test_imports_point_down(module: str) -> None:
    unit = unit_of(module)
    for imported in imports(module):
        if imported.name in MODULES and imported.name != PACKAGE and unit_of(imported.name) != unit:
            assert depth(unit_of(imported.name)) > depth(unit), f"{module} imports {imported.name}"


def test_no_imports_go_round_in_a_circle() -> None:
    graph = {
        module: {
            imported.name
            for imported in imports(module)
            if imported.name in MODULES and imported.name != module
        }
        for module in MODULES
    }

    order = list(TopologicalSorter(graph).static_order())

    assert set(order) == set(MODULES)


def test_nothing_imports_the_map() -> None:
    assert [module for module in OURS if "app" in {imported.name for imported in imports(module)}] == []


def test_boto3_is_in_two_modules() -> None:
    """Its types, and the errors of its transfers, may be named elsewhere: that calls nothing."""
    users = {
        module
        for module in OURS
        for imported in imports(module)
        if is_of(imported.name, ("boto3", "botocore")) and not imported.for_types
    }

    assert users == {f"{PACKAGE}.clients", f"{PACKAGE}.items"}


def test_nothing_needs_shared_memory_nor_unpacks_objects_that_others_packed() -> None:
    """Lambda has no /dev/shm for `multiprocessing`; and who writes a pickle runs code in its reader."""
    banned = ("multiprocessing", "_multiprocessing", "_posixshmem", "pickle", "marshal", "shelve")
    used = {(module, imported.name) for module in OURS for imported in imports(module)}

    assert [pair for pair in used if is_of(pair[1], banned)] == []
    assert [module for module in OURS if "ProcessPool" in MODULES[module].read_text()] == []
    assert (f"{PACKAGE}.sandbox.child", "subprocess") in used


@pytest.mark.parametrize("module", OURS)
def test_what_is_slow_to_import_is_imported_where_it_is_used(module: str) -> None:
    at_import = [imported for imported in imports(module) if not imported.lazy and not imported.for_types]

    assert [imported.name for imported in at_import if is_of(imported.name, SLOW)] == []


@pytest.mark.parametrize("module", [module for module in OURS if "processors" in module.split(".")])
def test_a_processor_knows_nothing_of_aws_nor_of_jobs(module: str) -> None:
    named = {imported.name for imported in imports(module)}

    assert not [name for name in named if is_of(name, AWS)]
    assert {unit_of(name) for name in named if name in MODULES} <= {
        "errors",
        "media",
        "processors",
        "processors.base",
        "transcription",
    }


def test_the_layers_tell_of_imports_that_there_are() -> None:
    """The sensors work: what all import is seen to be imported, and each layer uses the next."""
    used = {module: {unit_of(i.name) for i in imports(module) if i.name in MODULES} for module in OURS}

    assert {"settings", "errors"} <= set().union(*used.values())
    assert Import("boto3", lazy=True, for_types=False) in imports(f"{PACKAGE}.clients")
    assert Import("boto3.session", lazy=False, for_types=True) in imports(f"{PACKAGE}.clients")
    for upper, lower in pairwise(LAYERS):
        assert any(used[module] & lower for module in OURS if unit_of(module) in upper)
