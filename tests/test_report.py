from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from PIL import Image

from curator import disk, neardups
from curator import report as page
from curator.data import FloatArray
from curator.errors import CannotWrite, DataError
from curator.report import charts, maps, words
from curator.report.markup import h, visible
from curator.report.numbers import FORMAT
from curator.report.pictures import ENOUGH_BYTES, SHRINK_ABOVE_BYTES, shrunk
from curator.report.sections.picks import PICKS_LISTED, PICKS_OPEN, PICKS_PICTURED
from tests.conftest import picture

NASTY = "a/<script>alert(1)</script>\n\"'&amp;\u202egpj.\udcff#t=1.jpg"
STYLE = (Path(page.__file__).parent / "style.css").read_text(encoding="utf-8")

# -- a report by hand --------------------------------------------------------------------------------------------


def thumbnail(rng: np.random.Generator, *, quality: int = 80, side: int = 96) -> bytes:
    out = io.BytesIO()
    picture(rng, width=side, height=side * 2 // 3).save(out, "WEBP", quality=quality)
    return out.getvalue()


def certificate(**changes: Any) -> page.Certificate:
    given: dict[str, Any] = {
        "n": 619, "kept": 107, "removed": 512, "exact": 28, "near": 484, "orphans": 0, "worst_similarity": 0.93008,
        "mean_similarity": 0.97123, "kept_pairs_above": 0, "forced_pairs_above": 0, "wrong_representatives": 0,
        "wrong_similarities": 0, "threshold": 0.93, "holds": True,
    }  # fmt: skip
    return page.Certificate(**given | changes)


def band(*selected: float) -> page.Band:
    return page.Band(
        selected=selected,
        random_mean=tuple(v - 0.11 for v in selected),
        random_low=tuple(v - 0.15 for v in selected),
        random_high=tuple(v - 0.07 for v in selected),
        every_nth=tuple(v - 0.09 for v in selected),
    )


def compared(name: str = "coverage", standing: int = 1, *, is_share: bool = False) -> page.Compared:
    return page.Compared(name, 0.81, 0.63, 0.61, 0.65, 0.7, is_share, standing, 0)


def learning() -> page.LearningCurves:
    return page.LearningCurves((1, 2, 4), band(0.21, 0.42, 0.615), band(0.23, 0.44, 0.635), 7, 333)


def plan(**changes: Any) -> page.Coverage:
    given: dict[str, Any] = {
        "threshold": 0.93, "n_points": 619, "n_picks": 4, "reached": 0.25, "budgets": (1, 4, 88),
        "path": (0.1, 0.25, 0.95), "needs": ((0.5, 9), (0.95, 88), (0.99, None)),
        "sentence": "To cover 95% within cosine 0.93, 88 picks are enough.",
    }  # fmt: skip
    return page.Coverage(**given | changes)


def calibrated(name: str = "self", **changes: Any) -> page.Calibrated:
    given: dict[str, Any] = {
        "name": name, "space": "model", "threshold": 0.874, "interval": (0.861, 0.889), "precision": 0.917,
        "precision_interval": (0.871, 0.941), "recall": 0.763, "recall_interval": None, "edits": ("resize", "blur"),
    }  # fmt: skip
    return page.Calibrated(**given | changes)


def a_split(**changes: Any) -> page.Split:
    given: dict[str, Any] = {
        "name": "week-31", "parts": (page.SplitPart("train", 500, 0.8), page.SplitPart("test", 119, 0.2)),
        "n_groups": 97, "largest_group": 43, "grouped_by": ("video", "neardup"), "threshold": 0.93, "rows_across": 0,
        "torn": (("video", 0),), "holds": True, "distance": (("label", (0.013, 0.057)),), "unmet": ("Test is small.",),
        "before": ("split", 77, 31),
    }  # fmt: skip
    return page.Split(**given | changes)


def funnel(**changes: Any) -> page.Funnel:
    given: dict[str, Any] = {
        "found": 622, "unreadable": 3, "exact_duplicates": 28, "near_duplicates": 484, "kept": 107, "low_quality": 5,
        "selected": 4, "trimmed": 2,
    }  # fmt: skip
    return page.Funnel(**given | changes)


def a_map(n: int = 40, n_clusters: int = 10) -> page.Map:
    rng = np.random.default_rng(1)
    return page.Map(
        rows=np.arange(n),
        x=rng.normal(size=n).astype(np.float32),
        y=rng.normal(size=n).astype(np.float32),
        cluster=np.arange(n) % n_clusters - 1,
        picked=np.arange(n) < 4,
        method="umap",
        preserved=0.437,
    )


def full_report(**changes: Any) -> page.Report:
    picks = tuple(
        page.Pick(i + 1, i, f"cam/clip.mp4#t={i}.480", f"covers {412 - i} frames of cluster 7", 31.25 / (i + 1), i)
        for i in range(4)
    )
    measure = page.Measure(
        "overexposed", "share of white pixels", "0..1", (0.0, 0.5, 1.0), (611, 8), 0.013, 0.002, 0.613, 0.9, 5
    )
    given: dict[str, Any] = {
        "workspace": "highway-week-31",
        "path": "runs/highway week 31",
        "created": "2026-11-21T07:40:12+00:00",
        "curator_version": "0.1.0",
        "sources": (page.Source("cam/clip.mp4", "video", 622),),
        "funnel": funnel(),
        "noun": "frame",
        "snapshot": 17,
        "unreadable": page.Unreadable(
            (page.FaultClass("truncated", "the file ends too early", 3),),
            tuple(page.Fault(700 + i, f"bad{i}.jpg", "truncated", f"{i} bytes missing") for i in range(3)),
            {".txt": 12},
        ),
        "space": page.Space("efficientnet-lite0", "efficientnet-lite0-1f3a", 1280, 619, "cpu"),
        "graph": page.Graph("flat", 619, 30, 0.998, 0.95, ("Exact.",)),
        "duplicates": page.Duplicates(
            0.93, "default", "coverage", 19, certificate(),
            (page.Group(5, "kept.jpg", 23, tuple(page.Member(6 + i, f"m{i}.jpg", 0.991 - i / 100) for i in range(9))),),
            (calibrated(), calibrated("answers", edits=(), n_answers=58)),
            page.CopiesMetric("within-0.1", 0.037, 0.004, True), "calibration 'self'",
        ),
        "clusters": page.Clusters(
            "hdbscan", 619, 33, tuple(page.ClusterRow(c, f"street {c}", 90 - c, c % 3, (c, c + 1)) for c in range(9))
        ),
        "map": a_map(),
        "quality": page.Quality(
            619, (measure,), (page.Extreme("Darkest", "brightness", (page.Scored(31, "d.jpg", 0.0717),)),),
            page.Issues(
                619, 21, (page.Issue("blurry", "sharpness below 0.1", 17), page.Issue("outlier", "above 0.41", 6)),
                (("uniqueness", "1 - s1"),),
            ),
        ),
        "splits": (a_split(),),
        "selection": page.Selected(
            "default", "diverse", "4", picks, 3, "split = 'train'", (page.Quota("day", 2, 2, 55),), "label",
            (page.Trimmed(33, "odd.jpg", 0.611), page.Trimmed(34, "odder.jpg", 0.588)), 0.03, ("Asked for 5.",),
            ("Searched again.",), 0.893,
        ),
        "evidence": page.Evidence(
            "Better than random on mean similarity.", True, (1, 2, 4), band(0.51, 0.72, 0.815), 619, 20,
            band(0.11, 0.22, 0.31), band(0.25, 0.55, 0.845), 0.75,
            (compared(), compared("class balance", 0, is_share=True), compared("the farthest image", -1)),
            (page.Spread("weather", 3, 2, compared(), compared(), compared(), (("sun", 600, 3), ("rain", 19, 1))),),
            learning(), "", plan(), 2,
        ),
        "savings": page.savings(
            page.Rates(0.25, 60.0, "EUR", False), n_readable=619, n_selected=4, bytes_readable=2_500_000_000,
            bytes_kept=400_000_000, seconds_run=47.3,
        ),
        "timings": (page.Timing("ingest", 1.4, 622), page.Timing("embed", 203.0, 619)),
        "machine": page.Machine("EPYC", 2, 25_000_000_000, "", "Linux", {"numpy": "2.4.6"}),
        "config_yaml": "seed: 3\nselect:\n  budget: 4\n",
        "command": "curator run cam/clip.mp4",
    }  # fmt: skip
    return page.Report(**given | changes)


def bare_report() -> page.Report:
    return page.Report("fresh", "ws", "2026-11-21T07:40:12+01:00", "0.1.0", (), page.Funnel(12, 1))


@pytest.fixture
def thumbnails(rng: np.random.Generator) -> dict[int, bytes]:
    return {row: thumbnail(rng) for row in range(50)}


# -- reading a page ----------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Elements and text of a page; fails where an end tag does not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), f"an attribute of <{tag}> is given twice: {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "img", "link", "hr"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-3:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self._open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def read(report: page.Report, thumbnails: dict[int, bytes] | None = None) -> Page:
    return Page(page.render(report, thumbnails or {}))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from leaves(item, f"{path}[{i}]")
    else:
        yield path, value


# -- the page as a document --------------------------------------------------------------------------------------


@pytest.mark.parametrize("report", [full_report(), bare_report()], ids=["full", "bare"])
def test_tags_are_balanced_ids_unique_and_references_lead_somewhere(
    report: page.Report, thumbnails: dict[int, bytes]
) -> None:
    parsed = read(report, thumbnails)
    ids = Counter(a["id"] for _, a in parsed.elements if "id" in a)
    assert max(ids.values()) == 1
    references = [a["href"] for tag, a in parsed.elements if tag in ("a", "use")]
    references += [f"#{a['aria-labelledby']}" for _, a in parsed.elements if "aria-labelledby" in a]
    assert {str(reference)[1:] for reference in references} <= set(ids)


def test_the_page_asks_nothing_of_any_network(thumbnails: dict[int, bytes]) -> None:
    text = page.render(full_report(map=a_map(4_000)), thumbnails)
    assert re.search(r"https?://|@import|url\(", text) is None
    for tag, attributes in Page(text).elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/")), (tag, name, value[:40])


def test_the_policy_in_the_page_allows_its_own_script_and_no_other() -> None:
    text = page.render(full_report(), {})
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    seal = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [a["content"] for a in Page(text).all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{seal}'" in policy


@pytest.mark.parametrize("report", [full_report(), bare_report()], ids=["full", "bare"])
def test_readers_of_any_kind_find_their_way(report: page.Report, thumbnails: dict[int, bytes]) -> None:
    parsed = read(report, thumbnails)
    assert parsed.all("html") == [{"lang": "en"}]
    tags = Counter(tag for tag, _ in parsed.elements)
    assert tags["h1"] == tags["main"] == tags["nav"] == 1
    assert "<title>" in page.render(report, {}).split("<body>")[0]
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch("h[1-6]", tag)]
    assert all(deeper - upper <= 1 for upper, deeper in pairwise(levels)), levels
    for tag, attributes in parsed.elements:
        if attributes.get("role") == "img":
            assert attributes["aria-label"], tag
        if tag == "svg" and "viewbox" in attributes and attributes.get("role") is None:
            assert attributes.get("aria-hidden") == "true" or attributes["viewbox"] == "0 0 4 3"  # inside the map
        if tag == "th":
            assert attributes["scope"] in ("col", "row", "colgroup")
        if attributes.get("tabindex") == "0":
            assert attributes["aria-label"], tag
    assert tags["caption"] == tags["table"]


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize(("theme", "place"), [("light", 0), ("dark", 1)])
def test_text_stands_out_from_its_ground_in_both_themes(theme: str, place: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.S)
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", blocks[place]))
    for ground in ("ground", "panel"):
        for role in ("text", "muted", "accent", "accept", "discard", "warning"):
            assert contrast(colours[role], colours[ground]) >= 4.5, (theme, role, ground)
        assert contrast(colours["edge"], colours[ground]) >= 3.0, (theme, ground)
    drawn = [colours["panel"], colours["other"], *(colours[f"c{i}"] for i in range(charts.N_COLOURS))]
    assert maps.PALETTE[theme].split() == drawn


# -- what it says ------------------------------------------------------------------------------------------------


def test_the_headline_is_for_someone_who_reads_nothing_else() -> None:
    assert full_report().headline() == (
        "622 frames found → 4 to label.",
        "Every one of the 512 removed duplicates (28 exact, 484 near) is represented by a kept frame at cosine ≥ 0.93.",
    )


@pytest.mark.parametrize(
    ("changes", "first", "second"),
    [
        ({"funnel": funnel(selected=None)}, "622 frames found → 107 that differ.", "Every one of the 512"),
        ({"duplicates": None}, "622 frames found → 4 to label.", "Near-duplicates have not been looked for yet."),
        ({"funnel": page.Funnel(1), "duplicates": None}, "1 frame found, 1 readable.", "have not been looked for"),
        ({"noun": "image"}, "622 images found", "represented by a kept image at cosine ≥ 0.93."),
    ],
)
def test_the_headline_follows_what_has_run(changes: dict[str, Any], first: str, second: str) -> None:
    said = full_report(**changes).headline()
    assert first in said[0]
    assert second in said[1]


@pytest.mark.parametrize(
    ("proof", "sentence"),
    [
        (certificate(removed=0, exact=0, near=0), "No two of them are near-duplicates at cosine ≥ 0.93."),
        (certificate(removed=1, exact=0, near=1), "The one removed duplicate is represented by a kept frame"),
        (certificate(exact=0, near=512), "Every one of the 512 removed near-duplicates is represented"),
        (
            certificate(orphans=3, holds=False),
            "3 of the 512 removed duplicates (28 exact, 484 near) have no kept frame",
        ),
    ],
)
def test_the_promise_is_made_only_where_the_certificate_holds(proof: page.Certificate, sentence: str) -> None:
    report = full_report()
    assert report.duplicates is not None
    report = dataclasses.replace(report, duplicates=dataclasses.replace(report.duplicates, certificate=proof))
    assert sentence in report.headline()[1]
    parsed = read(report)
    assert sentence in parsed.text
    assert ("✗ fails" in parsed.text) == (not proof.holds)


def test_the_certificate_is_the_one_that_neardups_issues() -> None:
    vectors: FloatArray = np.eye(3, 4, dtype=np.float32)
    issued = neardups.Certificate(3, 3, 0, 0, 0, 0, 1.0, 1.0, 0, 0, 0, 0, 0.9)
    assert len(vectors) == issued.n
    assert page.Certificate(**issued.to_dict()).holds  # type: ignore[arg-type]


def test_every_number_of_the_json_can_be_read_on_the_page(thumbnails: dict[int, bytes]) -> None:
    report = full_report()
    shown = page.render(report, thumbnails)
    text = Page(shown).text + " ".join(str(a.get("aria-label")) for _, a in Page(shown).elements)
    unseen = []
    for path, value in leaves(report.to_dict()):
        is_place = re.search(
            r"\.(row|cluster|edges\[\d+\]|format|snapshot|examples\[\d+\]|standing|beside_every_nth)$", path
        )
        is_drawn = re.search(r"^\.(duplicates\.groups\[0\]\.members|map)", path)  # the middle members are counted
        if isinstance(value, bool) or not isinstance(value, (int, float)) or is_place or is_drawn:
            continue
        forms = {
            f"{value:,}", f"{value:,.1f}", f"{value:.2f}", f"{value:.3f}", words.cosine(value), words.number(value),
            words.percent(value), words.size(int(value)), words.duration(value), f"{value:g}",
        }  # fmt: skip
        if not any(re.search(rf"(?<![\d.]){re.escape(form)}(?!\d)", text) for form in forms):
            unseen.append((path, value))
    assert unseen == []


def test_the_json_holds_every_field_and_survives_a_parser() -> None:
    report = full_report(config_yaml=NASTY)
    body = report.to_dict()
    again = json.loads(json.dumps(body, allow_nan=False))
    assert again == body
    assert again["format"] == FORMAT
    assert {f.name for f in dataclasses.fields(page.Report)} < set(again)
    assert again["evidence"]["mean_similarity"]["random_low"] == pytest.approx([0.36, 0.57, 0.665])
    assert again["evidence"]["picks_worth_random"] == 2
    assert again["selection"]["picks"][1]["gain"] == 15.625
    assert again["map"] == {"method": "umap", "n": 40, "n_picked": 4, "preserved": 0.437}


def test_numbers_that_are_not_numbers_are_null_in_the_json_and_a_dash_on_the_page() -> None:
    selected = page.Selected("s", "random", "1", (page.Pick(1, 0, "a.jpg", "drawn by chance", float("nan")),))
    report = full_report(selection=selected)
    assert report.to_dict()["selection"]["picks"][0]["gain"] is None
    assert "gain –" in read(report).text
    assert page.Report.to_dict(full_report(snapshot=np.int64(5)))["snapshot"] == 5


@pytest.mark.parametrize(
    ("field", "command"),
    [
        ("duplicates", "curator neardups"),
        ("clusters", "curator cluster"),
        ("map", "curator map"),
        ("quality", "curator embed"),
        ("selection", "curator select"),
        ("evidence", "curator report"),
        ("savings", "curator select"),
    ],
)
def test_a_section_whose_stage_has_not_run_names_the_command(field: str, command: str) -> None:
    text = read(full_report(**{field: None})).text
    assert f"Bring it with {command} -w 'runs/highway week 31'" in text


def test_a_report_with_nothing_but_a_count_is_a_whole_page() -> None:
    text = read(bare_report()).text
    assert "12 images found, 11 readable." in text
    assert text.count("Bring it with") == 8
    assert "No stage has run yet." in text


def test_the_default_threshold_comes_with_a_warning() -> None:
    report = full_report()
    assert report.duplicates is not None
    assert "the plain default of efficientnet-lite0; the right value depends on your data" in read(report).text
    for origin in ("given", "calibrated"):
        given = dataclasses.replace(report.duplicates, threshold_origin=origin)
        assert "plain default" not in read(full_report(duplicates=given)).text


def test_a_selection_no_better_than_random_casts_doubt_on_its_savings() -> None:
    report = full_report()
    assert report.evidence is not None
    doubtful = read(full_report(evidence=dataclasses.replace(report.evidence, is_better=False))).text
    assert "✗ worse than random on average" in doubtful
    assert "labelling any list of this length saves as much" in doubtful
    assert "saves as much" not in read(report).text
    assert "Random picks reach 0.705 (95% of draws 0.665 to 0.745), every n-th 0.725." in doubtful
    undecided = read(full_report(evidence=dataclasses.replace(report.evidence, is_better=None))).text
    assert "undecided" in undecided


def test_a_group_shows_its_nearest_and_its_farthest_members() -> None:
    text = read(full_report()).text
    strip = text[text.index("1 kept, 23 removed") : text.rindex("What is in the data")]
    shown = re.findall(r"0\.9\d{3}", strip)
    assert shown == ["0.9910", "0.9810", "0.9710", "0.9310", "0.9210", "0.9110"]
    assert "17 more" in strip


def test_savings_show_their_arithmetic() -> None:
    made = page.savings(page.Rates(0.5, 36.0, "EUR"), n_readable=1_100, n_selected=100, bytes_readable=10, bytes_kept=4)
    assert [(item.amount, item.unit) for item in made.items] == [(10.0, "h"), (500.0, "EUR"), (6, "bytes")]
    assert made.items[0].formula == "(1,100 readable − 100 selected) × 36 s ÷ 3,600 s/h"
    assert page.savings(page.Rates(), n_readable=3, n_selected=9).items[0].amount == 0


def test_picks_worth_all_random_ones_are_counted_from_the_curve() -> None:
    never = page.Evidence("v", False, (1, 2), page.Band((0.1, 0.2), (0.3, 0.4), (0.3, 0.3), (0.4, 0.5), (0, 0)), 9, 20)
    assert never.picks_worth_random is None
    assert "already cover" not in read(full_report(evidence=never)).text
    assert "The first 2 picks already cover as much as 4 random frames do." in read(full_report()).text


def test_every_measure_is_marked_beside_its_controls() -> None:
    text = read(full_report()).text
    assert "coverage 0.810 0.630 0.610 to 0.650 0.700 ✓ better – equal" in text
    assert "class balance 81.0% 63.0% 61.0% to 65.0% 70.0% – no clear difference – equal" in text
    assert "the farthest image 0.810 0.630 0.610 to 0.650 0.700 ✗ worse – equal" in text


def test_how_many_are_enough_is_told_with_the_knee_and_what_no_number_reaches() -> None:
    text = read(full_report()).text
    assert "To cover 95% within cosine 0.93, 88 picks are enough." in text
    assert "Past 2 picks each further one adds less coverage than the average pick does" in text
    assert "99.0% more than can be picked" in text
    report = full_report()
    assert report.evidence is not None
    straight = read(full_report(evidence=dataclasses.replace(report.evidence, knee=None))).text
    assert "has no clear knee" in straight


def test_a_plan_of_a_single_budget_is_a_table_without_a_curve() -> None:
    report = full_report()
    assert report.evidence is not None
    one = dataclasses.replace(report.evidence, plan=plan(budgets=(4,), path=(1.0,), needs=((0.95, 4),)))
    many, few = (len(read(full_report(evidence=found)).all("figure")) for found in (report.evidence, one))
    assert many - few == 1


def test_learning_curves_are_drawn_or_the_reason_is_told() -> None:
    report = full_report()
    assert report.evidence is not None
    assert "tested on 333 frames of 7 classes" in read(report).text
    none = dataclasses.replace(report.evidence, learning=None, no_learning="the images have no labels")
    assert "No learning curves: the images have no labels." in read(full_report(evidence=none)).text
    silent = dataclasses.replace(none, no_learning="")
    assert "What the labels teach" not in read(full_report(evidence=silent)).text


def test_the_spread_over_groups_is_told_by_column() -> None:
    text = read(full_report()).text
    assert "weather 3 2 (81.0%) 63.0% 81.0% 63.0% 81.0%" in text
    assert "By weather, the largest 2" in text  # the third is not told one by one
    assert "sun 600 96.9% 3 75.0%" in text


def test_stored_calibrations_are_told_with_what_they_expect() -> None:
    text = read(full_report()).text
    assert "self model 0.8740 0.8610 to 0.8890 91.7% 87.1% to 94.1% 76.3% resize, blur" in text
    assert "answers model" in text
    assert "58 answers" in text
    assert "The metric learned for copies (within-0.1) was kept" in text
    report = full_report()
    assert report.duplicates is not None
    used = dataclasses.replace(report.duplicates, threshold_origin="calibrated")
    assert "calibrated on this data (calibration 'self')." in read(full_report(duplicates=used)).text
    none = dataclasses.replace(used, calibrations=(), metric=None)
    assert "Calibrations" not in read(full_report(duplicates=none)).text


def test_issues_are_counted_with_their_rules_and_formulas() -> None:
    text = read(full_report()).text
    assert "21 of 619 frames have at least one." in text
    assert "blurry 17 sharpness below 0.1" in text
    assert "uniqueness = 1 - s1" in text


def test_a_split_is_shown_with_its_certificate_and_balance() -> None:
    text = read(full_report()).text
    assert "train 500 80.8% 80.0% 1.3% test 119 19.2% 20.0% 5.7%" in text
    assert "Kept together by video, neardup; the largest has 43." in text
    assert "77 move; there, 31 have a near-duplicate in another part." in text
    assert "Test is small." in text
    leaky = read(full_report(splits=(a_split(rows_across=3, holds=False),))).text
    assert "Across parts 3 ✗ fails" in leaky
    assert "Across parts 0 ✓ holds" in text


def test_a_split_without_groups_says_so() -> None:
    text = read(full_report(splits=(a_split(grouped_by=()),))).text
    assert "Kept together by nothing; the largest has 43." in text


def test_without_a_split_there_is_no_section_of_splits() -> None:
    assert "Splits" not in read(full_report(splits=())).text


def test_the_optimality_bound_and_the_notes_of_a_selection_are_told() -> None:
    text = read(full_report()).text
    assert "It reaches at least 89.3% of what the best selection of this size could" in text
    assert "by the method's own measure: the bound" in text
    assert "Searched again." in text
    report = full_report()
    assert report.selection is not None
    product = read(full_report(selection=dataclasses.replace(report.selection, method="mixed"))).text
    assert "could, by facility location," in product  # the product itself has no bound
    assert "by the method's own" not in product
    sampled = read(full_report(selection=dataclasses.replace(report.selection, optimality_is_estimate=True))).text
    assert "an estimated 89.3% or more" in sampled
    assert "no proof" in sampled
    assert "at least 89.3%" not in sampled
    silent = dataclasses.replace(report.selection, optimality=None)
    assert "what the best selection" not in read(full_report(selection=silent)).text


def test_under_quotas_no_list_is_called_the_top_of_a_longer_one() -> None:
    report = full_report()
    assert report.selection is not None
    plain = dataclasses.replace(report.selection, method="mixed", quotas=())
    top = "a shorter selection is the top of this list"
    assert top in read(full_report(selection=plain)).text
    capped = dataclasses.replace(plain, quotas=(page.Quota("a", 1, 1, 2),))
    assert top not in read(full_report(selection=capped)).text


def test_evidence_without_the_newer_numbers_is_shown_as_before() -> None:
    old = page.Evidence("Better.", True, (1, 2), band(0.5, 0.6), 9, 20)
    text = read(full_report(evidence=old)).text
    assert "Better." in text
    for title in ("Every measure at", "How many are enough?", "What the labels teach", "Spread over classes"):
        assert title not in text


# -- what comes from outside -------------------------------------------------------------------------------------


def test_text_from_files_never_becomes_markup(thumbnails: dict[int, bytes]) -> None:
    plain, report = full_report(), full_report()
    assert report.selection is not None and report.duplicates is not None and report.clusters is not None

    def nasty(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, (type, page.Map)):
            return dataclasses.replace(
                value, **{f.name: nasty(getattr(value, f.name)) for f in dataclasses.fields(value)}
            )
        if isinstance(value, tuple):
            return tuple(nasty(item) for item in value)
        if isinstance(value, dict):
            return {NASTY: NASTY}
        return NASTY + value if isinstance(value, str) else value

    kept = {"noun": "frame", "unreadable": dataclasses.replace(nasty(report.unreadable), skipped={NASTY: 3})}
    attacked = dataclasses.replace(nasty(dataclasses.replace(report, unreadable=page.Unreadable())), **kept)
    parsed = read(attacked, thumbnails)
    before = Counter(tag for tag, _ in read(plain, thumbnails).elements)
    after = Counter(tag for tag, _ in parsed.elements)
    assert {tag: n for tag, n in after.items() if n != before[tag] and tag != "p"} == {}  # fewer sentences follow
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]
    assert "<script>alert(1)</script>↵\"'&amp;�gpj.�#t=1.jpg" in parsed.text
    page.render(attacked, thumbnails).encode()  # lone surrogates would fail here


