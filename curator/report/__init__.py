"""The report: numbers -> report.json, and the same numbers -> one self-contained index.html.

Knows numbers and how to show them; knows nothing of how they came about. The
pipeline fills `Report` from a workspace; whatever is None there becomes a line
that names the command which brings it.

    numbers    frozen dataclasses of everything that is shown
    checks     calibration, issues and splits among them
    proof      the same for what stands beside a selection
    savings    what the selection is worth at the user's rates
    words      numbers and names as a reader sees them
    markup     elements as values, escaped by construction
    pictures   thumbnails, each embedded once
    charts     bars, histograms and curves as SVG
    maps       the map as a picture
    sections   one function per section of the page
    page       the document around them, and the two files
"""

from curator.report.checks import Calibrated, CopiesMetric, Issue, Issues, Split, SplitPart
from curator.report.numbers import (
    Certificate,
    ClusterRow,
    Clusters,
    Duplicates,
    Extreme,
    Fault,
    FaultClass,
    Funnel,
    Graph,
    Group,
    Machine,
    Map,
    Measure,
    Member,
    Pick,
    Quality,
    Quota,
    Report,
    Scored,
    Selected,
    Source,
    Space,
    Timing,
    Trimmed,
    Unreadable,
)
from curator.report.page import policy, render, rows_shown, write
from curator.report.proof import Band, Compared, Coverage, Evidence, LearningCurves, Spread
from curator.report.savings import Rates, Saving, Savings, savings

__all__ = [
    "Band",
    "Calibrated",
    "Certificate",
    "ClusterRow",
    "Clusters",
    "Compared",
    "CopiesMetric",
    "Coverage",
    "Duplicates",
    "Evidence",
    "Extreme",
    "Fault",
    "FaultClass",
    "Funnel",
    "Graph",
    "Group",
    "Issue",
    "Issues",
    "LearningCurves",
    "Machine",
    "Map",
    "Measure",
    "Member",
    "Pick",
    "Quality",
    "Quota",
    "Rates",
    "Report",
    "Saving",
    "Savings",
    "Scored",
    "Selected",
    "Source",
    "Space",
    "Split",
    "SplitPart",
    "Spread",
    "Timing",
    "Trimmed",
    "Unreadable",
    "policy",
    "render",
    "rows_shown",
    "savings",
    "write",
]
