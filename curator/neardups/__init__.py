"""Near-duplicates: which images to keep so that every removed one has a kept one close by.

Knows unit vectors, a neighbour graph and a cosine threshold; knows nothing of files or models. A
greedy cover, not connected components or a running maximum: those chain along slow video and
remove images that nothing kept resembles. What `cover` promises, `certify` recomputes from the vectors.
"""

from curator.neardups.certificate import Certificate, certify
from curator.neardups.covering import METHODS, Cover, Method, cover, groups
from curator.neardups.growing import extend
from curator.neardups.policy import POLICIES, exact_groups, priority

__all__ = [
    "METHODS",
    "POLICIES",
    "Certificate",
    "Cover",
    "Method",
    "certify",
    "cover",
    "exact_groups",
    "extend",
    "groups",
    "priority",
]
