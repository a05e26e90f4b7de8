"""Synthetic dataset of arm gestures with three inputs of one clock: skeleton, depth and mask tracks.

The camera is orthographic. Of the six gestures, each input tells one pair apart and shows nothing of the other two:
depth a push from a pull, the mask a grasp from a release (fingers are too thin for the depth camera), the skeleton a
twist to the left from one to the right. Without noise, the best accuracy is 1/2 with one input, since the other four
gestures look alike, 5/6 with two, and 1 with all three.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.random import generator
from snellen.core.spec import Classes, Column, Input
from snellen.data.dataset import RawDataset
from snellen.data.several_inputs import SeveralInputs
from snellen.data.source import ArraySource

COUNT = 1200  # samples
STEPS = 12
PIXELS = 16  # a side, of the image −1 … 1
CLASSES = ("push", "pull", "grasp", "release", "twist-left", "twist-right")
JOINTS = ("hip", "shoulder", "elbow", "hand", "thumb")
BONES = ((0, 1), (1, 2), (2, 3), (3, 4))
MISSING = 0.3  # fraction of the samples that lack one of their inputs
JOINT_NOISE = 0.05  # of a position, of half the image's side
LOST = 0.3  # fraction of the samples whose hand is lost by the tracker for a part of the steps
OCCLUDED = 0.3  # fraction of the samples with an object before the hand for a part of the steps
DEPTH_NOISE = 10.0  # grey levels
HOLES, FLIPPED = 0.1, 0.03  # fractions of the pixels without depth, and of those with a wrong mask
_BONE, _PALM, _OPEN = 0.1, 0.17, 0.32  # half widths: of a bone, of the closed and of the open hand
_WALL, _BODY, _REACH = 60.0, 150.0, 60.0  # grey levels of depth (0: not measured, higher: nearer); of a push
_CHUNK = 200


class Motions(NamedTuple):
    """Gestures without noise. joints: (N, T, J, 2), x to the right and y downwards. nearness: (N, T) of the hand, grey
    levels above the body. hand: (N, T) half width of the hand with its fingers.
    """

    joints: Tensor
    nearness: Tensor
    hand: Tensor


def gestures(seed: int) -> RawDataset:
    """1,200 arm gestures of 12 steps as skeleton, depth clip and mask clip, in six classes."""
    rng = generator(seed, "gestures")
    y = torch.arange(COUNT) % len(CLASSES)
    motions = move(y, rng)
    values = {
        "skeleton": skeleton(motions, rng),
        "depth": torch.empty(COUNT, STEPS, 1, PIXELS, PIXELS, dtype=torch.uint8),
        "mask": torch.empty(COUNT, STEPS, 1, PIXELS, PIXELS, dtype=torch.uint8),
    }
    occluder = occluders(motions, rng)
    for start in range(0, COUNT, _CHUNK):
        part = slice(start, start + _CHUNK)
        of_part = Motions(*(track[part] for track in motions))
        values["depth"][part], values["mask"][part] = render(of_part, occluder[part], rng)
    names = tuple(Column(name=f"{joint} {axis}") for joint in JOINTS for axis in "xy")
    clip = Input(modality="clip", shape=(STEPS, 1, PIXELS, PIXELS), dtype="uint8", optional=True)
    inputs = {
        "skeleton": Input(modality="sequence", shape=(STEPS, 2 * len(JOINTS)), columns=names, optional=True),
        "depth": clip,
        "mask": clip,
    }
    lacks = torch.where(torch.rand(COUNT, generator=rng) < MISSING, torch.randint(3, (COUNT,), generator=rng), -1)
    return RawDataset(
        source=_source(values, lacks.numpy()),
        inputs=inputs,
        target=Classes(names=CLASSES),
        truth=y,
        recognised_as=f"the built-in gestures: {COUNT:,} samples of {STEPS} steps with a skeleton of {len(JOINTS)} "
        f"joints, a depth and a mask clip of {PIXELS}x{PIXELS} pixels; {int((lacks >= 0).sum())} samples lack one of "
        "the three",
    )


def _source(values: Mapping[str, Tensor], lacks: np.ndarray) -> SeveralInputs:
    """The inputs of all samples; lacks: (N,) the input that a sample lacks, −1 for none."""
    positions, sources = {}, {}
    for k, (name, of_input) in enumerate(values.items()):
        present = np.nonzero(lacks != k)[0]
        positions[name] = np.full(len(lacks), -1, np.int64)
        positions[name][present] = np.arange(len(present))
        sources[name] = ArraySource(of_input[torch.from_numpy(present)], name)
    return SeveralInputs(sources, positions, [f"gesture {k}" for k in range(len(lacks))])


def move(y: Tensor, rng: torch.Generator) -> Motions:
    """Gestures of the classes y (N,): a swaying arm, whose hand does one thing between two random steps."""
    count = len(y)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, generator=rng)

    def direction(angle: Tensor) -> Tensor:
        return torch.stack([angle.cos(), angle.sin()], 2)

    t = torch.arange(STEPS) / (STEPS - 1)
    begin, duration = draw(0.1, 0.4), draw(0.3, 0.5)
    s = ((t - begin) / duration).clamp(0, 1)
    done = s * s * (3 - 2 * s)  # (N, T), from 0 to 1
    sway = draw(0.05, 0.2) * torch.sin(2 * math.pi * (draw(0.4, 1.2) * t + draw(0, 1)))
    shoulder = torch.stack([draw(-0.65, -0.45) + 0.2 * sway, draw(-0.3, 0.1).expand(-1, STEPS)], 2)
    upper, lower = draw(-0.2, 0.9) + sway, draw(-0.9, 0.4) - 2 * sway  # angles of the two bones, radians
    elbow = shoulder + draw(0.45, 0.55)[..., None] * direction(upper)
    hand = elbow + draw(0.4, 0.5)[..., None] * direction(lower)
    sign = torch.where(y == 4, -1.0, 1.0) * (y >= 4)
    turn = draw(0, 2 * math.pi) + 0.75 * math.pi * done * sign[:, None]
    thumb = hand + 0.2 * direction(turn)
    hip = shoulder + torch.tensor([0.0, 0.8])
    toward = (torch.where(y == 0, 1.0, -1.0) * (y < 2))[:, None] * done
    nearness = draw(-20, 20) + _REACH * toward
    is_open = draw(0, 1).round()  # of other gestures at random
    is_open = torch.where((y == 2)[:, None], 1 - done, torch.where((y == 3)[:, None], done, is_open))
    return Motions(torch.stack([hip, shoulder, elbow, hand, thumb], 2), nearness, _PALM + (_OPEN - _PALM) * is_open)


def skeleton(motions: Motions, rng: torch.Generator) -> Tensor:
    """(N, T, 2 J) measured positions: with noise, and the hand at rest where the tracker has lost it."""
    joints = motions.joints + JOINT_NOISE * torch.randn(motions.joints.shape, generator=rng)
    lost = _stretch(len(joints), LOST, rng)
    for step in range(1, STEPS):
        joints[:, step, 3:] = torch.where(lost[:, step, None, None], joints[:, step - 1, 3:], joints[:, step, 3:])
    return joints.flatten(2)


def occluders(motions: Motions, rng: torch.Generator) -> Tensor:
    """(N, T, 3) centre and half width of an object before the hand; half width 0 where there is none."""
    count = len(motions.joints)
    near_hand = motions.joints[:, STEPS // 2, 3] + 0.15 * torch.randn(count, 2, generator=rng)
    half = 0.3 * _stretch(count, OCCLUDED, rng)
    return torch.cat([near_hand[:, None].expand(-1, STEPS, -1), half[..., None]], 2)


def _stretch(count: int, fraction: float, rng: torch.Generator) -> Tensor:
    """(N, T) bool: of a fraction of the samples a stretch of 3 to 6 steps."""
    length = torch.randint(3, 7, (count, 1), generator=rng)
    first = (torch.rand(count, 1, generator=rng) * (STEPS - length)).long()
    chosen = torch.rand(count, 1, generator=rng) < fraction
    t = torch.arange(STEPS)
    return chosen & (t >= first) & (t < first + length)


def render(motions: Motions, occluder: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Depth and mask clips (N, T, 1, H, W) uint8 of gestures with occluders, with the noise of the cameras.

    The depth camera sees the palm, the mask the whole hand. A bone's depth is interpolated between its joints.
    """
    side = (torch.arange(PIXELS) + 0.5) * 2 / PIXELS - 1
    pixels = torch.stack(torch.meshgrid(side, side, indexing="xy"), 2).reshape(-1, 2)  # (P, 2) x and y
    joints = motions.joints
    level = torch.tensor([0.0, 0.0, 0.5, 1.0])  # of the nearness of the hand, at the joints up to it
    depth = torch.full((*joints.shape[:2], len(pixels)), _WALL)
    mask = torch.zeros_like(depth, dtype=torch.bool)
    for a, b in BONES[:3]:
        start, along = joints[:, :, a, None], (joints[:, :, b] - joints[:, :, a])[:, :, None]
        at = (((pixels - start) * along).sum(3) / along.square().sum(3)).clamp(0, 1)
        on_bone = (pixels - start - at[..., None] * along).square().sum(3) <= _BONE**2
        nearness = motions.nearness[..., None] * (level[a] + at * (level[b] - level[a]))
        depth = torch.where(on_bone, _BODY + nearness, depth)
        mask |= on_bone
    from_hand = (pixels - joints[:, :, 3, None]).square().sum(3).sqrt()
    depth = torch.where(from_hand <= _PALM, _BODY + motions.nearness[..., None], depth)
    mask |= from_hand <= motions.hand[..., None]
    hidden = ((pixels - occluder[:, :, None, :2]).abs() < occluder[:, :, None, 2:]).all(3)
    depth = torch.where(hidden, 240.0, depth) + DEPTH_NOISE * torch.randn(depth.shape, generator=rng)
    depth = torch.where(torch.rand(depth.shape, generator=rng) < HOLES, torch.zeros(()), depth.clamp(1, 255))
    mask = (mask & ~hidden) ^ (torch.rand(depth.shape, generator=rng) < FLIPPED)
    shape = (*joints.shape[:2], 1, PIXELS, PIXELS)
    return depth.round().to(torch.uint8).view(shape), (255 * mask.to(torch.uint8)).view(shape)
