"""Motion files of a small body that swings its legs: Acclaim, BVH, and exponential maps in text."""

from __future__ import annotations

from pathlib import Path

import numpy as np

ASF = """# a body of two legs and a head
:version 1.10
:units
  mass 1.0
  length 0.45
  angle deg
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name lleg
     direction 0.6 -0.8 0
     length 5
     axis 0 0 20 XYZ
     dof rx ry rz
     limits (-160.0 20.0)
            (-70.0 70.0)
            (-60.0 70.0)
  end
  begin
     id 2
     name lfoot
     direction 0 0 1
     length 2
     axis -90 0 20 XYZ
     dof rx
  end
  begin
     id 3
     name head
     direction 0 1 0
     length 3
     axis 0 0 0 XYZ
  end
:hierarchy
  begin
    root lleg head
    lleg lfoot
  end
"""


def angles(frames: int, seed: int = 0) -> np.ndarray:
    """(T, 10) position and angles of the root, three angles of the leg, one of the foot, in degrees."""
    t = np.arange(frames)[:, None] * (1 + seed / 10) / 30 + seed  # of another speed: else one would be part of another
    swing = np.sin(t + np.arange(10) / 3) * [0.1, 0.2, 0.1, 10, 20, 15, 40, 20, 10, 30]
    swing[:, 2] += t[:, 0]
    return swing


def write_amc(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["#!OML:ASF", ":FULLY-SPECIFIED", ":DEGREES"]
    for k, row in enumerate(values, 1):
        cells = [f"{value:.10f}" for value in row]
        lines += [str(k), "root " + " ".join(cells[:6]), "lleg " + " ".join(cells[6:9]), f"lfoot {cells[9]}"]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_bvh(path: Path, values: np.ndarray, frame_time: float = 1 / 120) -> Path:
    """values: (T, 9) position and ZXY angles of the hips, ZXY angles of the knee, in degrees."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = """HIERARCHY
ROOT hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT knee
  {
    OFFSET 1 -4 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 -3 0
    }
  }
}
MOTION
"""
    rows = "\n".join(" ".join(f"{value:.10f}" for value in row) for row in values)
    path.write_text(f"{head}Frames: {len(values)}\nFrame Time: {frame_time:.7f}\n{rows}\n")
    return path


def write_cmu_text(path: Path, frames: int, seed: int = 0) -> Path:
    """Exponential maps of 38 joints, after a first row of the rest pose."""
    from snellen.data.formats.exponential_maps import CMU_JOINTS

    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None]
    maps = 0.2 * np.sin(t / 15 + rng.uniform(0, 6, size=114)) + 0.1
    for j, name in enumerate(CMU_JOINTS):
        if name.endswith(("end", "hipjoint")):
            maps[:, 3 * j : 3 * j + 3] = 0
    rows = np.concatenate([0.1 * np.concatenate([t, t, t], 1), maps], 1)
    rest = rows[:1].copy()
    rest[:, 3:] = 0
    np.savetxt(path, np.concatenate([rest, rows]), delimiter=",", fmt="%.9g")
    return path