def test_only_markup_stays_markup() -> None:
    assert h("p", "<b>", h("b", "&"), None, [1, "x"], title='"<') == (
        '<p title="&quot;&lt;">&lt;b&gt;<b>&amp;</b>1x</p>'
    )
    assert h("input", for_="a", aria_label="b", hidden=True, title=None, lang=False) == (
        '<input for="a" aria-label="b" hidden></input>'
    )
    assert visible("a\r\n\tb\x00\x85é🙂") == "a↵↵ b␀�é🙂"


# -- pictures ----------------------------------------------------------------------------------------------------


def symbols(text: str) -> dict[int, bytes]:
    found = re.findall(r'<symbol id="t(\d+)"[^>]*><image href="data:image/\w+;base64,([^"]+)"', text)
    return {int(row): base64.b64decode(data) for row, data in found}


def test_each_picture_is_embedded_once_however_often_it_is_shown(thumbnails: dict[int, bytes]) -> None:
    text = page.render(full_report(), thumbnails)
    uses = Counter(re.findall(r'<use href="#t(\d+)"', text))
    assert max(uses.values()) > 1
    assert symbols(text) == {row: thumbnails[row] for row in page.rows_shown(full_report())}
    assert set(map(int, uses)) == set(symbols(text))


def test_rows_shown_are_those_the_page_asks_for_with_a_crowded_map_too(thumbnails: dict[int, bytes]) -> None:
    report = full_report(map=a_map(5_000))
    assert set(page.rows_shown(report)) == set(symbols(page.render(report, dict.fromkeys(range(5_000), thumbnails[0]))))


