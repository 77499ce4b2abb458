"""Evidence that a selection is worth more than chance.

Knows vectors, classes and orderings; knows nothing of how an ordering was made.
The controls are random draws and every-nth at the same budget: every-nth is strong
where files are sorted by scene, so it always stands beside random.

    controls    random draws and every-nth from the same pool
    measures    one number beside its controls, and the sentence about all of them
    curves      coverage along the budget
    budgets     the knee, and how many picks cover a share
    balance     spread over groups: near-duplicate groups, clusters, classes, metadata
    learning    1-NN and linear-probe accuracy along the budget
"""

from curator.evidence.balance import Balance, balance, total_variation
from curator.evidence.budgets import Covering, Need, Plan, covering, knee, plan
from curator.evidence.controls import Controls, draw_controls
from curator.evidence.curves import (
    Band,
    Coverage,
    Curve,
    against_random,
    coverage,
    coverage_curve,
    default_budgets,
    is_better,
)
from curator.evidence.learning import Accuracy, Learning, learning_curves, ridge, versus
from curator.evidence.measures import Measure, measure, sentence

__all__ = [
    "Accuracy",
    "Balance",
    "Band",
    "Controls",
    "Coverage",
    "Covering",
    "Curve",
    "Learning",
    "Measure",
    "Need",
    "Plan",
    "against_random",
    "balance",
    "coverage",
    "coverage_curve",
    "covering",
    "default_budgets",
    "draw_controls",
    "is_better",
    "knee",
    "learning_curves",
    "measure",
    "plan",
    "ridge",
    "sentence",
    "total_variation",
    "versus",
]
