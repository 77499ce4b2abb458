"""The service from Python: `Client(url, token)` has the verbs of the API, and answers with its plain values.

    client = curator.Client("http://127.0.0.1:8765", token)
    found = client.search("street-scenes", [{"row": 17}], k=5)
    job = client.run("street-scenes", sources=["footage"], budget="5%")
    client.wait(job["id"])

Every answer is the JSON body that the API documents at /v1/openapi.json. A refusal is a `ServiceError` with the
code, message and hint of the body. Requests that change nothing are tried again when the connection breaks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from curator.errors import CuratorError, require

Body = dict[str, Any]
TIMEOUT_S = 60.0
TRIES = 3
PAUSE_S = 0.2  # before a second try; doubled before a third
WAIT_AT_ONCE_S = 20.0  # the server holds a request for a job at most so long


class ServiceError(CuratorError):
    """The service refused.

    Args:
        status: HTTP status, 0 where there was no answer.
        code: class of the error, stable.
        message: what was found and what was expected.
        hint: what to do.
    """

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.status, self.code, self.message, self.hint = status, code, message, hint


class Client:
    """One service. Close it, or use it in a `with`; threads may share it."""

    def __init__(
        self, url: str, token: str | None = None, *, timeout_s: float = TIMEOUT_S, transport: Any = None
    ) -> None:
        httpx = require("httpx2", extra="cpu")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout_s, transport=transport)
        self._broken: type[Exception] = httpx.TransportError

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    # -- the server ------------------------------------------------------------------------------------------------

    def health(self) -> Body:
        """Whether the server answers, and its version."""
        return self._get("/healthz")

    def session(self) -> Body:
        """Who the token says one is."""
        return self._get("/v1/session")

    def tokens(self) -> list[Body]:
        """Every token ever made, without secrets."""
        return list(self._get("/v1/tokens")["tokens"])

    def create_token(self, name: str, role: str, *, days: float | None = 90) -> Body:
        """Make a token; its `secret` is shown here and never again."""
        return self._post("/v1/tokens", {"name": name, "role": role, "days": days})

    def revoke_token(self, name: str) -> Body:
        """End a token at once."""
        return self._json("DELETE", f"/v1/tokens/{_part(name)}")

    # -- workspaces ------------------------------------------------------------------------------------------------

    def workspaces(self) -> list[Body]:
        """Every workspace, a broken one with its error."""
        return list(self._get("/v1/workspaces")["workspaces"])

    def create_workspace(self, name: str) -> Body:
        """Make an empty workspace."""
        return self._post("/v1/workspaces", {"name": name})

    def info(self, ws: str) -> Body:
        """What is there, what is stale, the last runs, unreadable files."""
        return self._get(_path(ws))

    def runs(self, ws: str, *, limit: int = 50) -> list[Body]:
        """What ran, newest first."""
        return list(self._get(_path(ws, "runs"), limit=limit)["runs"])

    def columns(self, ws: str) -> list[Body]:
        """Columns that filters can name."""
        return list(self._get(_path(ws, "columns"))["columns"])

    def show(self, ws: str, row: int) -> Body:
        """Everything known about one image."""
        return self._get(_path(ws, "rows", row))

    def why(self, ws: str, row: int, *, selection: str | None = None) -> Body:
        """Why an image was picked or was not."""
        return self._get(_path(ws, "rows", row, "why"), selection=selection)

    def snapshots(self, ws: str) -> list[Body]:
        """Named snapshots."""
        return list(self._get(_path(ws, "snapshots"))["snapshots"])

    def save_snapshot(self, ws: str, name: str) -> Body:
        """Keep the workspace as it is now under a name."""
        return self._post(_path(ws, "snapshots"), {"name": name})

    # -- search and rows -------------------------------------------------------------------------------------------

    def search(self, ws: str, positives: Sequence[Mapping[str, Any]], **asked: Any) -> Body:
        """Images like the positives: examples as the API takes them; `asked` are the other keys of a search."""
        return self._post(_path(ws, "search"), {"positives": [dict(one) for one in positives], **asked}, again=True)

    def search_images(self, ws: str, images: Sequence[bytes | Path | str], **asked: Any) -> Body:
        """Images like image files or their bytes."""
        files = [_file("files", at, image) for at, image in enumerate(images)]
        positives = [{"upload": name} for _, (name, _) in files]
        data = {"request": json.dumps({"positives": positives, **asked})}
        return self._json("POST", _path(ws, "search", "upload"), files=files, data=data, again=True)

    def search_all(self, ws: str, positives: Sequence[Mapping[str, Any]], **asked: Any) -> Iterator[Body]:
        """Hits page after page, until there are no more or the workspace has moved on."""
        page = self.search(ws, positives, **asked)
        yield from page["hits"]
        while page["cursor"]:
            page = self.search(ws, positives, **{**asked, "cursor": page["cursor"]})
            yield from page["hits"]

    def search_many(self, ws: str, searches: Sequence[Mapping[str, Any]]) -> list[Body]:
        """Many searches in one call."""
        body = {"searches": [dict(one) for one in searches]}
        return list(self._post(_path(ws, "search", "batch"), body, again=True)["answers"])

    def near_duplicates(
        self, ws: str, *, row: int | None = None, image: bytes | Path | str | None = None, **asked: Any
    ) -> Body:
        """Have we already got this row or image?"""
        if image is not None:
            data = {key: str(value) for key, value in asked.items()}
            target = _path(ws, "search", "near-duplicates", "upload")
            return self._json("POST", target, files=[_file("file", 0, image)], data=data, again=True)
        body = {"example": {"row": row}, **asked}
        return self._post(_path(ws, "search", "near-duplicates"), body, again=True)

    def rows(self, ws: str, **asked: Any) -> Body:
        """A page of rows: filter, sort, offset, limit, fields."""
        return self._post(_path(ws, "rows", "query"), asked, again=True)

    def facets(self, ws: str, columns: Sequence[str], **asked: Any) -> Body:
        """Counts per value, or histograms."""
        return self._post(_path(ws, "rows", "facets"), {"columns": list(columns), **asked}, again=True)

    def image(self, ws: str, row: int, *, size: str | int = "thumb", box: Sequence[float] | None = None) -> bytes:
        """A picture: thumb, original, or a long side in px; with a box a part of it."""
        shown = None if box is None else ",".join(f"{side:g}" for side in box)
        return self._bytes(_path(ws, "images", row), size=str(size), box=shown)

    def duplicates(self, ws: str, *, order: str = "loosest", offset: int = 0, limit: int = 50) -> Body:
        """Near-duplicate groups for review."""
        return self._get(_path(ws, "duplicates"), order=order, offset=offset, limit=limit)

    def certificate(self, ws: str) -> Body:
        """The proof that every removed image is represented."""
        return self._get(_path(ws, "duplicates", "certificate"))

    # -- decisions -------------------------------------------------------------------------------------------------

    def tags(self, ws: str) -> list[Body]:
        """Tags with their number of rows."""
        return list(self._get(_path(ws, "tags"))["tags"])

    def tag(self, ws: str, tag: str, rows: Sequence[int] = (), *, filter: Body | None = None) -> Body:
        """Tag rows, or those that a filter lets through."""
        return self._post(_path(ws, "tags", tag, "rows"), _rows(rows, filter))

    def untag(self, ws: str, tag: str, rows: Sequence[int] = (), *, filter: Body | None = None) -> Body:
        """Take a tag from rows."""
        return self._post(_path(ws, "tags", tag, "rows", "remove"), _rows(rows, filter))

    def collections(self, ws: str) -> list[Body]:
        """Collections with their number of rows."""
        return list(self._get(_path(ws, "collections"))["collections"])

    def collection(self, ws: str, name: str) -> list[int]:
        """Rows of a collection, in the order they were put in."""
        return list(self._get(_path(ws, "collections", name), limit=100_000)["rows"])

    def collect(self, ws: str, name: str, rows: Sequence[int] = (), *, filter: Body | None = None) -> Body:
        """Put rows into a collection; it is made where it is missing."""
        return self._post(_path(ws, "collections", name, "rows"), _rows(rows, filter))

    def decisions(self, ws: str, **asked: Any) -> list[Body]:
        """Decisions that fit, newest first."""
        return list(self._get(_path(ws, "decisions"), **asked)["decisions"])

    def decide(self, ws: str, kind: str, rows: Sequence[int], *, key: str | None = None, **asked: Any) -> Body:
        """Write down a decision; with a key it may be sent twice."""
        return self._post(_path(ws, "decisions"), {"kind": kind, "rows": list(rows), **asked}, key=key)

    def undo(self, ws: str, decision: int) -> Body:
        """Take a decision back."""
        return self._post(_path(ws, "decisions", decision, "undo"))

    def redo(self, ws: str, decision: int) -> Body:
        """Let an undone decision hold again."""
        return self._post(_path(ws, "decisions", decision, "redo"))

    def export_state(self, ws: str) -> str:
        """Every decision and document as JSON lines."""
        return self._bytes(_path(ws, "state")).decode()

    def import_state(self, ws: str, lines: str) -> Body:
        """Take in such lines."""
        headers = {"Content-Type": "application/x-ndjson"}
        return self._json("POST", _path(ws, "state"), content=lines.encode(), headers=headers)

    # -- mining ----------------------------------------------------------------------------------------------------

    def campaigns(self, ws: str) -> list[Body]:
        """Every campaign as it stands."""
        return list(self._get(_path(ws, "campaigns"))["campaigns"])

    def create_campaign(self, ws: str, name: str, **asked: Any) -> Body:
        """Start a campaign from rows, filter, mistakes or collection."""
        return self._post(_path(ws, "campaigns"), {"name": name, **asked})

    def campaign(self, ws: str, name: str) -> Body:
        """A campaign: modes, precision, budget."""
        return self._get(_path(ws, "campaigns", name))

    def next_images(self, ws: str, campaign: str, mode: int, *, k: int = 20) -> Body:
        """The next images of a mode to review."""
        return self._get(_path(ws, "campaigns", campaign, "modes", mode, "next"), k=k)

    def review(
        self, ws: str, campaign: str, mode: int, rows: Sequence[int], verdict: str, *, key: str | None = None
    ) -> Body:
        """Accept, discard or skip images."""
        path = _path(ws, "campaigns", campaign, "modes", mode, "reviews")
        return self._post(path, {"rows": list(rows), "verdict": verdict}, key=key)

    def export_campaign(self, ws: str, campaign: str, selection: str) -> Body:
        """Write the accepted images as a selection."""
        return self._post(_path(ws, "campaigns", campaign, "export"), {"selection": selection})

    def triggers(self, ws: str) -> list[Body]:
        """Every trigger with its runs."""
        return list(self._get(_path(ws, "triggers"))["triggers"])

    def create_trigger(self, ws: str, name: str, campaign: str, mode: int = 1, **asked: Any) -> Body:
        """Save a campaign's probe to run on every new batch."""
        return self._post(_path(ws, "triggers"), {"name": name, "campaign": campaign, "mode": mode, **asked})

    # -- jobs ------------------------------------------------------------------------------------------------------

    def start(self, ws: str, kind: str, *, wait_s: float = 0, key: str | None = None, **params: Any) -> Body:
        """Ask for long work: run, ingest, embed, index, neardups, cluster, map, select, verify and others."""
        body = {"kind": kind, "params": {name: value for name, value in params.items() if value is not None}}
        return self._json("POST", _path(ws, "jobs"), json=body, params={"wait": wait_s}, headers=_key(key))

    def run(self, ws: str, **params: Any) -> Body:
        """Every stage that is not up to date, as a job."""
        return self.start(ws, "run", **params)

    def select(self, ws: str, **params: Any) -> Body:
        """A selection, as a job."""
        return self.start(ws, "select", **params)

    def verify(self, ws: str) -> Body:
        """Recompute the certificate and check every file, as a job."""
        return self.start(ws, "verify")

    def compare(self, ws: str, first: str, second: str) -> Body:
        """Two selections side by side, as a job."""
        return self.start(ws, "compare", first=first, second=second)

    def jobs(self, **asked: Any) -> list[Body]:
        """Jobs, newest first."""
        return list(self._get("/v1/jobs", **asked)["jobs"])

    def job(self, job_id: str) -> Body:
        """One job as it stands."""
        return self._get(f"/v1/jobs/{_part(job_id)}")

    def wait(self, job_id: str, *, timeout_s: float = 3_600, progress: Callable[[Body], None] | None = None) -> Body:
        """The job when it is over; `progress` is called with it meanwhile.

        Raises:
            ServiceError: it failed, with its error; or it was not over in time.
        """
        until = time.monotonic() + timeout_s
        while True:
            hold = 1.0 if progress else WAIT_AT_ONCE_S
            found = self._get(f"/v1/jobs/{_part(job_id)}", wait=min(hold, max(0.0, until - time.monotonic())))
            if progress:
                progress(found)
            if found["state"] == "failed":
                error = found["error"] or {}
                raise ServiceError(200, error.get("code", "JobFailed"), error.get("message", "the job failed"),
                                   error.get("hint", ""))  # fmt: skip
            if found["state"] in ("done", "cancelled", "interrupted"):
                return found
            if time.monotonic() > until:
                raise ServiceError(0, "Timeout", f"job {job_id} is {found['state']} after {timeout_s:g} s")

    def cancel(self, job_id: str) -> Body:
        """Ask a job to stop."""
        return self._post(f"/v1/jobs/{_part(job_id)}/cancel")

    def resume(self, job_id: str) -> Body:
        """A new job that goes on with an interrupted, failed or cancelled one."""
        return self._post(f"/v1/jobs/{_part(job_id)}/resume")

    def upload(self, ws: str, images: Iterable[bytes | Path | str]) -> Body:
        """Send images for a run or ingest job, whose `upload` is this answer's."""
        files = [_file("files", at, image) for at, image in enumerate(images)]
        return self._json("POST", _path(ws, "uploads"), files=files)

    # -- results ---------------------------------------------------------------------------------------------------

    def selections(self, ws: str) -> list[Body]:
        """Every stored selection."""
        return list(self._get(_path(ws, "selections"))["selections"])

    def selection(self, ws: str, name: str, *, offset: int = 0, limit: int = 100) -> Body:
        """A page of a selection with reasons, and its evidence."""
        return self._get(_path(ws, "selections", name), offset=offset, limit=limit)

    def export(self, ws: str, selection: str, *, format: str = "csv", first: int | None = None) -> bytes:
        """A selection as one file: paths, csv, parquet or coco-images."""
        return self._bytes(_path(ws, "selections", selection, "file"), format=format, first=first)

    def report(self, ws: str) -> Body:
        """Every number of the report."""
        found: Body = json.loads(self._bytes(_path(ws, "report.json")))
        return found

    def calibration(self, ws: str) -> Body:
        """Calibrated thresholds and the metric for copies."""
        return self._get(_path(ws, "calibration"))

    def pairs(self, ws: str, *, limit: int = 10) -> Body:
        """The next pairs to judge."""
        return self._get(_path(ws, "calibration", "pairs"), limit=limit)

    def answer_pairs(self, ws: str, answers: Sequence[Mapping[str, Any]], *, key: str | None = None) -> Body:
        """Keep judged pairs: row_a, row_b and answer (same, different, unsure) of each."""
        return self._post(_path(ws, "calibration", "answers"), {"answers": [dict(one) for one in answers]}, key=key)

    # -- the wire --------------------------------------------------------------------------------------------------

    def _get(self, path: str, **query: Any) -> Body:
        return self._json("GET", path, params=_given(query), again=True)

    def _post(self, path: str, body: Any = None, *, key: str | None = None, again: bool = False) -> Body:
        return self._json("POST", path, json=body, headers=_key(key), again=again or key is not None)

    def _bytes(self, path: str, **query: Any) -> bytes:
        data: bytes = self._sent("GET", path, again=True, params=_given(query)).content
        return data

    def _json(self, method: str, path: str, *, again: bool = False, **sent: Any) -> Body:
        found: Body = self._sent(method, path, again=again, **sent).json()
        return found

    def _sent(self, method: str, path: str, *, again: bool, **sent: Any) -> Any:
        """The answer, or its refusal raised; what may be sent twice is tried again when the connection breaks."""
        for attempt in range(TRIES):
            try:
                answer = self._http.request(method, path, **sent)
                break
            except self._broken as error:
                if not again or attempt == TRIES - 1:
                    raise ServiceError(
                        0, "NoAnswer", f"no answer from {self._http.base_url}: {error or type(error).__name__}",
                        "is the server running?",
                    ) from error  # fmt: skip
                time.sleep(PAUSE_S * 2**attempt)
        if answer.is_success:
            return answer
        try:
            told = answer.json()["error"]
        except (ValueError, KeyError, TypeError):
            told = {"code": "BadAnswer", "message": f"status {answer.status_code} without an error body", "hint": ""}
        raise ServiceError(answer.status_code, told["code"], told["message"], told["hint"])


def _path(ws: str, *parts: str | int) -> str:
    return "/".join(["/v1/workspaces", _part(ws), *(_part(part) for part in parts)])


def _part(value: str | int) -> str:
    return quote(str(value), safe="")


def _given(query: Mapping[str, Any]) -> Body:
    return {key: value for key, value in query.items() if value is not None}


def _key(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}


def _rows(rows: Sequence[int], filter: Body | None) -> Body:
    return {"rows": [int(row) for row in rows]} if filter is None else {"filter": filter}


def _file(field: str, at: int, image: bytes | Path | str) -> tuple[str, tuple[str, bytes]]:
    if isinstance(image, bytes):
        return field, (f"image{at}", image)
    path = Path(image)
    return field, (f"{at}-{path.name}", path.read_bytes())
