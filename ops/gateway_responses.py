"""What API Gateway answers by itself, such as 429, 413, 504, and 403 to an unknown path.

As they come, these answers have no CORS headers, and a page of another origin learns no more than "network
error". Chalice has no word for them. They are part of the API's definition and not set beside it: PutRestApi
takes away what is not in the definition (aws/serverless-application-model, issue 390), and a stage serves a
picture of the API, which Chalice takes right after that call.
"""

from collections.abc import Mapping
from typing import Any

from chalice.app import Chalice
from chalice.deploy.models import RestAPI
from chalice.deploy.swagger import SwaggerGenerator

EXTENSION = "x-amazon-apigateway-gateway-responses"

ONE_ERROR_SHAPE = '{"error":"$context.error.responseType","message":$context.error.messageString}'
"""`messageString` has its quotes already (API Gateway Developer Guide, "Variables for data transformations").

Only such variables are replaced in it, so that the type stays in capitals."""

AFTER = "1"
"""Seconds; the limits of a stage are by the second."""


def of(app: Chalice) -> dict[str, Any]:
    """By type; those that are not named have what their class's default says, and keep their own status."""
    every = (view.cors for views in app.routes.values() for view in views.values())
    cors = next((one for one in every if one), None)
    headers = cors.get_access_control_headers() if cors else {}
    return {
        "DEFAULT_4XX": _response(headers),
        "DEFAULT_5XX": _response(headers),
        "THROTTLED": {**_response({**headers, "Retry-After": AFTER}), "statusCode": "429"},
    }


def install() -> None:
    """Have this process's Chalice put them into every definition that it makes, for Terraform too."""
    unbound: Any = SwaggerGenerator
    generate = unbound.generate_swagger

    def generate_swagger(
        self: SwaggerGenerator, app: Chalice, rest_api: RestAPI | None = None
    ) -> dict[str, Any]:
        return {**generate(self, app, rest_api), EXTENSION: of(app)}

    unbound.generate_swagger = generate_swagger


def _response(headers: Mapping[str, object]) -> dict[str, Any]:
    return {
        # A value in single quotes is a static one; any other says where in the request to find it.
        "responseParameters": {
            f"gatewayresponse.header.{name}": f"'{value}'" for name, value in headers.items()
        },
        "responseTemplates": {"application/json": ONE_ERROR_SHAPE},
    }
