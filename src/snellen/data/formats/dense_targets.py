"""Dense regression targets: depth, surface normals, edges, reflectance, optical flow.

Files are decoded to float32; pixels without ground truth become NaN:

- depth: the files' own units, or metres if `depth.json` has {"scale": metres per unit}; values <= 0 are invalid.
- normals: x right, y up, z towards the viewer; 8 and 16 bits are v/255·2 − 1 and v/65535·2 − 1; scaled to length 1;
  black, and length 0, is invalid.
- edges and reflectance: 0 … 1; 8 and 16 bits are v/255 and v/65535.
- flow: u right and v down in pixels; 16-bit PNG as in KITTI, (v − 32768)/64, invalid where blue is 0.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.input_files import read_text
from snellen.core.spec import PixelNumbers
from snellen.core.views import Finding
from snellen.data.annotations import MapAnnotations
from snellen.data.dataset import RawDataset
from snellen.data.decode.header import UnusableFile
from snellen.data.file_index import File, LinkCheck
from snellen.data.formats import OpenOptions
from snellen.data.formats.map_files import read_map
from snellen.data.formats.match_by_name import Key, MatchedFiles, frame_names
from snellen.data.formats.pairing import MapReader, PairedImages

_CHANNELS = {"depth": (1,), "normals": (3,), "edges": (1,), "reflectance": (1, 3), "flow": (2, 3)}
_NOTES = {
    "depth": "0, NaN and infinity have no ground truth",
    "normals": "x right, y up, z towards the viewer, scaled to length 1; black and NaN have no ground truth",
    "edges": "0 to 1",
    "reflectance": "0 to 1",
    "flow": "u right, v down, in pixels; unknown values have no ground truth",
}
_JSON = 'set metres with depth.json: {"scale": metres per unit}'
_SHARED_VIDEO = Finding(
    kind="leakage",
    message="Samples of one video share frames, and lie in several splits",
    remedy="Put each video into one of train, val and test: the test error is too optimistic.",
)


class MapSize(NamedTuple):
    """Height, width and channels of a map."""

    height: int
    width: int
    channels: int


def open_dense_targets(root: Path, matched: MatchedFiles, kind: str, options: OpenOptions) -> RawDataset:
    """Images paired with dense targets of one kind.

    Raises:
        DataError: the scale cannot be read, or maps differ in their number of channels.
    """
    scale = _scale(root, matched.maps[kind].values()) if kind == "depth" else None

    def read(path: Path) -> Tensor:
        return decode_map(read_map(path), kind, scale or 1.0)

    def read_info(path: Path) -> MapSize:
        decoded = read(path)
        if bool(decoded.isnan().all()):
            raise UnusableFile("corrupt", "has no ground truth in any pixel", "Skip it with --quarantine.")
        return MapSize(decoded.shape[1], decoded.shape[2], decoded.shape[0])

    maps, second_frames = (matched.maps[kind], None) if kind != "flow" else _frames(root, matched)
    pairs = PairedImages(
        root,
        matched,
        maps,
        MapReader(f"map of {kind}", read_info, lambda values: MapSize(*values), f"map of {kind}"),
        options,
        second_frames,
    )
    channels = {info.channels for info in pairs.map_infos if info is not None}
    if len(channels) > 1:
        raise DataError(
            f"{root}: the {kind} targets have {' and '.join(map(str, sorted(channels)))} channels",
            "Save all with the same number.",
        )
    target = _target(kind, max(channels, default=1), scale)
    content = "frame pairs with flow" if kind == "flow" else f"images with {kind}"
    if kind == "depth":
        content += (
            f" in metres ({scale:g} per unit, from depth.json)" if scale else f" in the files' own units ({_JSON})"
        )
    recognised_as = f"image–map pairs: {len(pairs.keys):,} {content} for every pixel{pairs.in_splits}; {_NOTES[kind]}"
    raw = pairs.raw_dataset(
        target, MapAnnotations(pairs.map_loader(read, target), range(len(pairs.keys))), recognised_as
    )
    is_ungrouped = kind == "flow" and pairs.given_splits is None and pairs.groups is None
    return dataclasses.replace(raw, findings=(*raw.findings, _SHARED_VIDEO)) if is_ungrouped else raw


def _target(kind: str, channels: int, scale: float | None) -> PixelNumbers:
    grey = PixelNumbers(kind="reflectance", names=("reflectance",))
    return {
        "depth": PixelNumbers(kind="depth", names=("depth",), units=("m",) if scale else ()),
        "normals": PixelNumbers(kind="normals", names=("x", "y", "z")),
        "edges": PixelNumbers(kind="edges", names=("edge",)),
        "reflectance": PixelNumbers(kind="reflectance", names=("red", "green", "blue")) if channels == 3 else grey,
        "flow": PixelNumbers(kind="flow", names=("u", "v"), units=("px", "px")),
    }[kind]


def decode_map(values: np.ndarray, kind: str, scale: float) -> Tensor:
    """Decode a map, (H, W) or with channels first or last, to (T, H, W) float32 with NaN for no ground truth.

    Raises:
        UnusableFile: the kind does not have this number of channels.
    """
    values = values[..., None] if values.ndim == 2 else values
    channel_counts = _CHANNELS[kind]
    if values.shape[2] not in channel_counts and values.shape[0] in channel_counts:
        values = values.transpose(1, 2, 0)
    if kind == "edges" and values.shape[2] == 3 and bool((values == values[..., :1]).all()):
        values = values[..., :1]
    if values.shape[2] not in channel_counts or (
        kind == "flow" and (values.shape[2] == 3) != (values.dtype == np.uint16)
    ):
        raise UnusableFile(
            "corrupt",
            f"has {values.shape[2]} channels of {values.dtype}, {kind} needs "
            f"{' or '.join(str(n) for n in channel_counts[:2])}",
            "Save it again.",
        )
    decoded = _DECODERS[kind](values.astype(np.float64), _max_value(values.dtype), scale)
    decoded = np.where(np.isfinite(decoded).all(-1, keepdims=True), decoded, np.nan)
    return torch.from_numpy(np.ascontiguousarray(decoded.transpose(2, 0, 1), np.float32))


def _max_value(dtype: np.dtype[np.generic]) -> float | None:
    """The largest value of an 8- or 16-bit image; None for other dtypes."""
    return {"uint8": 255.0, "bool": 1.0, "uint16": 65535.0}.get(dtype.name)


def _depth(values: np.ndarray, max_value: float | None, scale: float) -> np.ndarray:
    depth: np.ndarray = np.where(values > 0, values * scale, np.nan)
    return depth


def _normals(values: np.ndarray, max_value: float | None, scale: float) -> np.ndarray:
    is_black = (values == 0).all(-1, keepdims=True)
    vectors = values / max_value * 2 - 1 if max_value else values
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit: np.ndarray = np.where(is_black | (length == 0), np.nan, vectors / length)
    return unit


def _unit_range(values: np.ndarray, max_value: float | None, scale: float) -> np.ndarray:
    fraction: np.ndarray = values / max_value if max_value else values
    if not max_value and np.isfinite(fraction).any() and (np.nanmin(fraction) < 0 or np.nanmax(fraction) > 1):
        raise UnusableFile(
            "corrupt",
            f"holds {np.nanmin(fraction):g} to {np.nanmax(fraction):g}, not 0 to 1",
            "Scale its values to 0 ... 1.",
        )
    return fraction


def _flow(values: np.ndarray, max_value: float | None, scale: float) -> np.ndarray:
    if values.shape[2] == 2:
        return values
    flow: np.ndarray = np.where(values[..., 2:] > 0, (values[..., :2] - 32768) / 64, np.nan)
    return flow


_DECODERS = {"depth": _depth, "normals": _normals, "edges": _unit_range, "reflectance": _unit_range, "flow": _flow}


def _scale(root: Path, files: Iterable[File]) -> float | None:
    """Metres per unit from `depth.json` in the root or beside the maps; None without one."""
    folders = {"", *(file.path.rpartition("/")[0] for file in files)}
    for folder in sorted(folders):
        file = root / folder / "depth.json"
        if not LinkCheck(root).is_file(f"{folder}/depth.json".lstrip("/")):
            continue
        try:
            scale = json.loads(read_text(file, "utf-8"))["scale"]
            if isinstance(scale, int | float) and math.isfinite(scale) and scale > 0:
                return float(scale)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass
        raise DataError(f'{file} has no positive number under "scale"', 'Write for example {"scale": 0.001}.')
    return None


def _frames(root: Path, matched: MatchedFiles) -> tuple[dict[Key, File], dict[Key, File]]:
    """The flow maps and the second frames, both by the key of the first frame.

    Raises:
        DataError: no map has two frames.
    """
    maps: dict[Key, File] = {}
    second_frames: dict[Key, File] = {}
    for key, file in matched.maps["flow"].items():
        pair = next((pair for pair in frame_names(key) if all(name in matched.images for name in pair)), None)
        if pair is None:
            maps[key] = file
        else:
            maps[pair[0]], second_frames[pair[0]] = file, matched.images[pair[1]]
    if not second_frames:
        raise DataError(
            f"{root}: no flow target has two frames",
            "Name them a_img1.png, a_img2.png, a_flow.flo; or images/1.png, images/2.png, flow/1.flo.",
        )
    return maps, second_frames
