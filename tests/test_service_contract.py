"""The contract: what the OpenAPI says is what the service does, whatever is sent."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import ignored_auth

from service.app import create_app
from service.settings import Settings
from tests.small import small_root


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The contract of a service over a copy of the small workspace."""
    root = tmp_path_factory.mktemp("contract") / "served"
    shutil.copytree(small_root(), root)
    app = create_app(Settings(root, rate=0, allow_hosts=("testserver",)))
    return schemathesis.openapi.from_asgi("/v1/openapi.json", app)


def operations() -> list[tuple[str, str]]:
    """(path, method) of every operation."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(Path(folder)))
        app.state.service.state.close()
    return [(path, method) for path, methods in app.openapi()["paths"].items() for method in methods]


def hold(contract: Any, path: str, method: str, n: int) -> None:
    """Send n generated requests, good and bad ones, and check every answer against the contract."""

    @settings(max_examples=n, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=contract[path][method].as_strategy())
    def check(case: Any) -> None:
        # on loopback no token is needed, so requests without one are answered: the guarded ones have tests of their own
        case.call_and_validate(excluded_checks=[ignored_auth])

    check()


@pytest.mark.parametrize(("path", "method"), operations())
def test_every_route_keeps_its_contract(contract: Any, path: str, method: str) -> None:
    hold(contract, path, method, 8)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method"), operations())
def test_every_route_keeps_its_contract_at_length(contract: Any, path: str, method: str) -> None:
    hold(contract, path, method, 80)


def test_every_operation_has_a_name_a_sentence_and_error_bodies() -> None:
    body = create_app(Settings(Path(small_root()))).openapi()
    names = [(path, method, one) for path, methods in body["paths"].items() for method, one in methods.items()]
    assert len({one["operationId"] for _, _, one in names}) == len(names)
    for path, method, one in names:
        assert one["description"], (path, method)
        assert {"400", "401", "403", "429"} <= set(one["responses"]), (path, method)