def test_a_missing_or_broken_thumbnail_is_said_so() -> None:
    report = full_report(map=None)
    text = page.render(report, {0: b"not an image", 1: b""})
    assert "<use" not in text
    assert Page(text).text.count("no picture") == len(re.findall('class="pic none"', text)) > 10


def test_the_file_stays_small_with_thousands_of_picks(rng: np.random.Generator) -> None:
    noise = Image.fromarray(rng.integers(0, 256, (170, 256, 3), dtype=np.uint8)).resize((128, 85)).resize((256, 170))
    out = io.BytesIO()
    noise.save(out, "WEBP", quality=80)
    assert len(out.getvalue()) > 1.5 * SHRINK_ABOVE_BYTES
    picks = tuple(page.Pick(i + 1, i, f"{i}.jpg", "a reason", 1.0) for i in range(5_000))
    report = full_report(selection=page.Selected("s", "diverse", "5000", picks), map=None)
    wanted = page.rows_shown(report)
    assert PICKS_PICTURED <= len(wanted) < PICKS_PICTURED + 60
    text = page.render(report, dict.fromkeys(wanted, out.getvalue()))
    assert len(symbols(text)[0]) < len(out.getvalue())
    assert len(text) < 1.5 * ENOUGH_BYTES + 1_500_000
    parsed = Page(text)
    assert parsed.text.count("a reason") == PICKS_LISTED
    assert f"The other {5_000 - PICKS_OPEN:,} picks" in parsed.text
    assert "3,000 more are in report.json." in parsed.text


