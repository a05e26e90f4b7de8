"""Motion files: positions against SciPy's rotations, frame rates, features, and files that are malformed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Future, Preprocessing
from snellen.data.formats import OpenOptions
from snellen.data.formats.acclaim import read_amc, read_asf
from snellen.data.formats.bvh import read_bvh
from snellen.data.motion_clip import positions_of, resampled
from snellen.data.open_dataset import dataset
from snellen.modalities.recording_files import read_recording_file
from tests.motion_makers import ASF, angles, write_amc, write_bvh, write_cmu_text


def acclaim_folder(folder: Path, frames: int = 200, count: int = 4) -> Path:
    for k in range(count):
        write_amc(folder / f"02_{k:02d}.amc", angles(frames, k))
    (folder / "02.asf").write_text(ASF)
    return folder


def test_acclaim_positions_follow_the_formula_of_the_axes(tmp_path: Path) -> None:
    """L = C M C⁻¹, with rotations about fixed axes x, then y, then z."""
    values = angles(30)
    write_amc(tmp_path / "a.amc", values)
    (tmp_path / "a.asf").write_text(ASF)
    clip = read_amc(tmp_path / "a.amc", read_asf(tmp_path / "a.asf"))
    places = dict(zip(clip.joints, positions_of(clip).permute(1, 0, 2).numpy(), strict=True))

    def fixed(degrees: np.ndarray) -> Rotation:
        return Rotation.from_euler("xyz", degrees, degrees=True)

    root = fixed(values[:, 3:6])
    c = fixed(np.array([0, 0, 20]))
    leg = root * c * fixed(values[:, 6:9]) * c.inv()
    c = fixed(np.array([-90, 0, 20]))
    foot = leg * c * Rotation.from_euler("x", values[:, 9:], degrees=True) * c.inv()
    knee = values[:, :3] + leg.apply([3, -4, 0])
    np.testing.assert_allclose(places["root"], values[:, :3], atol=1e-9)
    np.testing.assert_allclose(places["lleg"], values[:, :3], atol=1e-9)
    np.testing.assert_allclose(places["lfoot"], knee, atol=1e-8)
    np.testing.assert_allclose(places["lfoot end"], knee + foot.apply([0, 0, 2]), atol=1e-8)
    np.testing.assert_allclose(places["head end"], values[:, :3] + root.apply([0, 3, 0]), atol=1e-8)


def test_bvh_positions_follow_the_order_of_the_channels(tmp_path: Path) -> None:
    values = angles(20)[:, :9]
    clip = read_bvh(write_bvh(tmp_path / "a.bvh", values))
    assert clip.joints == ("hips", "knee", "knee end")
    assert clip.frame_rate == 120
    hips = Rotation.from_euler("ZXY", values[:, 3:6], degrees=True)
    shin = hips * Rotation.from_euler("ZXY", values[:, 6:9], degrees=True)
    knee = values[:, :3] + hips.apply([1, -4, 0])
    places = positions_of(clip).numpy()
    np.testing.assert_allclose(places[:, 1], knee, atol=1e-8)
    np.testing.assert_allclose(places[:, 2], knee + shin.apply([0, -3, 0]), atol=1e-8)


def test_frames_are_taken_as_they_are_or_interpolated(tmp_path: Path) -> None:
    clip = read_bvh(write_bvh(tmp_path / "a.bvh", angles(241)[:, :9]))
    every_fourth = resampled(clip, 120, 30)
    assert bool((every_fourth.rotations == clip.rotations[::4]).all())
    between = resampled(clip, 120, 100)
    assert len(between.root) == 201
    smooth = read_bvh(write_bvh(tmp_path / "b.bvh", np.repeat(angles(1), 3, 0)[:, :9]))
    np.testing.assert_allclose(resampled(smooth, 120, 100).rotations[1], smooth.rotations[0], atol=1e-12)
    exact = positions_of(clip).numpy()[::6]  # frames 0, 6 … of 120 are frames 0, 5 … of 100
    np.testing.assert_allclose(positions_of(between).numpy()[::5], exact, atol=1e-9)


def test_a_folder_of_acclaim_motion_becomes_windows_of_25_frames_per_second(tmp_path: Path) -> None:
    data = dataset(acclaim_folder(tmp_path / "02"), options=OpenOptions(target=("future",)))
    target = data.spec.target
    assert isinstance(target, Future)
    assert target.skeleton is not None
    assert target.names[:4] == ("root position x", "root position y", "root position z", "root x")
    assert (target.duration, target.duration_unit, target.every) == (40, "ms", 4)
    assert (target.skeleton.unit, target.skeleton.frame_rate) == ("mm", 120)
    assert "120 frames per second (assumed" in data.recognised_as
    assert "resampled to 25" in data.recognised_as
    x = data.source.read(np.arange(2), Preprocessing())
    np.testing.assert_array_equal(x[1, 0], data.source.read(np.array([1]), Preprocessing())[0, 0])
    positions = dataset(tmp_path / "02", options=OpenOptions(pose="positions"))
    assert positions.spec.target is not None
    assert "lfoot end y" in positions.spec.target.names
    new = write_amc(tmp_path / "02" / "new.amc", angles(200, 9))
    short = write_amc(tmp_path / "02" / "short.amc", angles(30, 9))
    with pytest.raises(DataError, match=r"has 7 steps of 40 ms, a forecast is made from the last \d+"):
        list(read_recording_file(short, data.spec))
    (_, window), *_ = read_recording_file(new, data.spec)
    assert window.shape == (data.spec.input.shape[0], len(target.names))


def test_exponential_maps_of_38_joints_are_recognised_without_their_rest_pose(tmp_path: Path) -> None:
    for k in range(4):
        write_cmu_text(tmp_path / "walk" / f"{k}.txt", 90, k)
    data = dataset(tmp_path / "walk", options=OpenOptions(resample=120.0, horizon=5, window=5))
    assert "the rest pose at the start of 4 is left out" in data.recognised_as
    rows = np.loadtxt(tmp_path / "walk" / "0.txt", delimiter=",")
    np.testing.assert_array_equal(data.source.read(np.array([0]), Preprocessing())[0], rows[1:6])


def test_columns_of_coordinates_are_joints(tmp_path: Path) -> None:
    t = np.arange(120)
    joints = {"head": 1.7, "hip": 1.0, "ankle": 0.1}
    columns = [f"{joint}_{axis}" for joint in joints for axis in "xyz"]
    values = np.stack([f for height in joints.values() for f in (0.1 * t, np.sin(t / 5), height + 0 * t)], 1)
    file = tmp_path / "walk.csv"
    np.savetxt(file, values, delimiter=",", header=",".join(columns), comments="")
    (tmp_path / "bones.csv").write_text("joint,parent\nhip,\nhead,hip\nankle,hip\n")
    options = OpenOptions(target=("future",), frame_rate=50.0, skeleton=str(tmp_path / "bones.csv"))
    skeleton = dataset(file, options=options).spec.target.skeleton  # type: ignore[union-attr]
    assert skeleton is not None
    assert skeleton.joints == tuple(joints)
    assert (skeleton.up, skeleton.parents, skeleton.columns) == ("z", (1, -1, 1), (0, 3, 6))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("a.amc", ("lfoot", "lhand"), "line 7: 'lhand' is no bone"),
        ("a.amc", ("lleg ", "lleg 1 "), "line 6: 4 numbers in place of 3"),
        ("a.amc", ("lfoot", "lfoot x"), "line 7: 'x' is not a number"),
        ("a.amc", ("\n2\n", "\n2\nlfoot 1\n"), "has twice the bone 'lfoot'"),
        ("a.amc", ("\n3\n", "\n2\n"), "line 12: the frame number is 2, 3 is expected"),
        ("a.amc", ("\n3\n", "\n9\n"), "line 12: the frame number is 9, 3 is expected"),
        ("a.asf", ("dof rx\n", "dof rx l\n"), "degree of freedom 'l'"),
        ("a.asf", ("root lleg head", "root lleg neck"), "no bone is called 'neck'"),
        ("a.asf", ("axis 0 0 20 XYZ", "axis 0 0 20 XYY"), "'XYY' is no order of axes"),
        ("a.asf", ("direction 0 0 1", "direction 0 0 nan"), "a number that is not finite"),
        ("a.asf", (":hierarchy", ":order"), "has no :hierarchy"),
        ("a.bvh", ("Zrotation Xrotation", "Zrotation Wrotation"), "the channel 'wrotation' is unknown"),
        ("a.bvh", ("Frames: 60", "Frames: 61"), "60 frames, 61 are announced"),
        ("a.bvh", ("Frame Time: 0.008", "Frame Time: -0.008"), "no frame time above 0"),
        ("a.bvh", ("    }\n", ""), "the braces of a joint are not closed"),
        ("a.bvh", ("    OFFSET 1 -4 0\n", ""), "'knee' has no OFFSET"),
        ("a.bvh", ("MOTION", "MOVEMENT"), "has no MOTION"),
    ],
)
def test_malformed_files_are_errors_that_name_the_line(
    tmp_path: Path, name: str, change: tuple[str, str], message: str
) -> None:
    write_bvh(tmp_path / "bvh" / "a.bvh", angles(60)[:, :9])
    write_amc(tmp_path / "acclaim" / "a.amc", angles(60))
    (tmp_path / "acclaim" / "a.asf").write_text(ASF)
    file = tmp_path / ("bvh" if name.endswith("bvh") else "acclaim") / name
    text = file.read_text()
    assert change[0] in text
    file.write_text(text.replace(*change, 1))
    with pytest.raises(DataError, match=message) as error:
        dataset(file.parent / ("a.bvh" if name.endswith("bvh") else "a.amc"))
    assert str(file) in error.value.cause
    assert error.value.remedy


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("l", "line 15: the file ends within a line, at 'l'"),
        ("", "line 14: the last frame misses the bone 'lfoot'"),
        ("lfoot -", "line 15: '-' is not a number"),
    ],
)
def test_an_amc_file_that_is_cut_off_is_named_with_its_line(tmp_path: Path, end: str, message: str) -> None:
    file = write_amc(tmp_path / "a.amc", angles(3))
    (tmp_path / "a.asf").write_text(ASF)
    file.write_text("\n".join([*file.read_text().splitlines()[:-1], end]))
    with pytest.raises(DataError) as error:
        read_amc(file, read_asf(tmp_path / "a.asf"))
    assert error.value.cause.startswith(f"{file}, {message}")
    assert "Export the file again" in error.value.remedy


def test_json_lines_of_sequences_are_no_recordings_to_forecast(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('{"x": [[1, 2], [3, 4]], "label": "a"}\n')
    with pytest.raises(DataError, match="not JSON lines of sequences") as error:
        dataset(tmp_path / "s.jsonl", options=OpenOptions(target=("future",)))
    assert ".npy" in error.value.remedy


def test_frames_of_messages_are_those_after_resampling(tmp_path: Path) -> None:
    file = write_bvh(tmp_path / "a.bvh", angles(400)[:, :9])
    rate = r" \(frames after resampling to 100 frames per second\)"
    with pytest.raises(DataError, match=f"window of 10 steps and its future of 5, together 57 frames{rate}, in val"):
        dataset(file, options=OpenOptions(target=("future",), window=10, horizon=5))
    with pytest.raises(DataError, match=f"has 333 frames, .* of 100 steps and its future of 5 need 417{rate}"):
        dataset(file, options=OpenOptions(target=("future",), window=100, horizon=5))


def test_options_that_do_not_apply_are_usage_errors(tmp_path: Path) -> None:
    folder = acclaim_folder(tmp_path / "02", 100)
    with pytest.raises(UsageError, match="--resample 240 exceeds the 120"):
        dataset(folder, options=OpenOptions(resample="240"))
    with pytest.raises(UsageError, match="no number of frames"):
        dataset(folder, options=OpenOptions(resample="1d"))
    (tmp_path / "02" / "02.asf").unlink()
    with pytest.raises(DataError, match="has no skeleton"):
        dataset(folder)
    np.savetxt(tmp_path / "plain.csv", np.random.default_rng(0).normal(size=(100, 2)), delimiter=",")
    with pytest.raises(UsageError, match="--resample needs times"):
        dataset(tmp_path / "plain.csv", options=OpenOptions(target=("future",), resample="25"))
    for options in (OpenOptions(pose="angles"), OpenOptions(skeleton="x.asf")):
        with pytest.raises(UsageError, match=r"applies to motion"):
            dataset(tmp_path / "plain.csv", options=OpenOptions(**{**vars_of(options), "target": ("future",)}))


def vars_of(options: OpenOptions) -> dict[str, object]:
    return {name: getattr(options, name) for name in options.__dataclass_fields__}
