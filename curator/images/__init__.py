"""Bytes and video files to upright RGB pixels.

Knows formats, colour, orientation, limits and time stamps; knows nothing of
models beyond the geometry they want, and nothing of workspaces. A picture that
cannot be decoded is an `UnreadableImage` with a reason class from `REASONS`.

    pictures.py   one image: bytes -> pixels -> model input, thumbnail
    video.py      one video: path -> time stamps -> pixels
"""

from __future__ import annotations

from curator.images.pictures import (
    FORMATS,
    REASONS,
    Geometry,
    Limits,
    Picture,
    decode,
    fit,
    measure,
    thumbnail,
)
from curator.images.video import Frame, VideoInfo, list_frames, read_frames

__all__ = [
    "FORMATS",
    "REASONS",
    "Frame",
    "Geometry",
    "Limits",
    "Picture",
    "VideoInfo",
    "decode",
    "fit",
    "list_frames",
    "measure",
    "read_frames",
    "thumbnail",
]