def test_shrinking_never_makes_a_thumbnail_larger(rng: np.random.Generator) -> None:
    small = thumbnail(rng, quality=5)
    assert shrunk(small) == small
    large = thumbnail(rng, quality=100, side=400)
    assert len(shrunk(large)) < len(large)
    with Image.open(io.BytesIO(shrunk(large))) as image:
        assert max(image.size) == 200


# -- drawing -----------------------------------------------------------------------------------------------------


def test_every_point_of_a_small_map_is_drawn_and_every_pick_ringed() -> None:
    map_ = a_map(300)
    drawn = maps.picture(map_, maps.lay_out(map_), medoids=[], use=lambda row: None, describe="map")
    paths = re.findall(r'<path d="([^"]*)" class="(points|ring)[ "]', drawn)
    assert sum(path.count("h0") for path, kind in paths if kind == "points") == 300
    assert [path.count("M") for path, kind in paths if kind == "ring"] == [4]


def test_a_large_map_is_one_image_per_theme_and_always_the_same() -> None:
    map_ = a_map(maps.DRAWN_AS_POINTS + 1)
    drawn = [maps.picture(map_, maps.lay_out(map_), medoids=[], use=lambda row: None, describe="map") for _ in "ab"]
    assert drawn[0] == drawn[1]
    images = re.findall(r'href="data:image/png;base64,([^"]+)"[^>]*class="only-(light|dark)"', drawn[0])
    assert [theme for _, theme in images] == ["light", "dark"]
    for data, theme in images:
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            corner = image.convert("RGB").getpixel((0, 0))
        assert corner == tuple(bytes.fromhex(maps.PALETTE[theme].split()[0][1:]))
        assert len(data) < 400_000


