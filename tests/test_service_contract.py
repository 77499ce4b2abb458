"""The contract: what the OpenAPI says is what the service does, whatever is sent."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import ignored_auth

from service.app import create_app
from service.settings import Settings
from tests.small import small_root

N_ROWS = 31
ACCEPTED = ["2xx", "3xx", "401", "403", "404", "409", "429", "5xx"]  # what schemathesis expects of good requests
COLUMNS = {"label", "brightness", "cluster", "nonsense"}

WIDENED: dict[str, tuple[list[str], str]] = {
    "search": (["400", "422"], "a filter, a cursor, a vector's length and an image's bytes are judged by the data"),
    "search_upload": (["400", "413", "415", "422"], "as search; the part `request` is JSON inside a text"),
    "search_batch": (["400", "422"], "as search"),
    "near_duplicates": (["400", "422"], "an image's bytes, and whether a box lies inside the picture"),
    "near_duplicates_upload": (["400", "413", "415", "422"], "as near_duplicates"),
    "query_rows": (["400"], "filters"), "facets": (["400"], "filters; lists and texts that have no facets"),
    "scope": (["400"], "filters"),
    "image": (["416", "422"], "a box outside the picture, a range outside the file, a file that is broken"),
    "tag": (["400"], "filters, and names with characters that cannot be seen, which Unicode's tables know"),
    **{name: (["400"], "names, as tag") for name in (
        "untag", "rename_tag", "delete_tag", "create_collection", "collection", "collect", "uncollect",
        "rename_collection", "delete_collection", "create_token",
    )},
    "import_state": (["400"], "the lines must be an export"),
    "create_campaign": (["400", "422"], "filters; failures that have no vector"),
    "create_trigger": (["400", "422"], "filters; a mode that the campaign does not have"),
    "knn_service": (["400", "422"], "as search"),
    "upload_images": (["400", "413", "415"], "bytes that are no image, names that are none of an image"),
    "start_job": (["400", "422"], "settings, filters and sources are judged by the library"),
    "answer_pairs": (["400"], "a row compared with itself"),
}  # fmt: skip
"""Operation -> further statuses that may answer a request of the right shape, and why no schema can say it."""


@schemathesis.serializer("application/x-ndjson")
def lines(ctx: Any, value: Any) -> bytes:
    """Whatever is generated as the text of an export."""
    return str(value).encode("utf-8", "replace")


def narrowed(body: dict[str, Any]) -> dict[str, Any]:
    """The contract narrowed to the small workspace, its rows and columns, so that requests reach the data."""
    for path, methods in body["paths"].items():
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "ws":
                    parameter["schema"] = {"type": "string", "enum": ["street"]}
                elif parameter["name"] == "wait":
                    parameter["schema"] |= {"maximum": 0.05}  # nothing works on the queue here
                elif parameter["name"] == "name" and "/columns/" in path:
                    parameter["schema"] = {"type": "string", "enum": sorted(COLUMNS)}
    for name in ("KnnBody", "MetadataBody"):
        body["components"]["schemas"][name]["properties"]["indice_name"] = {"type": "string", "enum": ["street"]}
    _narrow_rows(body)
    return body


def _narrow_rows(node: Any) -> None:
    """Row numbers that are there, and one that is not."""
    if isinstance(node, dict):
        if node.get("type") == "integer" and node.get("description") == "identity of an image in its workspace":
            node |= {"exclusiveMaximum": N_ROWS + 1}
        for value in node.values():
            _narrow_rows(value)
    elif isinstance(node, list):
        for value in node:
            _narrow_rows(value)


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The contract of a service over a copy of the small workspace."""
    root = tmp_path_factory.mktemp("contract") / "served"
    shutil.copytree(small_root(), root)
    app = create_app(Settings(root, rate=0, allow_hosts=("testserver",)))  # not started: jobs stay in the queue
    app.openapi_schema = narrowed(app.openapi())
    config = SchemathesisConfig.from_dict({"operations": [
        {"include-operation-id": name,
         "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, *more]}}}
        for name, (more, _) in WIDENED.items()
    ]})  # fmt: skip
    yield schemathesis.openapi.from_asgi("/v1/openapi.json", app, config=config)
    app.state.service.registry.close()
    app.state.service.state.close()


def body_of_the_contract() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(Path(folder)))
        app.state.service.state.close()
    found: dict[str, Any] = app.openapi()
    return found


def operations() -> list[tuple[str, str]]:
    """(path, method) of every operation."""
    return [(path, method) for path, methods in body_of_the_contract()["paths"].items() for method in methods]


def hold(contract: Any, path: str, method: str, n: int) -> None:
    """Send n generated requests, good and bad ones, and check every answer against the contract."""

    @settings(max_examples=n, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=contract[path][method].as_strategy())
    def check(case: Any) -> None:
        # on loopback no token is needed, so requests without one are answered: the guarded ones have tests of their own
        case.call_and_validate(excluded_checks=[ignored_auth], timeout=90)

    check()


@pytest.mark.parametrize(("path", "method"), operations())
def test_every_route_keeps_its_contract(contract: Any, path: str, method: str) -> None:
    hold(contract, path, method, 6)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method"), operations())
def test_every_route_keeps_its_contract_at_length(contract: Any, path: str, method: str) -> None:
    hold(contract, path, method, 80)


def test_every_operation_has_a_name_a_sentence_and_error_bodies() -> None:
    body = body_of_the_contract()
    names = [(path, method, one) for path, methods in body["paths"].items() for method, one in methods.items()]
    assert len({one["operationId"] for _, _, one in names}) == len(names)
    for path, method, one in names:
        assert one["description"], (path, method)
        assert {"400", "401", "403", "429"} <= set(one["responses"]), (path, method)


def test_what_is_widened_is_there() -> None:
    body = body_of_the_contract()
    assert set(WIDENED) <= {one["operationId"] for methods in body["paths"].values() for one in methods.values()}
