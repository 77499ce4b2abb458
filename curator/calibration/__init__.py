"""Which similarity means the same image, learnt from a user's own images.

Knows arrays of similarities and vectors; knows nothing of workspaces, files or models.

    mixture   a threshold without a person: edited copies against all pairs
    moments   a threshold from order: runs of consecutive frames of one thing
    answers   a threshold from pairs that a person judged, with intervals
    metric    a linear metric for copies, blended with the perceptual hash
"""

from curator.calibration.answers import Judged, fit_answers, isotonic, stratified
from curator.calibration.metric import Copies, Metric, apply_metric, hash_vectors, learn_metric
from curator.calibration.mixture import Fit, Histogram, fit_copies, histogram_of, pairs_of_copies
from curator.calibration.moments import fit_moments

__all__ = [
    "Copies",
    "Fit",
    "Histogram",
    "Judged",
    "Metric",
    "apply_metric",
    "fit_answers",
    "fit_copies",
    "fit_moments",
    "hash_vectors",
    "histogram_of",
    "isotonic",
    "learn_metric",
    "pairs_of_copies",
    "stratified",
]
