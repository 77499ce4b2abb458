"""From what a person names to samples, in an order that never changes."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from curator.data import Progress, Sample, no_progress
from curator.errors import NothingToRead, UnreadableImage, UnreadableSource
from curator.sources.archives import Member, groups
from curator.sources.facts import NOTHING, Facts, folder_facts
from curator.sources.folders import walk
from curator.sources.kinds import (
    IMAGE_SUFFIXES,
    PACKED_TARS,
    TABLE_SUFFIXES,
    TAR_SUFFIX,
    VIDEO_SUFFIXES,
    is_video,
    suffix_of,
)
from curator.sources.options import ScanOptions, ScanReport
from curator.sources.reading import local_copy
from curator.sources.sidecar import Sidecar
from curator.sources.stores import Entry, Lookup, Place, Remote, clean, fault_of, find
from curator.sources.tables import read_table
from curator.sources.videos import ALL_FRAMES, Clip, file_digest, read_clip

logger = logging.getLogger(__name__)

Kind = Literal["image", "frame", "member"]
Known = Callable[[str, int, float], bool]
"""Called as known(file, size_bytes, modified); True when the samples of exactly this file are already there."""

SHOWN_CLIPS = 20
"""Clips that get a note of their own; the others are summed up in one."""
_FRAME = re.compile(r"(?P<container>.+)(?P<piece>#t=\d+\.\d+)", re.DOTALL)
_MEMBER = re.compile(r"(?P<container>.+?\.tar)(?P<piece>#.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Found:
    """A file that is there, with what is known of it so far."""

    place: Place
    entry: Entry
    relative: str  # below the source
    root: Place  # the source
    facts: Facts = NOTHING
    pieces: Mapping[str, Facts] = field(default_factory=dict)  # frames or members a table names, #t=12.480 or #a.jpg
    only_pieces: bool = False


class Scan(Iterator[Sample]):
    """Samples as they are found; `report` is complete once they are exhausted."""

    def __init__(self, sources: Sequence[str], options: ScanOptions, known: Known | None, progress: Progress) -> None:
        names = [sources] if isinstance(sources, str) else [str(source) for source in sources]
        if not names:
            raise NothingToRead("no source given; name a folder, an image, a video, a table, a tar or a URL")
        self._names, self._options, self._known, self._progress = names, options, known, progress
        self._roots = [_source(name) for name in names]
        self._sidecar = None if options.metadata is None else Sidecar(find(options.metadata))
        self._visited: set[Hashable] = set()  # folders
        self._keys: set[str] = set()  # files
        self._last_folder = ("", "")  # as named, as resolved
        self._seen: set[str] = set()
        self._skipped: Counter[str] = Counter()
        self._n_samples = 0
        self._notes: list[str] = []
        self._clips: list[tuple[str, Clip]] = []
        self._samples = self._run()

    def __next__(self) -> Sample:
        return next(self._samples)

    @property
    def report(self) -> ScanReport:
        """What was met so far."""
        sidecar = self._sidecar
        return ScanReport(
            files_seen=frozenset(self._seen),
            skipped=dict(sorted(self._skipped.items())),
            n_samples=self._n_samples,
            n_unmatched_rows=0 if sidecar is None else sidecar.n_unmatched,
            notes=(*self._notes, *self._clip_notes(), *(() if sidecar is None else sidecar.notes)),
        )

    def _run(self) -> Iterator[Sample]:
        for root, entry in self._roots:
            for sample in self._source(root, entry):
                self._n_samples += 1
                if self._n_samples % 500 == 0:
                    self._progress("scan", self._n_samples, None)
                yield sample
        self._progress("scan", self._n_samples, self._n_samples)
        if self._n_samples == 0 and not self._seen and self._known is None:
            raise NothingToRead(self._nothing())
        logger.info("scan: %d samples in %d files, %d skipped", self._n_samples, len(self._seen), self._skipped.total())

    def _source(self, root: Place, entry: Entry) -> Iterator[Sample]:
        if not entry.is_folder:
            if suffix_of(entry.name) in TABLE_SUFFIXES:
                return self._table(root)
            return self._file(root, entry, relative=entry.name, root=root.folder)
        return self._folder(root)

    def _folder(self, root: Place) -> Iterator[Sample]:
        for entry in walk(root.store, root.path, recursive=self._options.recursive, visited=self._visited):
            place = root._replace(path=entry.path)
            if entry.fault is not None:
                yield _fault(place.file, "image", *fault_of(entry.fault))
                continue
            relative = entry.path[len(root.path) :].lstrip("/")
            yield from self._file(place, entry, relative=relative, root=root)

    def _of_folders(self, relative: str, root: Place) -> Facts:
        options = self._options
        if not options.labels_from_folders and not options.splits_from_folders:
            return NOTHING
        return folder_facts(
            relative,
            root=root.path.rpartition("/")[2],
            labels=options.labels_from_folders,
            splits=options.splits_from_folders,
        )

    def _file(self, place: Place, entry: Entry, *, relative: str, root: Place) -> Iterator[Sample]:
        """Samples of one file of a folder, or of one named outright."""
        suffix = suffix_of(entry.name)
        if suffix not in _READERS:
            self._skipped[clean(suffix)] += 1
            return
        try:
            entry = place.store.measured(entry)
        except OSError as error:  # a link that leads nowhere, a folder that may be listed but not entered
            yield _fault(place.file, "image", *fault_of(error))
            return
        yield from self._open(_Found(place, entry, relative, root), suffix)

    def _open(self, found: _Found, suffix: str) -> Iterator[Sample]:
        """Samples of a file that is there, unless it was met before or is known."""
        file, entry = found.place.file, found.entry
        key = self._key(found.place)
        if key in self._keys:
            return
        self._keys.add(key)
        self._seen.add(file)
        own = None if self._sidecar is None else self._sidecar.match(file, found.relative, root=found.root)
        if not found.pieces and self._known is not None and self._known(file, entry.size_bytes, entry.modified):
            return
        facts = self._of_folders(found.relative, found.root).under(found.facts).under(own)
        yield from _READERS.get(suffix, Scan._image)(self, found, facts)

    def _key(self, place: Place) -> str:
        """Equal for two names of one file through linked folders; a link to a file keeps its own name."""
        folder, _, name = place.path.rpartition("/")
        if self._last_folder[0] != folder:  # files come folder by folder
            self._last_folder = (folder, place.store.resolved(folder))
        return place.store.name(f"{self._last_folder[1]}/{name}")

    def _image(self, found: _Found, facts: Facts) -> Iterator[Sample]:
        file, entry = found.place.file, found.entry
        yield Sample(
            uri=file,
            file=file,
            size_bytes=entry.size_bytes,
            modified=entry.modified,
            split=facts.split,
            labels=facts.labels,
            metadata=facts.metadata,
        )

    def _video(self, found: _Found, facts: Facts) -> Iterator[Sample]:
        file, entry = found.place.file, found.entry
        try:
            if entry.size_bytes == 0:
                raise UnreadableImage("empty", "zero bytes")
            path = local_copy(found.place, size_bytes=entry.size_bytes, modified=entry.modified)
            digest = file_digest(path)
            clip = read_clip(path, ALL_FRAMES if found.only_pieces else self._options.sampling)
        except OSError as error:
            yield _fault(file, "frame", *fault_of(error), entry=entry, facts=facts)
            return
        except UnreadableImage as error:
            yield _fault(file, "frame", error.reason, error.message, entry=entry, facts=facts)
            return
        self._clips.append((clean(entry.name), clip))
        own = {"video": file} if clip.note is None else {"video": file, "note": clip.note}
        for frame in clip.frames:
            if found.only_pieces and frame.name not in found.pieces:
                continue
            known = facts.under(found.pieces.get(frame.name)).under(self._match(found, frame.name))
            yield Sample(
                uri=file + frame.name,
                file=file,
                kind="frame",
                time_s=frame.time_s,
                offset=frame.pts,
                size_bytes=entry.size_bytes,
                modified=entry.modified,
                file_digest=digest,
                split=known.split,
                labels=known.labels,
                metadata={**known.metadata, **own, "frame": frame.number},
            )
        yield from _not_there(found, {frame.name for frame in clip.frames}, "frame", "no_frame")

    def _match(self, found: _Found, piece: str) -> Facts | None:
        if self._sidecar is None:
            return None
        return self._sidecar.match(found.place.file + piece, found.relative + piece, root=found.root)

    def _shard(self, found: _Found, facts: Facts) -> Iterator[Sample]:
        file, entry = found.place.file, found.entry
        taken: set[str] = set()
        n_damaged = 0
        try:
            with found.place.store.open(found.place.path) as handle:
                for group in groups(handle, size_bytes=entry.size_bytes):
                    if isinstance(group, UnreadableImage):
                        yield _fault(file, "member", group.reason, group.message, entry=entry, facts=facts)
                        continue
                    images, skipped = group.split_off()
                    self._skipped.update(clean(suffix) for suffix in skipped)
                    if not images:
                        self._skipped.update(f".{clean(extension)}" for extension in group.sides)
                        continue
                    beside = group.facts()
                    n_damaged += group.is_damaged
                    for member in images:
                        piece = f"#{clean(member.name)}"
                        if piece in taken:  # a tar may hold two files of one name
                            piece += f"@{member.offset}"
                        taken.add(piece)
                        if not found.only_pieces or piece in found.pieces:
                            yield self._member(found, member, piece, facts=facts, beside=beside)
        except OSError as error:
            yield _fault(file, "member", *fault_of(error), entry=entry, facts=facts)
        yield from _not_there(found, taken, "member", "missing")
        if n_damaged:
            self._notes.append(f"{file}: {n_damaged} .json members are not JSON; their images have no metadata")

    def _member(self, found: _Found, member: Member, piece: str, *, facts: Facts, beside: Facts) -> Sample:
        folder = found.relative.rpartition("/")[0]
        within = self._of_folders(f"{folder}/{member.name}" if folder else member.name, found.root)
        known = facts.under(within).under(beside).under(found.pieces.get(piece))
        if self._sidecar is not None:
            known = known.under(self._sidecar.match(found.place.file + piece, clean(member.name), root=found.root))
        return Sample(
            uri=found.place.file + piece,
            file=found.place.file,
            kind="member",
            offset=member.offset,
            size_bytes=member.size_bytes,
            modified=found.entry.modified,  # of the archive: when it changes, offsets may
            split=known.split,
            labels=known.labels,
            metadata=known.metadata,
        )

    def _table(self, root: Place) -> Iterator[Sample]:
        table = read_table(root, name_column=self._options.uri_column)
        self._notes.extend(table.notes)
        jobs: dict[str, dict[str, list[int]]] = {}  # file -> the pieces asked for, "" for the whole
        rows = table.by_name()
        for name, at in rows.items():
            container, piece = _divide(name)
            jobs.setdefault(container, {})[piece] = at
        look = Lookup()
        n_before = 0
        for name, pieces in jobs.items():
            place = root.beside(name)
            facts = table.facts(pieces[""]) if "" in pieces else NOTHING
            asked = {piece: table.facts(at) for piece, at in pieces.items() if piece}
            try:
                entry = look(place)
            except OSError as error:
                yield from self._absent(place, error, facts=facts)
                continue
            if self._key(place) in self._keys:
                n_before += 1
                continue
            found = _Found(place, entry, name, root.folder, facts, asked, only_pieces="" not in pieces)
            yield from self._open(found, suffix_of(place.path))
        if sum(map(len, rows.values())) > len(rows):
            self._notes.append(
                f"{table.file}: {len(table)} rows name {len(rows)} files; the labels of one file are joined"
            )
        if n_before:
            self._notes.append(
                f"{table.file}: {n_before} files were met before, so its columns were not used for them; "
                "give it as metadata, or before the other sources"
            )

    def _absent(self, place: Place, error: OSError, *, facts: Facts) -> Iterator[Sample]:
        """The sample of a row whose file cannot be found: decoding says why, for a video it is said here."""
        file = place.file
        if file in self._keys:
            return
        self._keys.add(file)
        if is_video(file) or suffix_of(file) == TAR_SUFFIX:
            yield _fault(file, "frame" if is_video(file) else "member", *fault_of(error), facts=facts)
        else:
            yield Sample(uri=file, file=file, split=facts.split, labels=facts.labels, metadata=facts.metadata)

    def _clip_notes(self) -> Iterator[str]:
        sampling = self._options.sampling
        hint = "; --every-nth 1 takes all" if sampling.is_default else ""
        for name, clip in self._clips[:SHOWN_CLIPS]:
            yield f"{name}: {len(clip.frames)} of {clip.n_frames_total} frames ({sampling}{hint})"
            if clip.note is not None:
                yield f"{name}: {clip.note}"
        rest = [clip for _, clip in self._clips[SHOWN_CLIPS:]]
        if rest:
            n_taken, n_total = sum(len(c.frames) for c in rest), sum(c.n_frames_total for c in rest)
            n_cut = sum(clip.note is not None for clip in rest)
            cut = f"; {n_cut} of them are cut" if n_cut else ""
            yield f"{len(rest)} more videos: {n_taken} of {n_total} frames ({sampling}{hint}){cut}"

    def _nothing(self) -> str:
        skipped = ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in self._skipped.most_common(5))
        return (
            f"no image, video or tar in {', '.join(self._names)}"
            + (f" (skipped: {skipped})" if skipped else "")
            + "; name a folder with images, a video, a tar, or a table that names files"
        )


DEFAULTS = ScanOptions()


def scan(
    sources: Sequence[str],
    options: ScanOptions = DEFAULTS,
    *,
    known: Known | None = None,
    progress: Progress = no_progress,
) -> Scan:
    """Find the samples of folders, files, videos, tables, tars and URLs.

    The same tree gives the same samples in the same order. A file reached by
    two sources comes once, with the facts of the first. What cannot be read is
    a sample with a reason; what is of no known kind is counted in the report.

    Args:
        sources: paths or fsspec URLs. Tables are read only when named here, not when met in a folder.
        known: asked for each file that exists; where it is True the file counts as seen and gives no sample.
        progress: called now and then with stage "scan" and the number of samples.

    Returns:
        an iterator of samples whose `report` is complete when it is exhausted.

    Raises:
        UnreadableSource: a source does not exist or is of no kind that is read; at once, before the first sample.
            A table or sidecar that cannot be read or joined; while iterating.
        NothingToRead: no source, or, with no `known`, nothing in them; the latter at the end.
        MissingPackage: a URL or a video needs a package that is not installed.
    """
    return Scan(sources, options, known, progress)


_READERS: dict[str, Callable[[Scan, _Found, Facts], Iterator[Sample]]] = {
    **dict.fromkeys(IMAGE_SUFFIXES, Scan._image),
    **dict.fromkeys(VIDEO_SUFFIXES, Scan._video),
    TAR_SUFFIX: Scan._shard,
}


def _source(name: str) -> tuple[Place, Entry]:
    if not name.strip():
        raise UnreadableSource(f"source {name!r} is empty; expected a path or a URL")
    place = find(name)
    if isinstance(place.store, Remote):
        place.store.forget_listings()
    try:
        entry = place.store.look(place.path)
    except OSError as error:
        raise UnreadableSource(
            f"source {clean(name)} cannot be read ({fault_of(error)[1]}); "
            "expected an existing folder, image, video, table, tar or URL"
        ) from error
    suffix = suffix_of(entry.name)
    if not entry.is_folder and suffix in PACKED_TARS:
        raise UnreadableSource(
            f"source {clean(name)} is a compressed tar, whose members cannot be read by offset; "
            "expected a plain .tar; unpack it first, for example with gunzip"
        )
    if not entry.is_folder and suffix not in _READERS and suffix not in TABLE_SUFFIXES:
        raise UnreadableSource(
            f"source {clean(name)} is of no kind that is read ({suffix or 'no suffix'}); expected a folder, an image "
            "(.jpg, .png, ...), a video (.mp4, ...), a table (.csv, .parquet, .jsonl) or a .tar"
        )
    return place, entry


def _divide(name: str) -> tuple[str, str]:
    """A name in a table as file and piece of it: `clip.mp4#t=12.480` and `shard.tar#a.jpg` have two parts."""
    frame = _FRAME.fullmatch(name)
    if frame and is_video(frame["container"]):
        return frame["container"], frame["piece"]
    member = _MEMBER.fullmatch(name)
    return (member["container"], member["piece"]) if member else (name, "")


def _not_there(found: _Found, given: set[str], kind: Kind, reason: str) -> Iterator[Sample]:
    """A sample for each frame or member that a table names and the file does not have."""
    for piece, facts in found.pieces.items():
        if piece not in given and found.only_pieces:
            fault = _fault(found.place.file, kind, reason, f"the file has no {piece}", entry=found.entry, facts=facts)
            yield replace(fault, uri=found.place.file + piece)


def _fault(
    file: str, kind: Kind, reason: str, message: str, *, entry: Entry | None = None, facts: Facts = NOTHING
) -> Sample:
    """The one sample of something that cannot be read."""
    return Sample(
        uri=file,
        file=file,
        kind=kind,
        size_bytes=0 if entry is None else entry.size_bytes,
        modified=0.0 if entry is None else entry.modified,
        split=facts.split,
        labels=facts.labels,
        metadata=facts.metadata,
        reason=reason,
        message=message,
    )
