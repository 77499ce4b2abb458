"""Which images to label first.

Independent pieces: objectives (`facility`, `kcenter` and their kin), limits (`quotas`
per group towards `targets`, `limits` between picks), and the greedy loops
(`greedy`; k-center has a faster one of its own). `compose` multiplies several
wishes, `stopping` says where to end, `run` puts all in order and `describe`
says in words what came of it. Positions in, positions out; nothing here knows
rows, files or models.
"""

from curator.selection.choose import run
from curator.selection.compose import KINDS, Kind, Strategy
from curator.selection.controls import every_nth, every_nth_picks, random_picks
from curator.selection.density import trim_outliers, typicality, typicality_picks
from curator.selection.facility import facility_location
from curator.selection.kcenter import k_center
from curator.selection.limits import Apart, Spacing
from curator.selection.picks import Picks, best_similarity, parse_budget
from curator.selection.quotas import Caps, Quotas, caps_for
from curator.selection.reasons import describe
from curator.selection.request import METHODS, PREFIX, Method, Outcome, Request
from curator.selection.stopping import Stop
from curator.selection.targets import Target, apportion, like

__all__ = [
    "KINDS",
    "METHODS",
    "PREFIX",
    "Apart",
    "Caps",
    "Kind",
    "Method",
    "Outcome",
    "Picks",
    "Quotas",
    "Request",
    "Spacing",
    "Stop",
    "Strategy",
    "Target",
    "apportion",
    "best_similarity",
    "caps_for",
    "describe",
    "every_nth",
    "every_nth_picks",
    "facility_location",
    "k_center",
    "like",
    "parse_budget",
    "random_picks",
    "run",
    "trim_outliers",
    "typicality",
    "typicality_picks",
]