def test_one_far_outlier_does_not_press_the_map_into_a_dot() -> None:
    map_ = a_map(1_000)
    map_.x[0] = 1e6
    layout = maps.lay_out(map_)
    assert 1 <= layout.n_beyond <= 5
    assert np.ptp(layout.x[1:]) > 300
    for values, most in ((layout.x, 1000), (layout.y, 640)):
        assert values.min() >= 0
        assert values.max() <= most


def test_a_tall_map_lies_down_and_keeps_its_distances() -> None:
    map_ = page.Map(
        np.arange(3), np.zeros(3, np.float32), np.array([0, 1, 10], np.float32), np.zeros(3, int), np.zeros(3, bool)
    )
    layout = maps.lay_out(map_)
    assert np.ptp(layout.y) == 0
    assert (layout.x[2] - layout.x[0]) == pytest.approx(10 * (layout.x[1] - layout.x[0]), rel=1e-4)
    assert np.ptp(layout.x) > 900


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_map_of_hardly_any_points_is_drawn(n: int) -> None:
    map_ = a_map(n)
    if n == 2:
        map_.x[:] = map_.y[:] = 3.0
    layout = maps.lay_out(map_)
    assert np.allclose(layout.x, 500) and np.allclose(layout.y, 320)
    assert "Map of" in str(page.render(full_report(map=map_), {}))


