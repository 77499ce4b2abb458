"""A request's examples made into the directions that a walk ranks by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curator.data import FloatArray, IntArray
from curator.errors import BadQuery
from curator.searching import combining
from curator.searching.examples import Resolved
from curator.searching.requests import How, Request
from curator.searching.spaces import Scorer, Space, Subset

MAX_DIRECTIONS = 256  # positives of method max, rows of collections included
MAX_POSITIVES = 20_000  # rows that a probe is fitted to
SEED = 0  # of the probe's background: the same request has the same answer


@dataclass(frozen=True, slots=True)
class Plan:
    """A request made into what is ranked by and what may be found."""

    request: Request
    space: Space
    how: How
    scorer: Scorer
    subset: Subset | None
    left_out: IntArray
    probe: combining.Probe | None
    likes: FloatArray  # (p, d) the positives, as the scorer has vectors

    def score(self, cosine: FloatArray) -> FloatArray:
        """What is ranked by: the cosine, or with a probe the probability that it stands for; the order is the same."""
        if self.probe is None:
            return cosine
        length = float(np.linalg.norm(self.probe.weights.astype(np.float64)))
        logit = length * cosine.astype(np.float64) + self.probe.bias
        return (0.5 * (1.0 + np.tanh(0.5 * logit))).astype(np.float32)


def directions_of(
    request: Request, space: Space, likes: Resolved, dislikes: Resolved
) -> tuple[How, FloatArray, combining.Probe | None]:
    """How the request is answered, the directions (m, d) its examples are made into, and the probe where there is one.

    Raises:
        BadQuery: too many examples for the method, or examples that cancel each other out.
    """

    def scored(vectors: FloatArray) -> FloatArray:
        return as_scored(space, vectors, request.centred)

    n_likes, n_dislikes = len(likes.vectors), len(dislikes.vectors)
    if request.method == "max" and n_likes > MAX_DIRECTIONS:
        raise BadQuery(f"method max takes up to {MAX_DIRECTIONS} positive images, got {n_likes}; use rocchio or probe")
    if request.method == "probe":
        if n_likes + n_dislikes > MAX_POSITIVES:
            raise BadQuery(f"a probe takes up to {MAX_POSITIVES} examples, got {n_likes + n_dislikes}; use rocchio")
        left_out = np.union1d(likes.positions, dislikes.positions)
        probe = combining.fit_probe(
            scored(likes.vectors), scored(dislikes.vectors), scored(_background(space, left_out))
        )
        return "probe", probe.direction[None], probe
    if n_likes == 1 and n_dislikes == 0:
        only = combining.unit(
            scored(likes.vectors)[0], "the positive lies at the mean of all images: nothing is like it"
        )
        return "cosine", only[None], None
    if request.method == "max":
        return "max", scored(likes.vectors), None
    direction = combining.rocchio(
        scored(likes.asked), scored(likes.known), scored(dislikes.vectors),
        alpha=request.alpha, beta=request.beta, gamma=request.gamma,
    )  # fmt: skip
    return "rocchio", direction[None], None


def _background(space: Space, left_out: IntArray) -> FloatArray:
    """Random vectors that are no examples."""
    rng = np.random.default_rng(SEED)
    drawn = rng.permutation(len(space))[: combining.BACKGROUND + min(len(left_out), len(space))]
    return space.vectors[np.setdiff1d(drawn, left_out)[: combining.BACKGROUND]]


def as_scored(space: Space, vectors: FloatArray, centred: bool) -> FloatArray:
    """Vectors as they are compared: plain, or less the space's mean."""
    return space.centred(vectors) if centred and len(vectors) else vectors
