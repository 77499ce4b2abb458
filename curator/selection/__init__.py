"""Which images to label first.

Three independent pieces: an objective (`facility`, `kcenter`), caps per group
(`quotas`), and one greedy loop (`greedy`; k-center has a faster one of its own).
`run` puts them in order, `describe` says in words what came of it. Positions
in, positions out; nothing here knows rows, files or models.
"""

from curator.selection.choose import run
from curator.selection.controls import every_nth, every_nth_picks, random_picks
from curator.selection.density import trim_outliers, typicality, typicality_picks
from curator.selection.facility import facility_location
from curator.selection.kcenter import k_center
from curator.selection.picks import Picks, best_similarity, parse_budget
from curator.selection.quotas import Caps, Quotas, caps_for
from curator.selection.reasons import describe
from curator.selection.request import METHODS, Method, Outcome, Request

__all__ = [
    "METHODS",
    "Caps",
    "Method",
    "Outcome",
    "Picks",
    "Quotas",
    "Request",
    "best_similarity",
    "caps_for",
    "describe",
    "every_nth",
    "every_nth_picks",
    "facility_location",
    "k_center",
    "parse_budget",
    "random_picks",
    "run",
    "trim_outliers",
    "typicality",
    "typicality_picks",
]
