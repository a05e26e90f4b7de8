"""Forward kinematics: rotations of the joints of a skeleton to the positions of its joints."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def forward_kinematics(rotations: Tensor, root: Tensor, offsets: Tensor, parents: Sequence[int]) -> Tensor:
    """Positions of all joints.

    G_j = G_p R_j and x_j = x_p + G_p o_j, where p is the parent of j: R_j turns all that hangs on the joint j.

    Args:
        rotations: (..., J, 3, 3), R_j of each joint in the frame of its parent.
        root: (..., 3), the position of the root, to which its offset is added.
        offsets: (J, 3), o_j, from the parent to the joint in the frame of the parent.
        parents: J indices, of each joint a smaller one than its own; −1 of the root.
    Returns:
        (..., J, 3), in the unit of the offsets.
    """
    turns: list[Tensor] = []
    places: list[Tensor] = []
    for joint, parent in enumerate(parents):
        if parent < 0:
            turns.append(rotations[..., joint, :, :])
            places.append(root + offsets[joint])
            continue
        turns.append(turns[parent] @ rotations[..., joint, :, :])
        places.append(places[parent] + turns[parent] @ offsets[joint])
    return torch.stack(places, -2)


def bones(parents: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of joints, parent and child, that a bone connects."""
    return [(parent, joint) for joint, parent in enumerate(parents) if parent >= 0]
