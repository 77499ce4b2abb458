"""Evidence that a selection is worth more than chance.

Knows vectors and orderings; knows nothing of how an ordering was made. The
controls are random draws and every-nth at the same budget: every-nth is strong
where files are sorted by scene, so it always stands beside random.
"""

from curator.evidence.curves import (
    Band,
    Coverage,
    Curve,
    against_random,
    coverage,
    coverage_curve,
    default_budgets,
    is_better,
    verdict,
)

__all__ = [
    "Band",
    "Coverage",
    "Curve",
    "against_random",
    "coverage",
    "coverage_curve",
    "default_budgets",
    "is_better",
    "verdict",
]
