"""Every operation of the contract: no token, a lesser role, the role it needs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from curator.state import open_state
from service.app import create_app
from service.settings import Settings
from tests.small import small_root

OPEN = {"healthz", "readyz", "login"}
READER = {
    "metrics", "session", "logout", "list_workspaces", "info", "runs", "columns", "show", "search", "search_upload",
    "search_batch", "near_duplicates", "near_duplicates_upload", "query_rows", "facets", "scope", "map_", "legend",
    "codes", "neighbors", "image", "pack", "groups", "certificate", "counts", "tags", "collections", "collection",
    "decisions", "campaigns", "campaign", "next_of_mode", "triggers", "list_jobs", "job", "job_log", "job_events",
    "job_file", "list_uploads", "list_selections", "selection", "coverage", "selection_file", "explain", "list_splits",
    "report_page", "report_numbers", "calibration", "list_snapshots", "indices_list", "knn_service", "metadata",
    "start_job", "cancel_job", "resume_job",  # what a job may do is decided by its kind and by who began it
}  # fmt: skip
REVIEWER = {
    "tag", "untag", "rename_tag", "delete_tag", "create_collection", "collect", "uncollect", "rename_collection",
    "delete_collection", "decide", "undo", "redo", "create_campaign", "delete_campaign", "review", "create_trigger",
    "run_triggers", "delete_trigger", "calibration_pairs", "answer_pairs",
}  # fmt: skip
ADMIN = {
    "tokens", "create_token", "revoke_token", "create", "export_state", "import_state", "export_campaign",
    "upload_images", "delete_upload", "save_snapshot", "delete_snapshot",
}  # fmt: skip
ROLES = {"reader": READER, "reviewer": REVIEWER, "admin": ADMIN}
VALUES = {"ws": "street", "row": "0", "name": "none", "tag": "none", "number": "1", "mode": "1",
          "job_id": "0" * 16, "upload": "0" * 16}  # fmt: skip


def operations() -> list[tuple[str, str, str]]:
    """(operation, method, path that names what may not be there) of the whole contract."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(Path(folder)))
        app.state.service.state.close()
    return [
        (one["operationId"], method, path.format(**VALUES))
        for path, methods in app.openapi()["paths"].items() for method, one in methods.items()
    ]  # fmt: skip


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, dict[str, dict[str, str]]]]:
    """A server that asks for tokens, and one of each role."""
    root = tmp_path_factory.mktemp("roles") / "served"
    shutil.copytree(small_root(), root)
    with open_state(root) as state:
        held = {
            role: {"Authorization": f"Bearer {state.tokens.create(role, role)[1]}"}  # type: ignore[arg-type]
            for role in ROLES
        }
    settings = Settings(root, rate=0, require_token=True)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as found:
        yield found, held


def test_every_operation_has_its_role() -> None:
    named = [name for name, _, _ in operations()]
    assert sorted(named) == sorted([*OPEN, *READER, *REVIEWER, *ADMIN])


@pytest.mark.parametrize(("name", "method", "path"), operations(), ids=lambda value: value if "/" not in value else "")
def test_who_may_do_it(
    guarded: tuple[TestClient, dict[str, dict[str, str]]], name: str, method: str, path: str
) -> None:
    client, held = guarded
    needed = next((role for role, names in ROLES.items() if name in names), None)
    sent: dict[str, Any] = {"json": {}} if method in ("post", "patch") else {}
    answer = client.request(method, path, **sent)
    if needed is None:
        assert answer.status_code in (200, 422), answer.text
        return
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "Unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    wrong = client.request(method, path, headers={"Authorization": f"Bearer cur_{'0' * 12}_x"}, **sent)
    assert wrong.status_code in (401, 429)  # guessing is slow
    allowed = list(ROLES).index(needed)
    for rank, role in enumerate(ROLES):
        answer = client.request(method, path, headers=held[role], **sent)
        assert (answer.status_code == 403) == (rank < allowed), (role, answer.status_code, answer.text)
        assert answer.status_code != 401, role
        if rank < allowed:
            assert answer.json()["error"]["message"] == f"{role} may not do this, {needed} may"
