"""Groups: their number and sizes, refusals of too few, and suggestions by file names and capture times."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snellen.core.errors import DataError, UsageError
from snellen.core.views import Finding
from snellen.data.check.name_series import name_series
from snellen.data.formats import OpenOptions
from snellen.data.formats.groups import burst_ids, group_ids
from snellen.data.open_dataset import dataset

_random = np.random.default_rng(0)


def write(path: Path, taken: str | None = None, camera: str = "A", make: str = "", serial: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if taken is not None:
        exif[272] = camera
        exif.get_ifd(0x8769)[36867] = taken
        if make:
            exif[271] = make
        if serial:
            exif.get_ifd(0x8769)[42033] = serial
    Image.fromarray(_random.integers(0, 255, (12, 12, 3), np.uint8)).save(path, exif=exif)


def finding(root: Path, kind: str, **options: object) -> Finding | None:
    data = dataset(root, options=OpenOptions(**options))  # type: ignore[arg-type]
    return next((finding for finding in data.findings if finding.kind == kind), None)


def test_a_split_that_large_groups_make_much_larger_is_a_warning_with_the_sizes(tmp_path: Path) -> None:
    for group, size in enumerate((20, 17, 13)):
        for k in range(size):
            write(tmp_path / ("cat", "dog")[k % 2] / f"s{group}_{k}.png")
    data = dataset(tmp_path, options=OpenOptions(group="{slide}_*"))
    assert sorted(data.spec.sizes.values()) == [13, 17, 20]
    assert data.spec.sizes["train"] == 20  # the largest
    messages = [f.message for f in data.findings if f.kind == "groups" and f.severity == "warning"]
    (message,) = [m for m in messages if "as a group stays in one split" in m]
    assert re.search(r"17 of 50 samples \(34 %, not 15 %\) are in the (val|test) split", message)
    assert "the groups have 20, 17, 13 samples" in message
    for group in range(3, 20):
        write(tmp_path / "cat" / f"s{group}_0.png")
        write(tmp_path / "dog" / f"s{group}_1.png")
    even = dataset(tmp_path, options=OpenOptions(group="{slide}_*"))
    assert not any("as a group stays in one split" in f.message for f in even.findings)


SERIES = {
    "cow_{s:03}_{k:02}.jpg": "cow_{{series}}_*",
    "clip{s}_{k:04}.png": "{{series}}_*",
    "IMG_s{s}_f{k:03}.png": "IMG_{{series}}_*",
    "cam 1 run{s} ({k}).png": "cam 1 {{series}} *",
    "run{s}x{k:04}.png": "{{series}}????.*",
    "clips/{s}/{k:05}.png": "clips/{{series}}/*",
    "a-{s}-{k}.jpg": "a-{{series}}-*",
}


@pytest.mark.parametrize("name", SERIES)
def test_series_of_file_names_are_found(name: str) -> None:
    paths = [name.format(s=s, k=k) for s in range(8) for k in range(5)]
    found = name_series(paths, None)
    assert found is not None
    pattern, ids = found
    assert pattern == SERIES[name].format()
    assert ids.tolist() == [s for s in range(8) for _ in range(5)]
    assert group_ids(paths, pattern).tolist() == ids.tolist()


KINDS = ("tabby_cat", "manx", "mouser", "tom_cat", "pug", "beagle", "toy_dog", "mutt")


@pytest.mark.parametrize(
    "names",
    [
        [f"{k:05}.png" for k in range(60)],
        [f"img_{k}.png" for k in range(60)],
        [f"BloodImage_{k:05}.jpg" for k in range(60)],
        [f"cat/cat_{k}.jpg" for k in range(30)] + [f"dog/dog_{k}.jpg" for k in range(30)],
        [f"cat/{k}.jpg" for k in range(30)] + [f"dog/{k}.jpg" for k in range(30)],
        [f"cat/cat.{k}.jpg" for k in range(30)] + [f"dog/dog.{k}.jpg" for k in range(30)],
        [f"cat/n021_{k}.JPEG" for k in range(30)] + [f"dog/n022_{k}.JPEG" for k in range(30)],
        [
            f"IMG_202301{d:02}_{h:02}{m:02}{s:02}.jpg"
            for d in range(9)
            for h, m, s in ((9, 0, 7), (13, 9, 4), (18, 5, 5))
        ],
        [f"{k * 7919:08x}_n.jpg" for k in range(60)],
        [f"{k}_{k * 100003}.png" for k in range(60)],
        [f"frame{k}.png" for k in range(60)],
        [f"{c}/{w}_{k:04}.png" for c, ws in (("cat", KINDS[:5]), ("dog", KINDS[4:])) for w in ws for k in range(9)],
        [f"{w}_{k}.jpg" for w in KINDS if "_" not in w for k in range(9)],
    ],
)
def test_names_that_merely_count_are_noname_series(names: list[str]) -> None:
    folders = [name.rpartition("/")[0] for name in names]
    labels = np.unique(folders, return_inverse=True)[1] if any(folders) else None
    assert name_series(names, labels) is None


def test_a_part_of_the_name_that_is_the_class_is_left_out() -> None:
    speakers = ("anna", "bob", "cyd", "dan")
    names = [f"{d}/{d}_{s}_{k}.png" for d in range(3) for s in speakers for k in range(4)]
    found = name_series(names, np.repeat(range(3), 16))
    assert found is not None
    assert found[0] == "*_{series}_*"
    assert len(np.unique(found[1])) == 4


def test_the_suggested_option_divides_the_series_and_ends_the_warning(tmp_path: Path) -> None:
    for s in range(12):
        for k in range(4):
            write(tmp_path / ("sick" if s % 2 else "well") / f"cow_{s:03}_{k}.png")
    found = finding(tmp_path, "possible-groups")
    assert found is not None
    assert "12 series of 4 samples" in found.message
    assert found.severity == "warning"
    option = re.search(r"--group '(.*)'", found.remedy)
    assert option is not None
    assert finding(tmp_path, "possible-groups", group=option[1]) is None
    sizes = finding(tmp_path, "groups", group=option[1])
    assert sizes is not None
    assert "12 groups of 4 samples" in sizes.message


def test_given_splits_need_no_suggestion(tmp_path: Path) -> None:
    for s in range(12):
        for k in range(4):
            write(tmp_path / ("test" if s > 8 else "train") / ("sick" if s % 2 else "well") / f"cow_{s:03}_{k}.png")
    assert finding(tmp_path, "possible-groups") is None


def test_bursts_of_one_camera_are_groups(tmp_path: Path) -> None:
    for k in range(40):
        name = f"{(k * 7919) % 1009:x}{k * 31337:x}.jpg"
        write(tmp_path / ("sick" if k % 2 else "well") / name, f"2024:05:{k // 8 + 1:02} 10:00:{k % 8 * 2:02}")
    found = finding(tmp_path, "possible-groups")
    assert found is not None
    assert "5 bursts of 8 samples" in found.message
    assert "--group exif" in found.remedy
    sizes = finding(tmp_path, "groups", group="exif")
    assert sizes is not None
    assert sizes.message == "--group 'exif' makes 5 groups of 8 samples"


def test_photographs_far_apart_are_no_bursts(tmp_path: Path) -> None:
    for k in range(40):
        write(
            tmp_path / ("sick" if k % 2 else "well") / f"{k * 31337:x}.jpg", f"2024:05:01 {k // 2:02}:{k % 2 * 30}:00"
        )
    assert finding(tmp_path, "possible-groups") is None


def test_bursts_end_after_a_gap_and_at_another_camera() -> None:
    moments = [("A", 0.0), ("A", 10.0), ("A", 20.5), ("B", 1.0), None, ("B", 0.0), None]
    assert burst_ids(moments).tolist() == [0, 0, 1, 2, 3, 2, 4]


@pytest.mark.parametrize("tag", ["make", "camera", "serial"])
def test_a_camera_is_its_make_its_model_and_its_serial_number(tmp_path: Path, tag: str) -> None:
    """Two cameras that differ in one of them, at the same time: two bursts each."""
    for k in range(16):
        taken = f"2024:05:0{k // 8 + 1} 10:00:{k % 8:02}"
        write(tmp_path / ("sick" if k % 3 else "well") / f"{k}.jpg", taken, **{tag: "AB"[k % 2]})
    sizes = finding(tmp_path, "groups", group="exif")
    assert sizes is not None
    assert sizes.message == "--group 'exif' makes 4 groups of 4 samples"


def test_exif_groups_need_capture_times(tmp_path: Path) -> None:
    for k in range(12):
        write(tmp_path / ("sick" if k % 2 else "well") / f"{k}.jpg")
    with pytest.raises(DataError, match=r"no image of .* has a capture time"):
        dataset(tmp_path, options=OpenOptions(group="exif"))


@pytest.mark.parametrize(("pattern", "groups"), [("{a}ow*", "1 group of 12"), ("cow_{a}_*", "2 groups of 6")])
def test_too_few_groups_for_three_splits_are_refused(tmp_path: Path, pattern: str, groups: str) -> None:
    for k in range(12):
        write(tmp_path / ("sick" if k % 2 else "well") / f"cow_{k // 6}_{k}.png")
    with pytest.raises(DataError, match=f"{groups} samples: a group stays in one split, so at least 3 are needed"):
        dataset(tmp_path, options=OpenOptions(group=pattern))


def test_too_few_groups_of_the_training_split_are_refused(tmp_path: Path) -> None:
    for k in range(24):
        split, label = "test" if k < 8 else "train", "sick" if k % 2 else "well"
        write(tmp_path / split / label / f"cow_{split}{k // 4 if split == 'test' else ''}_{k}.png")
    with pytest.raises(DataError, match="1 of them in the training split"):
        dataset(tmp_path, options=OpenOptions(group="cow_{a}_*"))


def test_groups_of_data_without_names_are_refused() -> None:
    with pytest.raises(UsageError, match="--group does not apply"):
        dataset("moons", options=OpenOptions(group="{a}_*"))


def table(folder: Path, rows: list[tuple[object, ...]]) -> Path:
    """A table of numbers with the columns a, y and group g; a counts the rows unless a row has three cells."""
    cells = [row if len(row) == 3 else (k, *row) for k, row in enumerate(rows)]
    path = folder / "table.csv"
    path.write_text("a,y,g\n" + "".join(f"{a},{y},{g}\n" for a, y, g in cells))
    return path


def test_groups_that_are_numbers_are_compared_by_value(tmp_path: Path) -> None:
    spellings = ("{}", "{}.0", " {}", "{}e0")
    path = table(tmp_path, [("xy"[k // 10 % 2], spellings[k % 4].format(k % 10)) for k in range(40)])
    found = finding(path, "groups", group="g")
    assert found is not None
    assert "10 groups of 4 samples" in found.message
    long = table(tmp_path, [("xy"[k % 2], 2**60 + k // 2) for k in range(40)])  # not exact as float64
    found = finding(long, "groups", group="g")
    assert found is not None
    assert "20 groups of 2 samples" in found.message


def test_classes_of_one_group_each_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path, [("xyz"[k % 3], f"site {k % 3}") for k in range(90)])
    with pytest.raises(DataError, match="each class lies in one group"):
        dataset(path, options=OpenOptions(group="g"))


def test_classes_in_fewer_groups_than_splits_are_a_warning(tmp_path: Path) -> None:
    path = table(tmp_path, [("xyz"[k % 3], "z" if k % 3 == 2 else k % 12) for k in range(90)])
    warnings = [f for f in dataset(path, options=OpenOptions(group="g")).findings if f.kind == "groups"]
    assert "1 class lies in fewer groups of --group 'g' than there are splits: z." in warnings[-1].message
    assert warnings[-1].severity == "warning"


def test_a_group_larger_than_the_training_split_is_a_warning(tmp_path: Path) -> None:
    path = table(tmp_path, [("xy"[k % 2], max(0, k - 269)) for k in range(300)])
    data = dataset(path, options=OpenOptions(group="g"))
    assert any("holds 90 % of the samples" in f.message and f.severity == "warning" for f in data.findings)


def test_duplicates_that_merge_groups_are_named(tmp_path: Path) -> None:
    rows: list[tuple[object, ...]] = [("xy"[k % 2], f"g{k // 10}") for k in range(30)]
    rows[3], rows[13] = (5000, "x", "g0"), (5000, "x", "g1")
    with pytest.raises(DataError, match=r"makes 2 groups .*duplicates in several groups .*line 5 = line 15"):
        dataset(table(tmp_path, rows), options=OpenOptions(group="g"))


def test_groups_of_one_sample_each_are_a_warning(tmp_path: Path) -> None:
    for k in range(12):
        write(tmp_path / ("sick" if k % 2 else "well") / f"{k}.png")
    data = dataset(tmp_path, options=OpenOptions(group="{v}"))
    assert any("--group '{v}' has no effect" in f.message and f.severity == "warning" for f in data.findings)
    with pytest.raises(UsageError, match="--group is empty"):
        dataset(tmp_path, options=OpenOptions(group=""))


@pytest.mark.filterwarnings("always")
def test_corrupt_exif_data_prints_no_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    for k in range(12):
        path = tmp_path / ("sick" if k % 2 else "well") / f"{k}.jpg"
        write(path, f"2024:05:0{k // 3 + 1} 10:00:00")
        content = path.read_bytes()
        start = content.index(b"Exif\0\0") + 6
        path.write_bytes(content[: start + 4] + b"\xff\xff\0\0" + content[start + 8 :])
    with pytest.raises(DataError, match="capture time"):
        dataset(tmp_path, options=OpenOptions(group="exif"))
    assert not [warning.message for warning in recwarn]
