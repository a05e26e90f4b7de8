"""Pictures with numbers for every pixel: depth, normals, edges, reflectance, and flow between two frames.

What files hold becomes numbers in one documented way; what is no truth becomes NaN:

- depth: the files' own units, or metres where `depth.json` says {"scale": metres per unit}; 0 and less is no truth.
- normals: x right, y up, z towards the viewer; 8 and 16 bits are v/255·2 − 1 and v/65535·2 − 1; brought to length 1;
  black, and length 0, is no truth.
- edges and reflectance: 0 … 1; 8 and 16 bits are v/255 and v/65535.
- flow: u right and v down in pixels; PNG of 16 bits as KITTI has it, (v − 32768)/64, with 0 in blue for no truth.
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
from snellen.core.spec import PixelNumbers
from snellen.core.views import Finding
from snellen.data.annotations import Maps
from snellen.data.dataset import RawDataset
from snellen.data.decode.header import Unusable
from snellen.data.file_index import File
from snellen.data.formats import OpenOptions
from snellen.data.formats.map_files import numbers
from snellen.data.formats.match_by_name import Key, Partners, frame_names
from snellen.data.formats.pairing import Looking, Pairs

_CHANNELS = {"depth": (1,), "normals": (3,), "edges": (1,), "reflectance": (1, 3), "flow": (2, 3)}
_SAID = {
    "depth": "0, NaN and infinity are no truth",
    "normals": "x right, y up, z towards the viewer, brought to length 1; black and NaN are no truth",
    "edges": "0 to 1",
    "reflectance": "0 to 1",
    "flow": "u right, v down, in pixels; what is not known is no truth",
}
_JSON = 'depth.json with {"scale": metres per unit} says otherwise'
_ONE_FILM = Finding(
    kind="leakage",
    message="samples of one film share frames, and lie in several splits",
    remedy="Lay them into train, val and test yourself: the test is easier than it looks.",
)


class Size(NamedTuple):
    """Of a map: pixels, and numbers for each."""

    height: int
    width: int
    channels: int


def open_numbers(root: Path, found: Partners, kind: str, options: OpenOptions) -> RawDataset:
    """Pictures with a map of one kind.

    Raises:
        DataError: for a scale that cannot be read, or maps with several numbers of channels.
    """
    scale = _scale(root, found.maps[kind].values()) if kind == "depth" else None

    def read(path: Path) -> Tensor:
        return as_told(numbers(path), kind, scale or 1.0)

    def look(path: Path) -> Size:
        told = read(path)
        if bool(told.isnan().all()):
            raise Unusable("corrupt", "has no truth in any pixel", "Leave it out with --quarantine.")
        return Size(told.shape[1], told.shape[2], told.shape[0])

    maps, seconds = (found.maps[kind], None) if kind != "flow" else _frames(root, found)
    pairs = Pairs(root, found, maps, Looking(f"map of {kind}", look, lambda plain: Size(*plain)), options, seconds)
    channels = {held.channels for held in pairs.held if held is not None}
    if len(channels) > 1:
        raise DataError(
            f"{root}: maps of {kind} have {' and '.join(map(str, sorted(channels)))} numbers a pixel", "Save all alike."
        )
    target = _target(kind, max(channels, default=1), scale)
    said = "times two frames with flow" if kind == "flow" else f"pictures with {kind}"
    if kind == "depth":
        said += f" in metres ({scale:g} a unit, as depth.json says)" if scale else f" in the files' own units ({_JSON})"
    taken = f"image–number pairs: {len(pairs.keys):,} {said} of every pixel{pairs.in_splits}; {_SAID[kind]}"
    draft = pairs.draft(target, Maps(pairs.preprocessing(read, target), range(len(pairs.keys))), taken)
    one_film = kind == "flow" and pairs.given is None and pairs.groups is None
    return dataclasses.replace(draft, findings=(*draft.findings, _ONE_FILM)) if one_film else draft


def _target(kind: str, channels: int, scale: float | None) -> PixelNumbers:
    grey = PixelNumbers(kind="reflectance", names=("reflectance",))
    return {
        "depth": PixelNumbers(kind="depth", names=("depth",), units=("m",) if scale else ()),
        "normals": PixelNumbers(kind="normals", names=("x", "y", "z")),
        "edges": PixelNumbers(kind="edges", names=("edge",)),
        "reflectance": PixelNumbers(kind="reflectance", names=("red", "green", "blue")) if channels == 3 else grey,
        "flow": PixelNumbers(kind="flow", names=("u", "v"), units=("px", "px")),
    }[kind]


def as_told(values: np.ndarray, kind: str, scale: float) -> Tensor:
    """What a file holds, (H, W) or with channels first or last, as (T, H, W) float32 with NaN for no truth.

    Raises:
        Unusable: for a number of channels that the kind has not.
    """
    values = values[..., None] if values.ndim == 2 else values
    wanted = _CHANNELS[kind]
    if values.shape[2] not in wanted and values.shape[0] in wanted:
        values = values.transpose(1, 2, 0)
    if kind == "edges" and values.shape[2] == 3 and bool((values == values[..., :1]).all()):
        values = values[..., :1]
    if values.shape[2] not in wanted or (kind == "flow" and (values.shape[2] == 3) != (values.dtype == np.uint16)):
        raise Unusable(
            "corrupt",
            f"has {values.shape[2]} numbers of {values.dtype} a pixel, {kind} "
            f"{' or '.join(str(n) for n in wanted[:2])}",
            "Save it again.",
        )
    told = _TELL[kind](values.astype(np.float64), _top(values.dtype), scale)
    told = np.where(np.isfinite(told).all(-1, keepdims=True), told, np.nan)
    return torch.from_numpy(np.ascontiguousarray(told.transpose(2, 0, 1), np.float32))


def _top(dtype: np.dtype[np.generic]) -> float | None:
    """The largest value of a picture of 8 or 16 bits."""
    return {"uint8": 255.0, "bool": 1.0, "uint16": 65535.0}.get(dtype.name)


def _depth(values: np.ndarray, top: float | None, scale: float) -> np.ndarray:
    depth: np.ndarray = np.where(values > 0, values * scale, np.nan)
    return depth


def _normals(values: np.ndarray, top: float | None, scale: float) -> np.ndarray:
    none = (values == 0).all(-1, keepdims=True)
    vectors = values / top * 2 - 1 if top else values
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit: np.ndarray = np.where(none | (length == 0), np.nan, vectors / length)
    return unit


def _share(values: np.ndarray, top: float | None, scale: float) -> np.ndarray:
    share: np.ndarray = values / top if top else values
    if not top and np.isfinite(share).any() and (np.nanmin(share) < 0 or np.nanmax(share) > 1):
        raise Unusable(
            "corrupt", f"holds {np.nanmin(share):g} to {np.nanmax(share):g}, not 0 to 1", "Bring its values to 0 ... 1."
        )
    return share


def _flow(values: np.ndarray, top: float | None, scale: float) -> np.ndarray:
    if values.shape[2] == 2:
        return values
    known: np.ndarray = np.where(values[..., 2:] > 0, (values[..., :2] - 32768) / 64, np.nan)
    return known


_TELL = {"depth": _depth, "normals": _normals, "edges": _share, "reflectance": _share, "flow": _flow}


def _scale(root: Path, files: Iterable[File]) -> float | None:
    """Metres per unit, where `depth.json` lies at the top or beside the maps."""
    folders = {"", *(file.path.rpartition("/")[0] for file in files)}
    for folder in sorted(folders):
        file = root / folder / "depth.json"
        if not file.is_file():
            continue
        try:
            scale = json.loads(file.read_text(encoding="utf-8"))["scale"]
            if isinstance(scale, int | float) and math.isfinite(scale) and scale > 0:
                return float(scale)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass
        raise DataError(f'{file} has no number above 0 under "scale"', 'Write for example {"scale": 0.001}.')
    return None


def _frames(root: Path, found: Partners) -> tuple[dict[Key, File], dict[Key, File]]:
    """The maps of flow and the second frames, both by the key of the first frame.

    Raises:
        DataError: where no map has two frames.
    """
    maps: dict[Key, File] = {}
    seconds: dict[Key, File] = {}
    for key, file in found.maps["flow"].items():
        pair = next((pair for pair in frame_names(key) if all(name in found.pictures for name in pair)), None)
        if pair is None:
            maps[key] = file
        else:
            maps[pair[0]], seconds[pair[0]] = file, found.pictures[pair[1]]
    if not seconds:
        raise DataError(
            f"{root}: no map of flow has two frames",
            "Name them a_img1.png, a_img2.png, a_flow.flo; or images/1.png, images/2.png, flow/1.flo.",
        )
    return maps, seconds
