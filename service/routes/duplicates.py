"""Near-duplicate groups for review: kept and removed images, the certificate, and what another threshold would do."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from curator.errors import StageMissing
from curator.pipeline.deduplicating import n_waiting
from curator.searching.groups import duplicate_groups
from service.answers import answer
from service.context import service_of
from service.routes.search import NOT_READY
from service.schemas import Answered
from service.security import Reader

SUBJECT = "duplicates"  # of the reviews that confirm a group

router = APIRouter(prefix="/v1/workspaces/{ws}/duplicates", tags=["duplicates"])


class Member(Answered):
    """A removed image and the one that stands for it."""

    row: int
    similarity: float = Field(description="cosine to the kept image")
    kind: Literal["exact", "near"]


class GroupAnswer(Answered):
    """A kept image and those it stands for."""

    kept: int
    size: int
    loosest: float
    removed: list[Member]
    is_wished: bool = Field(description="the kept one was chosen by a person before these were looked for")
    chosen: int | None = Field(description="the row that somebody chose to keep instead, which the next pass will do")
    not_duplicates: list[list[int]] = Field(description="pairs of this group that somebody said are none")
    is_confirmed: bool = Field(description="every removed image was accepted in a review of the subject `duplicates`")


class GroupsAnswer(Answered):
    """A page of groups."""

    groups: list[GroupAnswer]
    total: int
    n_removed: int
    n_confirmed: int = Field(description="groups that are confirmed")
    n_waiting: int = Field(description="images that people decided to keep, or no longer, since these were looked for")
    newest: int = Field(description="number of the newest decision: `expect` of one about what is shown here")
    offset: int
    snapshot: int


class CertificateAnswer(Answered):
    """The proof that every removed image is represented, as stored; `curator verify` recomputes it."""

    threshold: float
    threshold_origin: str
    keep: str | None = Field(description="the policy by which the kept ones were chosen; none where it was not noted")
    metric: Literal["model", "copies"] = Field(description="the space of a calibration that the cosines are in")
    certificate: dict[str, Any]
    histogram: dict[str, Any] = Field(description="removed images by similarity to the kept one")
    snapshot: int


@router.get("", response_model=GroupsAnswer, responses=NOT_READY)
def groups(
    request: Request,
    principal: Reader,
    ws: str,
    order: Literal["loosest", "largest", "row"] = "loosest",
    offset: Annotated[int, Query(ge=0, lt=2**53)] = 0,
    limit: Annotated[int, Query(ge=0, le=500)] = 50,
) -> JSONResponse:
    """Groups, the loosest first, where mistakes are, or the largest, where savings are; with what people decided."""
    service = service_of(request)
    served, state = service.registry.served(ws), service.registry.state(ws)
    found = duplicate_groups(served.columns)
    newest = state.newest()  # before the others are read: what comes meanwhile is a conflict, never passed over
    chosen, apart = state.kept(), [decision.rows for decision in state.pairs("not_duplicate")]
    wishes = set(served.workspace.entries("columns/neardup")[0].meta.get("wishes", []))
    confirmed = found.all_among(state.rows_reviewed(SUBJECT, "accept"))
    page = found.page(order, offset, limit)
    for group in page:
        members = {group["kept"], *(one["row"] for one in group["removed"])}
        group["is_wished"] = group["kept"] in wishes
        group["chosen"] = chosen.get(group["kept"])
        group["not_duplicates"] = [list(rows) for rows in apart if set(rows) <= members]
        group["is_confirmed"] = bool(confirmed[np.searchsorted(found.kept, group["kept"])])
    return answer({
        "groups": page, "total": len(found), "n_removed": len(found.removed),
        "n_confirmed": int(confirmed.sum()), "n_waiting": n_waiting(served.workspace, state), "newest": newest,
        "offset": offset, "snapshot": served.sequence,
    })  # fmt: skip


@router.get("/certificate", response_model=CertificateAnswer, responses=NOT_READY)
def certificate(request: Request, principal: Reader, ws: str) -> JSONResponse:
    """Counts of orphans, of kept pairs above the threshold and of wrong representatives, and the threshold's origin."""
    served = service_of(request).registry.served(ws)
    entries = served.workspace.entries("columns/neardup")
    if not entries:
        raise StageMissing("near-duplicates have not been looked for; run `curator neardups` on the workspace first")
    meta = entries[0].meta
    return answer({
        "threshold": meta["threshold"], "threshold_origin": str(meta.get("threshold_origin", "given")),
        "keep": meta.get("keep"), "metric": "model" if meta.get("metric", meta["space"]) == meta["space"] else "copies",
        "certificate": meta["certificate"], "histogram": duplicate_groups(served.columns).histogram(),
        "snapshot": served.sequence,
    })  # fmt: skip


@router.get("/counts", responses=NOT_READY)
def counts(
    request: Request,
    principal: Reader,
    ws: str,
    thresholds: Annotated[str, Query(max_length=2_000, pattern=r"^[0-9.,]+$", description="comma-separated cosines")],
) -> dict[str, Any]:
    """How many of the removed images would still be at or above each threshold, from the stored similarities."""
    served = service_of(request).registry.served(ws)
    asked = [float(part) for part in thresholds.split(",")[:200] if part and part.count(".") <= 1 and part != "."]
    found = duplicate_groups(served.columns).removed_at(asked)
    return {"thresholds": asked, "removed": found, "snapshot": served.sequence}
