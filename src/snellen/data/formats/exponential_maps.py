"""Text files of exponential maps: the position of the root, then three numbers in radians for each joint, no header.

They hold the inverse rotations, which turn row vectors: x_j = x_p + o_j G_p with G_j = R_j G_p.

The skeleton of 38 joints that is recognised is that of the CMU Graphics Lab's motion as Li, Zhang, Lee and Lee 2018
("Convolutional Sequence to Sequence Model for Human Dynamics") and Mao, Liu, Salzmann and Li 2019 ("Learning
Trajectory Dependencies for Human Motion Prediction") published it: parents and offsets are the figures of their tables,
the names those of the bones of the lab's .asf files. Their offsets are those of subject 02, but for the bones of the
thorax and hands, whose length a converter set to 0. The frames are those of the .amc files, 120 per second, after one
of the rest pose: walking_1 is trial 01 of subject 02.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from snellen.core.errors import DataError
from snellen.data.formats.acclaim import CMU_LENGTH, INCHES
from snellen.data.motion_clip import MotionClip

CMU_RATE = 120.0  # frames per second of the CMU Graphics Lab
CMU_JOINTS = (
    *("root", "lhipjoint", "lfemur", "ltibia", "lfoot", "ltoes", "ltoes end"),
    *("rhipjoint", "rfemur", "rtibia", "rfoot", "rtoes", "rtoes end"),
    *("lowerback", "upperback", "thorax", "lowerneck", "upperneck", "head", "head end"),
    *("lclavicle", "lhumerus", "lradius", "lwrist", "lhand", "lfingers", "lfingers end", "lthumb", "lthumb end"),
    *("rclavicle", "rhumerus", "rradius", "rwrist", "rhand", "rfingers", "rfingers end", "rthumb", "rthumb end"),
)
CMU_PARENTS = (
    *(-1, 0, 1, 2, 3, 4, 5, 0, 7, 8, 9, 10, 11, 0, 13, 14, 15, 16, 17, 18),
    *(15, 20, 21, 22, 23, 24, 25, 23, 27, 15, 29, 30, 31, 32, 33, 34, 32, 36),
)
_STILL = tuple(j for j, name in enumerate(CMU_JOINTS) if name.endswith(("end", "hipjoint")))  # never turn
_OFFSETS = {  # of joints that do not coincide with their parent
    "lfemur": (1.65674, -1.80282, 0.62477),
    "ltibia": (2.5972, -7.13576, 0.0),
    "lfoot": (2.49236, -6.8477, 0.0),
    "ltoes": (0.19704, -0.54136, 2.14581),
    "ltoes end": (0.0, 0.0, 1.11249),
    "rfemur": (-1.6107, -1.80282, 0.62476),
    "rtibia": (-2.59502, -7.12977, 0.0),
    "rfoot": (-2.4678, -6.78024, 0.0),
    "rtoes": (-0.23024, -0.63258, 2.13368),
    "rtoes end": (0.0, 0.0, 1.11569),
    "upperback": (0.01961, 2.0545, -0.14112),
    "thorax": (0.01021, 2.06436, -0.05921),
    "upperneck": (0.00713, 1.56711, 0.14968),
    "head": (0.03429, 1.56041, -0.10006),
    "head end": (0.01305, 1.6256, -0.05265),
    "lhumerus": (3.54205, 0.90436, -0.17364),
    "lradius": (4.86513, 0.0, 0.0),
    "lwrist": (3.35554, 0.0, 0.0),
    "lfingers": (0.66117, 0.0, 0.0),
    "lfingers end": (0.53306, 0.0, 0.0),
    "lthumb end": (0.5412, 0.0, 0.5412),
    "rhumerus": (-3.49802, 0.75994, -0.32616),
    "rradius": (-5.02649, 0.0, 0.0),
    "rwrist": (-3.36431, 0.0, 0.0),
    "rfingers": (-0.73041, 0.0, 0.0),
    "rfingers end": (-0.58887, 0.0, 0.0),
    "rthumb end": (-0.59786, 0.0, 0.59786),
}


def is_cmu(values: np.ndarray) -> bool:
    """Whether rows (T, 117) are poses of the skeleton of 38 joints: those that never turn have zeros, no angle exceeds
    a full turn."""
    if values.ndim != 2 or values.shape[1] != 3 + 3 * len(CMU_JOINTS):
        return False
    maps = values[:, 3:].reshape(len(values), len(CMU_JOINTS), 3)
    return not maps[:, _STILL].any() and bool(maps.any()) and bool((np.abs(maps) <= 2 * np.pi).all())


def cmu_clip(values: np.ndarray) -> MotionClip:
    """The clip of rows (T, 117) of the skeleton of 38 joints."""
    offsets = torch.tensor([_OFFSETS.get(name, (0.0, 0.0, 0.0)) for name in CMU_JOINTS], dtype=torch.float64)
    root, rotations = _parts(values)
    return MotionClip(
        joints=CMU_JOINTS,
        parents=CMU_PARENTS,
        offsets=offsets,
        rotations=rotations,
        root=root,
        turns=(True,) * len(CMU_JOINTS),
        inverse=True,
        unit="mm",
        scale=INCHES / CMU_LENGTH,
    )


def clip_with_skeleton(path: Path, values: np.ndarray, skeleton: MotionClip) -> MotionClip:
    """The clip of rows (T, 3 + 3 J) with the joints of another clip. Raises DataError for another number of joints."""
    joints = len(skeleton.joints)
    if values.shape[1] != 3 + 3 * joints:
        raise DataError(
            f"{path} has {values.shape[1]} numbers a frame; the skeleton has {joints} joints: 3 + 3 · {joints} = "
            f"{3 + 3 * joints}",
            "Give the skeleton of these files with --skeleton, its ends of bones counted as joints.",
        )
    root, rotations = _parts(values)
    return MotionClip(
        joints=skeleton.joints,
        parents=skeleton.parents,
        offsets=skeleton.offsets,
        rotations=rotations,
        root=root,
        turns=(True,) * joints,
        inverse=True,
        unit=skeleton.unit,
        scale=skeleton.scale,
    )


def _parts(values: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """(T, 3) root and (T, J, 3) exponential maps that turn column vectors."""
    rows = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))
    return rows[:, :3].clone(), -rows[:, 3:].reshape(len(rows), -1, 3)
