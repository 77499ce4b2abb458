"""What the certificate finds out about covers, honest and tampered with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from curator.data import BoolArray, FloatArray
from curator.errors import BadEmbeddings
from curator.neardups import Cover, certify, cover, groups
from tests.vectors import mixture, round_clumps

# --- the certificate against tampering ----------------------------------------------------------


@pytest.fixture
def honest(rng: np.random.Generator) -> tuple[FloatArray, Cover]:
    vectors = mixture(rng, 400)
    return vectors, cover(vectors, None, 0.85)


def changed(values: Any, at: Any, to: Any) -> Any:
    copy = values.copy()
    copy[at] = to
    return copy


def test_the_certificate_of_an_honest_cover_counts_it(honest: tuple[FloatArray, Cover]) -> None:
    vectors, result = honest
    found = certify(vectors, result)
    assert found.faults() == ()
    assert found.to_dict()["holds"] is True
    assert found.to_dict()["orphans"] == 0
    assert (found.n, found.kept) == (400, int(result.kept.sum()))


def test_a_kept_one_taken_away_leaves_orphans(honest: tuple[FloatArray, Cover]) -> None:
    vectors, result = honest
    head, members = groups(result)[0]
    other = int(np.flatnonzero(result.kept & (np.arange(400) != head))[0])
    similarity = vectors @ vectors[head]
    lonely = int((result.representative == head).sum())
    tampered = replace(
        result,
        kept=changed(result.kept, head, False),
        representative=changed(result.representative, result.representative == head, other),
    )
    found = certify(vectors, tampered)
    assert not found.holds
    assert 0 < found.orphans <= lonely
    assert f"{found.orphans} removed without a kept one at cosine 0.85 or above" in found.faults()
    assert found.worst_similarity < 0.85
    assert similarity[members].min() >= 0.85 - 1e-5


def test_a_removed_one_put_back_makes_a_pair_above(honest: tuple[FloatArray, Cover]) -> None:
    vectors, result = honest
    back = int(np.flatnonzero(~result.kept)[0])
    tampered = replace(
        result,
        kept=changed(result.kept, back, True),
        representative=changed(result.representative, back, back),
        similarity=changed(result.similarity, back, 1.0),
    )
    found = certify(vectors, tampered)
    assert found.kept_pairs_above >= 1
    assert any("kept pairs at cosine 0.85 or above" in fault for fault in found.faults())


@pytest.mark.parametrize("stated", ["another kept one", "a removed one", -1, 10_000])
def test_a_wrong_representative_is_counted(honest: tuple[FloatArray, Cover], stated: Any) -> None:
    vectors, result = honest
    removed = int(np.flatnonzero(~result.kept)[0])
    if stated == "another kept one":
        stated = int(np.flatnonzero(result.kept & (np.arange(400) != result.representative[removed]))[0])
    elif stated == "a removed one":
        stated = int(np.flatnonzero(~result.kept)[1])
    found = certify(vectors, replace(result, representative=changed(result.representative, removed, stated)))
    assert found.wrong_representatives == 1
    assert "1 representatives that are not the nearest kept" in found.faults()


def test_a_kept_one_that_names_another_is_counted(honest: tuple[FloatArray, Cover]) -> None:
    vectors, result = honest
    kept = np.flatnonzero(result.kept)
    found = certify(vectors, replace(result, representative=changed(result.representative, kept[0], kept[1])))
    assert found.wrong_representatives == 1


@pytest.mark.parametrize("stated", [0.999, 0.5, np.nan])
def test_a_wrong_similarity_is_counted(honest: tuple[FloatArray, Cover], stated: float) -> None:
    vectors, result = honest
    removed = int(np.flatnonzero(~result.kept & (result.similarity < 0.99))[0])
    found = certify(vectors, replace(result, similarity=changed(result.similarity, removed, stated)))
    assert found.wrong_similarities == 1
    assert "1 similarities that differ from the vectors'" in found.faults()


def test_a_higher_threshold_than_was_used_is_found_out(honest: tuple[FloatArray, Cover]) -> None:
    vectors, result = honest
    assert certify(vectors, replace(result, threshold=0.99)).orphans > 0


def test_other_vectors_than_were_covered_are_found_out(
    honest: tuple[FloatArray, Cover], rng: np.random.Generator
) -> None:
    vectors, result = honest
    assert not certify(vectors[rng.permutation(400)], result).holds
    with pytest.raises(BadEmbeddings, match="the cover has 400 positions, there are 399 vectors"):
        certify(vectors[:-1], result)


def test_a_cover_that_keeps_nothing_is_all_orphans(rng: np.random.Generator) -> None:
    vectors = round_clumps(rng, 5)
    none: BoolArray = np.zeros(5, np.bool_)
    found = certify(vectors, Cover(none, np.zeros(5, np.int64), np.ones(5, np.float32), none, 0.9))
    assert found.orphans == found.wrong_representatives == 5


def test_a_cover_with_arrays_of_different_lengths_is_refused() -> None:
    with pytest.raises(BadEmbeddings, match=r"cover of \(3,\) vectors with similarity of shape \(2,\)"):
        Cover(np.ones(3, np.bool_), np.arange(3), np.ones(2, np.float32), np.zeros(3, np.bool_), 0.9)
