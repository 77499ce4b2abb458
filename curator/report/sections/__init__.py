"""One function per section of the page: numbers in, markup out.

Knows what a reader wants to see and how much of it; knows nothing of the
document around it. A section whose stage has not run names the command that
brings it.
"""

from curator.report.sections.duplicates import duplicates
from curator.report.sections.evidence import evidence
from curator.report.sections.making import making, saved
from curator.report.sections.parts import Section
from curator.report.sections.picks import selection
from curator.report.sections.quality import quality, review
from curator.report.sections.splits import splits
from curator.report.sections.structure import structure
from curator.report.sections.summary import summary

__all__ = [
    "Section",
    "duplicates",
    "evidence",
    "making",
    "quality",
    "review",
    "saved",
    "selection",
    "splits",
    "structure",
    "summary",
]