def test_pictures_on_the_map_do_not_cover_each_other() -> None:
    map_ = a_map(200)
    medoids = [(row, row % 8) for row in range(60)]
    drawn = maps.picture(map_, maps.lay_out(map_), medoids=medoids, use=lambda row: h("use"), describe="map")
    boxes = [tuple(map(float, box)) for box in re.findall(r'<rect class="ground" x="([\d.]+)" y="([\d.]+)"', drawn)]
    boxes = boxes or [tuple(map(float, b)) for b in re.findall(r'x="([\d.]+)" y="([\d.]+)"[^>]*class="ground"', drawn)]
    assert len(boxes) > 10
    for i, (x, y) in enumerate(boxes):
        assert all(abs(x - a) >= 80 or abs(y - b) >= 60 for a, b in boxes[:i])


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0)),
        (0.63, 0.81, (0.6, 0.65, 0.7, 0.75, 0.8, 0.85)),
        (0.5, 0.5, (0.0, 0.25, 0.5, 0.75, 1.0)),
        (-3.0, 41.0, (-20.0, 0.0, 20.0, 40.0, 60.0)),
    ],
)
def test_axes_end_at_round_numbers(low: float, high: float, ticks: tuple[float, ...]) -> None:
    assert charts.axis(low, high).ticks == ticks


