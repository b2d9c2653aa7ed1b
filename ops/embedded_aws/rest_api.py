"""Bridge of API Gateway: REST APIs that are defined by a Swagger document."""

import json
from typing import Any

from ops.embedded_aws.shapes import Response, State


def serve_rest_api_definitions() -> None:
    """MiniStack has no ImportRestApi (it makes an API without routes) and no PutRestApi (it refuses).

    They are the two calls by which `chalice deploy` brings the routes, at the first and at every later
    deployment (API Gateway, REST API reference, ImportRestApi and PutRestApi). Terraform has UpdateRestApi
    follow, one operation for each binary media type, of which MiniStack makes a map instead of a list.
    """
    from ministack.services import apigateway_v1

    unbridged = apigateway_v1.handle_request

    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Response:
        match method, path.strip("/").split("/"):
            case "POST", ["restapis"] if "mode" in query:
                return _import_rest_api(json.loads(body), query)
            case "PUT", ["restapis", api_id]:
                return _put_rest_api(api_id, json.loads(body))
            case "PATCH", ["restapis", api_id]:
                body = json.dumps(_without_media_types(api_id, json.loads(body))).encode()
        response: Response = await unbridged(method, path, headers, body, query)
        return response

    apigateway_v1.handle_request = handle_request


def leave_out_access_logs_that_nobody_asked_for() -> None:
    """MiniStack gives every new stage empty `accessLogSettings`; AWS gives it none (reference, "Stage").

    Terraform takes the empty ones for a log, and plans to remove it again and again.
    """
    from ministack.services import apigateway_v1 as v1

    unbridged = v1._create_stage

    def create_stage(api_id: str, data: State) -> Response:
        response: Response = unbridged(api_id, data)
        stage = v1._stages_v1.get(api_id, {}).get(data.get("stageName"))
        if response[0] != 201 or not stage or stage["accessLogSettings"]:
            return response
        del stage["accessLogSettings"]
        return 201, *v1._v1_response(stage, 201)[1:]

    v1._create_stage = create_stage


def _import_rest_api(definition: State, query: dict[str, Any]) -> Response:
    from ministack.services import apigateway_v1 as v1

    _, _, body = v1._create_rest_api(
        {
            "name": definition.get("info", {}).get("title", "unnamed"),
            "endpointConfiguration": {"types": query.get("endpointConfigurationTypes", ["EDGE"])},
        }
    )
    api_id = json.loads(body)["id"]
    _define_rest_api(api_id, definition)
    return 201, *v1._get_rest_api(api_id)[1:]


def _put_rest_api(api_id: str, definition: State) -> Response:
    """`mode=overwrite`: the API keeps its id, stages and deployments, and everything defined goes."""
    from ministack.services import apigateway_v1 as v1

    if api_id in v1._rest_apis:
        root = next(resource for resource in v1._resources[api_id].values() if resource["path"] == "/")
        root["resourceMethods"] = {}
        v1._resources[api_id] = {root["id"]: root}
        v1._authorizers_v1[api_id] = {}
        _define_rest_api(api_id, definition)
    response: Response = v1._get_rest_api(api_id)
    return response


def _without_media_types(api_id: str, patch: State) -> State:
    """Carry out the operations on `/binaryMediaTypes/<type, with ~1 for each slash>`; returns the others.

    "Patch operations" of API Gateway's REST API reference: the type is in the path, not in the value.
    """
    from ministack.services import apigateway_v1 as v1

    at = "/binaryMediaTypes/"
    operations = patch.get("patchOperations", [])
    if api_id in v1._rest_apis:
        types = v1._rest_apis[api_id].setdefault("binaryMediaTypes", [])
        for operation in (each for each in operations if each["path"].startswith(at)):
            name = operation["path"].removeprefix(at).replace("~1", "/").replace("~0", "~")
            if name in types:
                types.remove(name)
            if operation["op"] != "remove":
                types.append(operation.get("value") or name)
    return {**patch, "patchOperations": [each for each in operations if not each["path"].startswith(at)]}


def _define_rest_api(api_id: str, definition: State) -> None:
    """Fill an API without routes from a Swagger document, using the parser of MiniStack's CloudFormation.

    That parser reads no more of an integration than type, method and URI. A CORS preflight is a MOCK
    integration, whose answer is all in its templates and responses, so each is put again in full. Gateway
    responses it does not read at all.
    """
    from ministack.services import apigateway_v1 as v1

    v1._gateway_responses[api_id] = {}
    for kind, response in definition.get("x-amazon-apigateway-gateway-responses", {}).items():
        v1._put_gateway_response(api_id, kind, response)
    v1._rest_apis[api_id]["binaryMediaTypes"] = definition.get("x-amazon-apigateway-binary-media-types", [])
    authorizers = v1._import_security_schemes(api_id, definition)
    for path, item in definition.get("paths", {}).items():
        v1._import_path_item(api_id, path, item, authorizers, definition.get("security"))
        resource_id = next(i for i, resource in v1._resources[api_id].items() if resource["path"] == path)
        for method, operation in item.items():
            integration = operation.get("x-amazon-apigateway-integration")
            if method in v1._OPENAPI_HTTP_METHODS and integration:
                _put_whole_integration(api_id, resource_id, method.upper(), integration)


def _put_whole_integration(api_id: str, resource_id: str, method: str, integration: State) -> None:
    from ministack.services import apigateway_v1 as v1

    upper_case = {"type", "passthroughBehavior", "contentHandling"}
    v1._put_integration(
        api_id,
        resource_id,
        method,
        {name: value.upper() if name in upper_case else value for name, value in integration.items()},
    )
    for pattern, response in integration.get("responses", {}).items():
        v1._put_integration_response(
            api_id,
            resource_id,
            method,
            response["statusCode"],
            {**response, "selectionPattern": "" if pattern == "default" else pattern},
        )
