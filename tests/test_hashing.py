"""Pairs of perceptual hashes against brute force, and the shapes that break tables."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator import hashing
from curator.errors import BadEmbeddings, DataError, UsageError
from curator.hashing import HammingPairs, Hashes, hamming_between, hamming_components, hamming_pairs, nearest_hash


def drawn(rng: np.random.Generator, n: int, *, copies: float = 0.4, flips: int = 8) -> Hashes:
    """Random hashes, a share of them copies of others with up to `flips` bits turned."""
    hashes = rng.integers(2**64, size=n, dtype=np.uint64)
    for i in range(int(copies * n)):
        mask = np.uint64(0)
        for bit in rng.integers(64, size=rng.integers(flips + 1)):
            mask ^= np.uint64(1) << np.uint64(bit)
        hashes[i] = hashes[rng.integers(n)] ^ mask
    return hashes


def brute(hashes: Hashes, radius: int, *, with_flat: bool = False) -> set[tuple[int, int, int]]:
    found = set()
    for i in range(len(hashes)):
        for j in range(i + 1, len(hashes)):
            bits = (int(hashes[i]) ^ int(hashes[j])).bit_count()
            if bits <= radius and (with_flat or (hashes[i] and hashes[j])):
                found.add((i, j, bits))
    return found


def as_set(pairs: HammingPairs) -> set[tuple[int, int, int]]:
    triples = list(zip(pairs.left.tolist(), pairs.right.tolist(), pairs.bits.tolist(), strict=True))
    assert len(set(triples)) == len(triples) == len(pairs)
    return set(triples)


@pytest.mark.parametrize("radius", [0, 1, 3, 6, 7])
def test_bands_find_every_pair_and_no_other(rng: np.random.Generator, radius: int) -> None:
    hashes = drawn(rng, 300)
    assert as_set(hamming_pairs(hashes, radius)) == brute(hashes, radius)


@pytest.mark.parametrize(("n", "radius"), [(50_000, 1), (50_000, 3), (50_000, 6), (1_000_000, 6)])
def test_every_plan_finds_what_all_pairs_find(
    rng: np.random.Generator, n: int, radius: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = drawn(rng, 1_500)
    plan = hashing._plan(n, radius)
    assert plan is not None
    assert sum(width for width, _ in plan) <= 64
    monkeypatch.setattr(hashing, "_plan", lambda *_: plan)
    banded = hamming_pairs(hashes, radius)
    monkeypatch.setattr(hashing, "_plan", lambda *_: None)
    plain = hamming_pairs(hashes, radius)
    assert len(plain) > 0
    assert as_set(banded) == as_set(plain)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    n=st.integers(0, 40),
    radius=st.integers(0, 12),
    chunk=st.sampled_from([1, 7, 1 << 21]),
    with_flat=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_pairs_are_those_of_brute_force(n: int, radius: int, chunk: int, with_flat: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = drawn(rng, n, copies=0.6) & np.uint64(0xFFFF_0000_0000_FFFF)
    hashes[rng.random(n) < 0.2] = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "CHUNK", chunk)
        found = hamming_pairs(hashes, radius, with_flat=with_flat)
        half = n // 2
        across = hamming_between(hashes[:half], hashes[half:], radius, with_flat=with_flat)
    expected = brute(hashes, radius, with_flat=with_flat)
    assert as_set(found) == expected
    assert list(zip(found.left, found.right, strict=True)) == sorted(zip(found.left, found.right, strict=True))
    assert as_set(across) == {(i, j - half, bits) for i, j, bits in expected if i < half <= j}


def test_ten_thousand_equal_hashes_are_joined_to_the_first_when_collapsed() -> None:
    hashes = np.full(10_000, 0xABCDEF, np.uint64)
    hashes[5_000] ^= np.uint64(1)
    found = hamming_pairs(hashes, 4, collapse=True)
    assert len(found) == 9_999
    assert set(found.left.tolist()) == {0}
    assert found.bits[found.right == 5_000].tolist() == [1]
    assert found.bits.sum() == 1


def components_of(pairs: HammingPairs, n: int = 250) -> list[int]:
    root = list(range(n))
    for i, j in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True):
        a, b = root[i], root[j]
        root = [min(a, b) if r in (a, b) else r for r in root]
    return root


@pytest.mark.parametrize("chunk", [5, 1 << 21])
@pytest.mark.parametrize("with_flat", [True, False])
def test_components_are_those_of_the_pairs(
    rng: np.random.Generator, chunk: int, with_flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "CHUNK", chunk)
    hashes = drawn(rng, 250)
    hashes[40:70] = hashes[3]
    hashes[[5, 9, 80]] = 0
    for radius in (0, 5):
        pairs = hamming_pairs(hashes, radius, with_flat=with_flat)
        assert hamming_components(hashes, radius, with_flat=with_flat).tolist() == components_of(pairs)


def test_thousands_of_frames_a_bit_apart_are_one_component() -> None:
    frames = np.arange(1, 4_096, dtype=np.uint64)  # all within 12 bits: a million pairs and more
    assert set(hamming_components(frames, 1).tolist()) == {0}


def test_collapsed_pairs_connect_what_all_pairs_connect(rng: np.random.Generator) -> None:
    hashes = drawn(rng, 250)
    hashes[40:70] = hashes[3]

    assert components_of(hamming_pairs(hashes, 5, collapse=True)) == components_of(hamming_pairs(hashes, 5))


def test_more_pairs_than_may_be_held_are_refused() -> None:
    hashes = np.full(10_000, 7, np.uint64)
    with pytest.raises(DataError, match=r"more than 1,000,000 pairs of hashes; collapse equal ones"):
        hamming_pairs(hashes, 3, max_pairs=1_000_000)
    with pytest.raises(DataError, match=r"more than 1,000,000 pairs of hashes"):
        hamming_between(hashes, hashes, 3, max_pairs=1_000_000)
    near = np.arange(2_000, dtype=np.uint64) + np.uint64(1)  # all different, all within 11 bits
    with pytest.raises(DataError, match=r"more than 1,000 pairs of hashes"):
        hamming_pairs(near, 11, max_pairs=1_000)


def test_flat_images_are_paired_only_where_asked() -> None:
    hashes = np.array([0, 0, 1, 2], np.uint64)
    assert as_set(hamming_pairs(hashes, 2)) == {(2, 3, 2)}
    assert as_set(hamming_pairs(hashes, 1, with_flat=True)) == {(0, 1, 0), (0, 2, 1), (0, 3, 1), (1, 2, 1), (1, 3, 1)}


@pytest.mark.parametrize("radius", [0, 2, 5, 12, 64])
def test_the_nearest_hash_is_that_of_brute_force(rng: np.random.Generator, radius: int) -> None:
    hashes = drawn(rng, 120)
    hashes[[4, 9]] = 0
    queries = np.concatenate([hashes[::3] ^ np.uint64(0b1001), rng.integers(2**64, size=30, dtype=np.uint64), [0]])
    position, bits = nearest_hash(queries.astype(np.uint64), hashes, radius=radius)
    for query, at, away in zip(queries.tolist(), position.tolist(), bits.tolist(), strict=True):
        apart = [(int(query) ^ int(h)).bit_count() if h else 99 for h in hashes.tolist()]
        best = min(apart)
        expected = (apart.index(best), best) if best <= radius and query else (-1, -1)
        assert (at, away) == expected


def test_nothing_is_near_nothing() -> None:
    none = np.empty(0, np.uint64)
    some = np.array([5], np.uint64)
    assert len(hamming_pairs(none, 6)) == len(hamming_pairs(some, 6)) == len(hamming_between(none, some, 6)) == 0
    assert [side.tolist() for side in nearest_hash(some, none)] == [[-1], [-1]]
    assert [side.tolist() for side in nearest_hash(none, some)] == [[], []]


@pytest.mark.parametrize("radius", [-1, 65])
def test_a_radius_that_64_bits_do_not_have_is_refused(radius: int) -> None:
    with pytest.raises(UsageError, match=f"radius is {radius}; expected 0 to 64 bits"):
        hamming_pairs(np.zeros(2, np.uint64), radius)


def test_hashes_of_another_type_are_refused() -> None:
    with pytest.raises(BadEmbeddings, match=r"hashes of shape \(2,\) and type int64; expected \(n,\) uint64"):
        nearest_hash(np.zeros(2, np.int64), np.zeros(2, np.uint64))


def test_the_nearest_of_very_many_alike_are_found_without_holding_their_pairs(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    alike = np.unique(np.uint64(1 << 63) | (np.uint64(1) << rng.integers(50, size=(1_500, 3), dtype=np.uint64)).sum(1))
    ours, theirs = alike[::2], alike[1::2]
    expected = nearest_hash(theirs, ours, radius=6)
    monkeypatch.setattr(hashing, "MAX_PAIRS", 10_000)
    monkeypatch.setattr(hashing, "CHUNK", 10_000)
    tracemalloc.start()
    found = nearest_hash(theirs, ours, radius=6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert peak < 5_000_000, "all their pairs take 30 MB"