def test_a_curve_of_one_budget_and_values_that_are_missing_is_drawn() -> None:
    nan = float("nan")
    one = page.Evidence("v", None, (1,), page.Band((0.5,), (nan,), (nan,), (nan,), (nan,)), 9, 20)
    assert "nan" not in page.render(full_report(evidence=one), {})


def test_a_limit_is_a_line_in_its_histogram() -> None:
    drawn = charts.histogram(
        page.Measure("m", "d", "", (0.0, 1.0, 2.0), (1, 3), 1.0, 0.1, 1.9, 0.5, 1), describe="histogram"
    )
    assert 'd="M250 0V100" class="limit"' in drawn
    assert "0 to 1: 1" in drawn


# -- words -------------------------------------------------------------------------------------------------------


def test_rounding_never_says_more_than_is_true() -> None:
    assert words.cosine(0.92999) == "0.9299"
    assert words.cosine(0.93) == "0.9300"
    assert [words.share(n, 10_000) for n in (0, 1, 10, 1234, 9_999, 10_000)] == [
        "0%", "<0.1%", "0.1%", "12.3%", ">99.9%", "100%",
    ]  # fmt: skip
    assert words.share(0, 0) == "0%"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.duration(38.44), "38.4 s"),
        (words.duration(59.99), "1 min 0 s"),
        (words.duration(203), "3 min 23 s"),
        (words.duration(90_061), "25 h 1 min"),
        (words.size(999), "999 bytes"),
        (words.size(2_100_000_000), "2.1 GB"),
        (words.number(1234.5), "1,234"),
        (words.number(0.07166), "0.0717"),
        (words.number(float("inf")), "–"),
        (words.amount(1234.5, "USD"), "1,234 USD"),
        (words.name("/data/cam/a.jpg"), "cam/a.jpg"),
        (words.name("s3://bucket/clip.mp4#t=12.480"), "bucket/clip.mp4#t=12.480"),
        (words.name("x/" + "n" * 60 + "0001.jpg", longest=20), "nnnnnnnnn…nn0001.jpg"),
        (words.name("a.jpg"), "a.jpg"),
    ],
)
def test_values_read_as_people_write_them(said: str, expected: str) -> None:
    assert said == expected


