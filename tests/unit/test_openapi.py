"""The description of the API: complete, and true to the routes."""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from chalice.app import Chalice

from chalicelib import answers, openapi, schemas
from chalicelib.api import Call
from chalicelib.routes import Routes
from chalicelib.settings import Settings


@pytest.fixture
def app(settings: Settings) -> Iterator[ModuleType]:
    """`app.py`, read anew under the test's environment, as its decorators take names from there."""
    del settings
    sys.modules.pop("app", None)
    yield importlib.import_module("app")
    sys.modules.pop("app", None)


def described(app: Chalice, *, authenticated: bool = True) -> dict[str, Any]:
    return openapi.document(app.routes, "https://api.example.com", authenticated=authenticated)


def test_every_route_says_what_it_answers(app: ModuleType) -> None:
    assert openapi.undescribed(app.app.routes) == []


def test_a_route_that_says_nothing_is_found() -> None:
    app = Chalice(app_name="small")
    route = Routes(app)

    @app.route("/plain")
    def plain() -> Any:
        """It has words, but no contract."""

    @route.post("/silent")
    def silent(call: Call) -> Any:
        """It has a contract, but no answer."""

    @route.get("/wordless", answer=answers.HEALTH)
    def wordless(call: Call) -> Any: ...

    @route.delete("/gone", status=204)
    def gone(call: Call) -> Any:
        """Nothing to say is said by its status."""

    assert openapi.undescribed(app.routes) == ["GET /plain", "POST /silent", "GET /wordless"]


def test_all_routes_of_the_api_are_in_it_and_no_mistakes(app: ModuleType) -> None:
    paths = described(app.app)["paths"]

    operations = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert operations >= {
        "POST /presign",
        "GET /jobs",
        "GET /jobs/{jobId}",
        "DELETE /jobs/{jobId}",
        "POST /jobs/{jobId}/retry",
        "GET /jobs/{jobId}/files/{name}",
        "GET /stats",
        "GET /openapi.json",
        "GET /health",
        "GET /",
    }
    assert not operations & {"GET /presign", "PUT /presign", "POST /", "PUT /"}


def test_every_reference_leads_somewhere_and_every_operation_has_its_own_id(app: ModuleType) -> None:
    document = described(app.app)

    text = json.dumps(document)
    referred = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred == set(document["components"]["schemas"])
    assert "$id" not in text
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(ids)) == len(ids)


def test_every_parameter_of_a_path_is_declared(app: ModuleType) -> None:
    for path, methods in described(app.app)["paths"].items():
        for operation in methods.values():
            declared = [p["name"] for p in operation.get("parameters", []) if p["in"] == "path"]
            assert declared == re.findall(openapi._PARAMETER, path)


def test_what_is_checked_is_what_is_shown(app: ModuleType) -> None:
    document = described(app.app)

    shown = document["components"]["schemas"]["Presign"]
    assert shown == {name: value for name, value in schemas.PRESIGN.items() if name != "$id"}
    parameters = document["paths"]["/jobs"]["get"]["parameters"]
    assert {p["name"]: p["schema"] for p in parameters if p["in"] == "query"} == schemas.JOBS_QUERY[
        "properties"
    ]


def test_every_error_has_the_one_shape(app: ModuleType) -> None:
    for methods in described(app.app)["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    (content,) = response["content"].values()
                    assert content["schema"] == {"$ref": "#/components/schemas/Error"}


def test_who_has_to_say_who_they_are(app: ModuleType) -> None:
    closed, free = described(app.app), described(app.app, authenticated=False)

    assert closed["security"] == [{"bearer": []}]
    assert closed["paths"]["/health"]["get"]["security"] == []
    assert "security" not in closed["paths"]["/stats"]["get"]
    assert "401" in closed["paths"]["/stats"]["get"]["responses"]
    assert "security" not in json.dumps(free)
    assert "401" not in free["paths"]["/stats"]["get"]["responses"]


def test_two_schemas_of_one_name_are_refused() -> None:
    components = openapi._Components()
    components.put({"$id": "thing", "type": "string"})
    components.put({"$id": "thing", "type": "string"})

    with pytest.raises(ValueError, match="Thing"):
        components.put({"$id": "thing", "type": "integer"})
