"""Confined reading: a table, a link, a URL or a playlist leads nowhere that was not allowed."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from curator import pipeline
from curator.catalog import Catalog
from curator.config import load
from curator.data import Sample
from curator.errors import UnreadableImage, UnreadableSource
from curator.images import list_frames
from curator.sources import local_path, read_bytes, scan
from curator.sources.confined import CONFINE, Confinement, OutsideError, check_local, check_remote
from curator.workspace import open_workspace
from tests.conftest import picture
from tests.test_video import make_video

FAST = ["embed.model=colour", "map.kind=pca", "report.n_random=3", "index.neighbors=3", "workers=1", "select.budget=2"]


@pytest.fixture
def inside(tmp_path: Path, rng: np.random.Generator) -> Path:
    """An allowed folder with three pictures; beside it a secret one."""
    folder = tmp_path / "allowed"
    folder.mkdir()
    (tmp_path / "secret").mkdir()
    for at in range(3):
        picture(rng).save(folder / f"{at}.jpg")
    picture(rng).save(tmp_path / "secret" / "passport.jpg")
    return folder


@pytest.fixture
def confined(inside: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(*next(iter(Confinement((str(inside),)).to_environment().items())))
    return inside


def reasons(source: Path) -> dict[str, str | None]:
    return {sample.uri.rpartition("/")[2]: sample.reason for sample in scan([str(source)])}


def test_without_the_variable_nothing_is_restricted(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONFINE, raising=False)
    (inside / "link.jpg").symlink_to(inside.parent / "secret" / "passport.jpg")
    assert reasons(inside)["link.jpg"] is None


def test_a_link_to_a_file_outside_is_a_row_with_a_reason(confined: Path) -> None:
    (confined / "link.jpg").symlink_to(confined.parent / "secret" / "passport.jpg")
    assert reasons(confined) == {"0.jpg": None, "1.jpg": None, "2.jpg": None, "link.jpg": "outside"}


def test_a_link_that_stays_inside_is_followed(confined: Path) -> None:
    (confined / "link.jpg").symlink_to(confined / "0.jpg")
    assert reasons(confined)["link.jpg"] is None


def test_a_linked_folder_outside_is_a_row_with_a_reason(confined: Path) -> None:
    (confined / "more").symlink_to(confined.parent / "secret")
    found = reasons(confined)
    assert "passport.jpg" not in found
    assert found["more"] == "outside"


def test_a_table_cannot_name_files_outside(confined: Path) -> None:
    secret = confined.parent / "secret" / "passport.jpg"
    names = [str(secret), "../secret/passport.jpg", f"file://{secret}", "0.jpg"]
    for table, text in (
        (confined / "list.csv", "uri\n" + "\n".join(names) + "\n"),
        (confined / "list.jsonl", "".join(json.dumps({"uri": name}) + "\n" for name in names)),
    ):
        table.write_text(text)
        found = list(scan([str(table)]))
        assert [sample.file for sample in found if sample.size_bytes] == [str(confined / "0.jpg")]
        for sample in found:
            if sample.size_bytes == 0 and sample.reason is None:  # the decoder says why
                with pytest.raises(UnreadableImage, match="outside: outside the folders that may be read here"):
                    read_bytes(sample)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/a.jpg", "s3://bucket/a.jpg", "memory://a.jpg", "zip://a.jpg::file:///etc/passwd",
            "simplecache::http://127.0.0.1:1/a.jpg"],
)  # fmt: skip
def test_a_table_cannot_name_urls(confined: Path, url: str) -> None:
    (confined / "list.csv").write_text(f"uri\n{url}\n0.jpg\n")
    found = list(scan([str(confined / "list.csv")]))
    assert sum(sample.size_bytes > 0 for sample in found) == 1
    refused = next(sample for sample in found if sample.size_bytes == 0)
    with pytest.raises(UnreadableImage, match="outside: a remote place, which may not be read here"):
        read_bytes(refused)


def test_a_source_outside_is_refused_at_once(confined: Path) -> None:
    with pytest.raises(UnreadableSource, match="passport.jpg cannot be read"):
        scan([str(confined.parent / "secret" / "passport.jpg")])
    with pytest.raises(UnreadableSource, match="a remote place"):
        scan(["http://127.0.0.1:1/folder"])


def test_a_path_for_another_library_is_checked_too(confined: Path) -> None:
    clip = str(confined.parent / "secret" / "clip.mp4")
    with pytest.raises(UnreadableImage, match="outside"):
        local_path(Sample(uri=f"{clip}#t=0.000", file=clip, kind="frame", time_s=0.0, offset=0))


def test_a_playlist_named_as_a_video_opens_nothing(tmp_path: Path) -> None:
    make_video(tmp_path / "other.mp4", n_frames=4)
    playlist = tmp_path / "clip.mp4"
    playlist.write_text("ffconcat version 1.0\nfile other.mp4\n")
    with av.open(f"file:{playlist}") as opened:  # the library itself would follow it
        assert opened.format.name == "concat"
    with pytest.raises(UnreadableImage, match="not_an_image: Invalid argument"):
        list_frames(str(playlist))


def test_trusted_places_may_lead_anywhere_and_others_not(inside: Path, tmp_path: Path) -> None:
    link = inside / "link.jpg"
    link.symlink_to(tmp_path / "secret" / "passport.jpg")
    assert not Confinement((str(inside),)).allows(str(link))
    assert Confinement((), trusted=(str(inside),)).allows(str(link))
    assert not Confinement((), trusted=(str(inside),)).allows(str(inside / ".." / "secret" / "passport.jpg"))
    assert not Confinement((str(inside),)).allows(str(inside) + "-other/a.jpg")
    assert not Confinement((str(inside),)).allows("a\0b")


def test_urls_are_allowed_by_what_they_begin_with() -> None:
    confined = Confinement((), urls=("s3://bucket/folder",))
    assert confined.allows_url("s3://bucket/folder/a.jpg")
    assert not confined.allows_url("s3://bucket/folder-other/a.jpg")
    assert not confined.allows_url("s3://bucket/folder/../other/a.jpg")


def test_what_is_refused_is_said(confined: Path) -> None:
    with pytest.raises(OutsideError, match="outside the folders that may be read here"):
        check_local("/etc/passwd")
    with pytest.raises(OutsideError, match="a remote place, which may not be read here"):
        check_remote("http://example.org/a.jpg")
    check_local(str(confined / "0.jpg"))


def test_a_run_keeps_what_was_refused_as_rows_and_a_free_run_mends_them(
    inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (inside / "link.jpg").symlink_to(tmp_path / "secret" / "passport.jpg")
    table = inside / "list.csv"
    table.write_text(f"uri\n{tmp_path}/secret/passport.jpg\n")
    monkeypatch.setenv(*next(iter(Confinement((str(inside),)).to_environment().items())))
    for _ in range(2):  # the second run makes no new rows
        pipeline.run([str(inside), str(table)], tmp_path / "w", load(None, FAST))
    place = open_workspace(tmp_path / "w")
    with Catalog(place) as catalog:
        records = catalog.table(["uri", "reason", "digest"]).to_pylist()
    assert len(records) == 5
    refused = {r["uri"] for r in records if r["reason"] == "outside"}
    assert refused == {str(inside / "link.jpg"), str(tmp_path / "secret" / "passport.jpg")}
    assert all(r["digest"] is None for r in records if r["reason"] == "outside")
    monkeypatch.delenv(CONFINE)
    pipeline.run([], tmp_path / "w", load(None, FAST))
    with Catalog(open_workspace(tmp_path / "w")) as catalog:
        present = catalog.table(["reason"], where="status = 'present'").to_pylist()
    assert [r["reason"] for r in present] == [None] * 5