# -- faults ------------------------------------------------------------------------------------------------------


def test_numbers_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(DataError, match="622 found, but 0 pending .* = 621; count each row once"):
        funnel(kept=106)
    with pytest.raises(DataError, match="selected is -1; expected a count of at least 0"):
        funnel(selected=-1)
    with pytest.raises(DataError, match="'m' has 2 counts and 2 edges; expected 3 edges"):
        page.Measure("m", "d", "", (0.0, 1.0), (1, 2), 0.0, 0.0, 0.0)
    with pytest.raises(DataError, match=r"mean_similarity\.selected has 1 values for 2 budgets"):
        page.Evidence("v", None, (1, 2), band(0.1), 9, 20)
    with pytest.raises(DataError, match="map with columns of different length: .*'x': 39"):
        dataclasses.replace(a_map(), x=a_map().x[1:])


def test_both_files_are_written(tmp_path: Path, thumbnails: dict[int, bytes]) -> None:
    report = full_report(workspace=NASTY)
    written = page.write(report, thumbnails, tmp_path / "report")
    assert written == tmp_path / "report" / "index.html"
    assert written.read_text(encoding="utf-8") == page.render(report, thumbnails)
    assert json.loads((tmp_path / "report" / "report.json").read_bytes())["workspace"] == NASTY
    assert sorted(path.name for path in written.parent.iterdir()) == ["index.html", "report.json"]


def test_a_full_disk_leaves_the_older_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page.write(bare_report(), {}, tmp_path)
    before = (tmp_path / "index.html").read_bytes()

    def full(path: Path) -> IO[bytes]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "open_for_write", full)
    with pytest.raises(CannotWrite, match=r"report\.json: the disk is full"):
        page.write(full_report(), {}, tmp_path)
    assert (tmp_path / "index.html").read_bytes() == before


# -- real pictures -----------------------------------------------------------------------------------------------


@pytest.mark.real
def test_a_report_of_real_frames_holds_them_all_and_stays_small(real_data: Path) -> None:
    frames = sorted((real_data / "video" / "camvid").glob("0*/*.jpg"))
    thumbnails = {}
    for row, path in enumerate(frames):
        with Image.open(path) as image:
            image.thumbnail((256, 256))
            out = io.BytesIO()
            image.save(out, "WEBP", quality=80)
        thumbnails[row] = out.getvalue()
    picks = tuple(page.Pick(i + 1, i, str(path), "a frame", 1.0) for i, path in enumerate(frames))
    text = page.render(full_report(selection=page.Selected("s", "random", "all", picks), map=None), thumbnails)
    assert set(symbols(text)) >= set(range(len(frames)))
    assert len(text) < 1.4 * ENOUGH_BYTES + 500_000
