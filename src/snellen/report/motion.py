"""Skeletons in motion as HTML: still frames as SVG, and the data of the player that a script draws on a canvas."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from snellen.core.views import Motion
from snellen.report import palette
from snellen.report.html_text import clean, escape, escape_name

MAX_JOINTS = 12_000  # positions of joints in a player, which are 96 kB; of longer motions every k-th frame is drawn
LEVELS = 32_000  # of a quantised coordinate, from the centre of the motion to its end
MISSING = -32_768  # quantised coordinate of a joint without a position
DASHES = ("", "7 4", "2 3", "9 3 2 3")  # line style of each track; its colour is that of the series
YAW, PITCH = -30, 10  # degrees of the view at the start: about the vertical axis, and from above
STILLS = 6  # frames without JavaScript
STILL_SIDE = 100  # of a still frame, in units of its SVG


class _Quantised(NamedTuple):
    """Positions of all tracks as integers (sum of F, J, 3) int16, in `unit`, about the centre of the motion."""

    values: np.ndarray
    unit: float


def motion_html(view: Motion) -> str:
    """The player of a motion, its still frames for a page without JavaScript, and the legend."""
    count = frame_count(view)
    if not count:
        return '<p class="small">No frames.</p>'
    shown = shown_frames(view)
    quantised = _quantise(view, shown)
    note = ""
    if len(shown) < count:
        note = f'<p class="small">Every {shown[1] - shown[0]}th of {count:,} frames is drawn.</p>'
    return (
        f'<div class="player" data-motion="{escape(_description(view, shown))}" '
        f'data-positions="{base64.b64encode(quantised.values.astype("<i2").tobytes()).decode()}">'
        f"{_stills(view)}{_stage(view, shown)}{_legend(view)}{note}</div>"
    )


def frame_count(view: Motion) -> int:
    """Number of frames on the common axis of time; 0 where no track has one."""
    return max((t.start + len(t.positions) for t in view.tracks if len(t.positions)), default=0)


def shown_frames(view: Motion) -> list[int]:
    """Indices of the frames in the player: all, or every k-th one of a long motion, `present` among them."""
    count = frame_count(view)
    joints = sum(t.positions.shape[0] * t.positions.shape[1] for t in view.tracks)
    stride = max(1, math.ceil(joints / MAX_JOINTS))
    return list(range((view.present or 0) % stride, count, stride))


def time_text(view: Motion, frame: int) -> str:
    """Time of a frame: relative to the last observed one, in ms where the duration of a frame is known."""
    steps = frame - (0 if view.present is None else view.present)
    sign = "" if view.present is None or not steps else "+" if steps > 0 else "−"
    if view.frame_seconds is None:
        return f"frame {sign}{abs(steps)}" if view.present is not None else f"frame {frame + 1}"
    return f"{sign}{abs(steps) * view.frame_seconds * 1000:.0f} ms"


def _description(view: Motion, shown: Sequence[int]) -> str:
    """JSON of all but the positions, for the script."""
    tracks = []
    for track in view.tracks:
        frames = [k for k, frame in enumerate(shown) if 0 <= frame - track.start < len(track.positions)]
        tracks.append([frames[0] if frames else 0, len(frames)])  # in frames of the player
    joints = max(t.positions.shape[1] for t in view.tracks)
    plain = {
        "tracks": tracks,
        "joints": joints,
        "bones": [[int(a), int(b)] for a, b in view.bones],
        "frames": [int(frame) for frame in shown],
        "count": frame_count(view),
        "seconds": view.frame_seconds,
        "present": view.present,
        "yaw": YAW,
        "pitch": PITCH,
        "missing": MISSING,
        "dashes": [[int(n) for n in dash.split()] for dash in DASHES],
    }
    return json.dumps(plain, separators=(",", ":"), allow_nan=False)


def _quantise(view: Motion, shown: Sequence[int]) -> _Quantised:
    """Positions of the shown frames about the centre of the motion; those that are not finite become MISSING."""
    joints = max(t.positions.shape[1] for t in view.tracks)
    parts = []
    for track in view.tracks:
        rows = [frame - track.start for frame in shown if 0 <= frame - track.start < len(track.positions)]
        positions = np.full((len(rows), joints, 3), np.nan)
        positions[:, : track.positions.shape[1]] = track.positions.detach().cpu().double().numpy()[rows]
        positions[~np.isfinite(positions).all(2)] = np.nan
        parts.append(positions)
    positions = np.concatenate(parts)
    known = positions[np.isfinite(positions).all(2)]
    if not len(known):
        return _Quantised(np.full(positions.shape, MISSING, np.int16), 1.0)
    low, high = known.min(0), known.max(0)
    unit = float((high / 2 - low / 2).max()) / LEVELS or 1.0
    scaled = np.round((positions - (low / 2 + high / 2)) / unit)
    return _Quantised(np.where(np.isfinite(scaled), scaled, MISSING).astype(np.int16), unit)


def _stage(view: Motion, shown: Sequence[int]) -> str:
    """The canvas and its controls, which the script shows."""
    title = escape(f"{clean(view.title)}: {_names(view)}")
    last = len(shown) - 1
    first = next((k for k, frame in enumerate(shown) if view.present is not None and frame > view.present), None)
    mark = ""
    if first is not None and last:
        side = " before" if first / last > 0.6 else ""
        mark = f'<span class="begins{side}" style="--at:{first / last:.4f}"><span>forecast begins</span></span>'
    return (
        f'<div class="stage" hidden><canvas role="img" aria-label="{title}"></canvas>'
        '<div class="controls"><button type="button">Play</button>'
        f'<div class="scale"><input type="range" class="frame" aria-label="frame" min="0" max="{last}" step="1" '
        f'value="{last if first is not None else 0}">{mark}</div>'
        '<output aria-live="off"></output>'
        '<label class="turn">angle <input type="range" class="angle" min="-180" max="180" step="5" '
        f'value="{YAW}"><span></span></label></div></div>'
    )


def _names(view: Motion) -> str:
    return ", ".join(clean(track.name) for track in view.tracks)


def _legend(view: Motion) -> str:
    """Names of the tracks, each with its colour and line style."""
    keys = "".join(
        f'<li><svg class="key" viewBox="0 0 34 10" aria-hidden="true"><path d="M0 5H34" fill="none" '
        f'stroke="{_colour(k)}" stroke-width="2.4" stroke-dasharray="{DASHES[k % len(DASHES)] or "none"}"/></svg>'
        f"{escape_name(track.name)}</li>"
        for k, track in enumerate(view.tracks)
    )
    return f'<ul class="legend">{keys}</ul>'


def _colour(track: int) -> str:
    return palette.CSS[palette.series_colour(track)]


def still_frames(view: Motion) -> list[int]:
    """The frames that are shown without JavaScript: past, present and future, or evenly spaced."""
    last = frame_count(view) - 1
    if view.present is None or not 0 <= view.present < last:
        return sorted({round(k * last / (STILLS - 1)) for k in range(STILLS)})
    future = [view.present + math.ceil(k * (last - view.present) / (STILLS - 2)) for k in range(1, STILLS - 1)]
    return sorted({0, view.present, *future})


def _stills(view: Motion) -> str:
    """Frames side by side at one scale, each about the centre of its own skeletons."""
    frames = still_frames(view)
    places_of = [_projected(view, frame) for frame in frames]
    known = [np.concatenate(list(places.values())) for places in places_of if places]
    known = [points[np.isfinite(points).all(1)] for points in known]
    extent = max((float((p.max(0) - p.min(0)).max()) for p in known if len(p)), default=0.0)
    scale = 0.9 * STILL_SIDE / extent if extent else 1.0
    items = "".join(
        f'<li><svg viewBox="0 0 {STILL_SIDE} {STILL_SIDE}" role="img" '
        f'aria-label="{escape(f"{clean(view.title)}, {time_text(view, frame)}")}" fill="none" '
        f'stroke-linecap="round">{_still(view, places, scale)}</svg><span>{time_text(view, frame)}</span></li>'
        for frame, places in zip(frames, places_of, strict=True)
    )
    return f'<ol class="stills">{items}</ol>'


def _projected(view: Motion, frame: int) -> dict[int, np.ndarray]:
    """(J, 2) places of the joints of each track that has the frame, to the right and downwards."""
    yaw, pitch = math.radians(YAW), math.radians(PITCH)
    result = {}
    for k, track in enumerate(view.tracks):
        if not 0 <= frame - track.start < len(track.positions):
            continue
        x, y, z = track.positions[frame - track.start].detach().cpu().double().numpy().T
        depth = z * math.cos(yaw) - x * math.sin(yaw)
        up = y * math.cos(pitch) - depth * math.sin(pitch)
        result[k] = np.stack([x * math.cos(yaw) + z * math.sin(yaw), -up], 1)
    return result


def _still(view: Motion, places: dict[int, np.ndarray], scale: float) -> str:
    """The lines of the skeletons of one frame; joints that a track lacks, or without a position, are not drawn."""
    points = np.concatenate(list(places.values())) if places else np.empty((0, 2))
    points = points[np.isfinite(points).all(1)]
    if not len(points):
        return ""
    centre = points.min(0) / 2 + points.max(0) / 2
    paths = []
    for k, joints in places.items():
        x, y = ((joints - centre) * scale + STILL_SIDE / 2).T
        bones = [(a, b) for a, b in view.bones if max(a, b) < len(x) and math.isfinite(x[a] + y[a] + x[b] + y[b])]
        d = "".join(f"M{x[a]:.1f} {y[a]:.1f}L{x[b]:.1f} {y[b]:.1f}" for a, b in bones)
        if not view.bones:  # joints alone: lines of length zero are dots
            d = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x, y, strict=True) if math.isfinite(a + b))
        width, dash = ("1.4", DASHES[k % len(DASHES)]) if view.bones else ("3", "")
        style = f' stroke-dasharray="{dash}"' if dash else ""
        paths.append(f'<path d="{d}" stroke="{_colour(k)}" stroke-width="{width}"{style}/>')
    return "".join(paths)
