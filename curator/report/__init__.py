"""The report: numbers -> report.json, and the same numbers -> one self-contained index.html.

Knows numbers and how to show them; knows nothing of how they came about. The
pipeline fills `Report` from a workspace; whatever is None there becomes a line
that names the command which brings it.

    numbers    frozen dataclasses of everything that is shown
    savings    what the selection is worth at the user's rates
    words      numbers and names as a reader sees them
    markup     elements as values, escaped by construction
    pictures   thumbnails, each embedded once
    charts     bars, histograms and curves as SVG
    maps       the map as a picture
    sections   one function per section of the page
    page       the document around them, and the two files
"""

from curator.report.numbers import (
    Band,
    Certificate,
    ClusterRow,
    Clusters,
    Duplicates,
    Evidence,
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
from curator.report.page import render, rows_shown, write
from curator.report.savings import Rates, Saving, Savings, savings

__all__ = [
    "Band",
    "Certificate",
    "ClusterRow",
    "Clusters",
    "Duplicates",
    "Evidence",
    "Extreme",
    "Fault",
    "FaultClass",
    "Funnel",
    "Graph",
    "Group",
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
    "Timing",
    "Trimmed",
    "Unreadable",
    "render",
    "rows_shown",
    "savings",
    "write",
]
