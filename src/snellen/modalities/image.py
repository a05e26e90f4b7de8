"""Images: files and requests, sizes and value ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snellen.core.spec import Input, Preprocessing, Scenic, Spec
from snellen.modalities.image_files import needs_frame_pairs, read_files
from snellen.modalities.image_uploads import read_uploads
from snellen.modalities.modality import Modality
from snellen.modalities.sample_files import write_grid, write_npz


def sample_shape(spec: Spec, preprocessing: Preprocessing) -> tuple[int | None, ...]:
    """(C, H, W) as the model reads images; height and width are None where it accepts any."""
    channels, *sides = spec.input.shape
    if isinstance(spec.target, Scenic):  # the model accepts any size, even if all images of the data have one
        sides = [None, None]
    return (preprocessing.channels or channels, *(preprocessing.size or sides))


def describe(spec: Spec, preprocessing: Preprocessing) -> Mapping[str, Any]:
    """Channels, size and resampling; the number of frames of optical flow."""
    channels, height, width = sample_shape(spec, preprocessing)
    frames = {"frames": 2} if needs_frame_pairs(spec) else {}
    return {**frames, "channels": channels, "height": height, "width": width, "resample": preprocessing.resample}


def describe_size(spec_input: Input) -> str:
    """The size of images as width x height: "640x480 pixels, 3 channels"."""
    channels, height, width = ("any" if side is None else str(side) for side in spec_input.shape)
    size, pixels = spec_input.size, f"{width}x{height} pixels"
    if spec_input.typical_size is not None and size is not None:
        pixels = f"several sizes (typical {size[1]}x{size[0]} pixels)"
    return f"{pixels}, {channels} channel{'s' * (channels != '1')}"


IMAGE = Modality(
    noun="images",
    read_files=read_files,
    read_uploads=read_uploads,
    content_types=("image/*", "application/octet-stream"),
    json_schema=None,
    example_files=lambda spec: ["before.png", "after.png"] if needs_frame_pairs(spec) else ["image.png"],
    describe=describe,
    describe_size=describe_size,
    sample_shape=sample_shape,
    sample_writers={".png": write_grid, ".npz": write_npz},
    upload_defaults={},
    draw=lambda x, spec_input: x,
    draw_map=lambda values: values,
    has_value_range=True,
)
