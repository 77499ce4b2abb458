"""Find more like this failure: campaigns with feedback, and triggers that watch every new batch.

rates       precision with an interval, a budget shared over modes
modes       failures into failure modes
ranking     who is most like the accepted and least like the discarded
retrieving  the next batch: best first, spread over videos and looks
campaigns   all of it over a workspace and its decisions
triggers    a saved probe that runs on what is new
"""

from __future__ import annotations

from curator.mining.campaigns import (
    Campaign,
    campaigns,
    create,
    delete,
    export,
    find,
    next_batch,
    overview,
    review,
)
from curator.mining.triggers import add_trigger, delete_trigger, run_triggers, triggers

__all__ = [
    "Campaign",
    "add_trigger",
    "campaigns",
    "create",
    "delete",
    "delete_trigger",
    "export",
    "find",
    "next_batch",
    "overview",
    "review",
    "run_triggers",
    "triggers",
]
