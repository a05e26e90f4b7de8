"""One speaker, person or subject in several splits: warnings with the option that keeps it in one."""

from __future__ import annotations

import json
from pathlib import Path

import motion_makers
import numpy as np
import pytest
import recordings

from snellen.core.views import Finding
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset

_rng = np.random.default_rng(0)


def group_warning(path: Path, **options: object) -> Finding | None:
    data = dataset(path, options=OpenOptions(**options))  # type: ignore[arg-type]
    return next((f for f in data.findings if f.kind == "possible-groups"), None)


def write_sequences(root: Path, names: str, persons: dict[str, tuple[str, ...]]) -> Path:
    for split, members in persons.items():
        for label in "ab":
            for person in members:
                for k in range(4):
                    path = root / split / label / names.format(person=person, k=k)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    np.savetxt(path, _rng.normal(size=(9, 2)).cumsum(0))
    return root


FOUR = ("anna", "ben", "carl", "dora")


@pytest.mark.parametrize(
    ("names", "pattern"), [("{person}_{k}.txt", "{person}_*"), ("{k}_{person}.txt", "*_{person}.*")]
)
def test_persons_in_the_names_of_sequences(tmp_path: Path, names: str, pattern: str) -> None:
    made = group_warning(write_sequences(tmp_path / "made", names, {"": FOUR}))
    assert made is not None
    assert f"--group '{pattern}'" in made.remedy
    assert group_warning(tmp_path / "made", group=pattern) is None
    torn = group_warning(write_sequences(tmp_path / "torn", names, {"train": FOUR, "test": FOUR[2:]}))
    assert torn is not None
    assert torn.count == 2
    assert "several given splits" in torn.message
    assert group_warning(write_sequences(tmp_path / "apart", names, {"train": FOUR, "test": ("eve", "fay")})) is None


def test_speakers_in_the_names_of_recordings(tmp_path: Path) -> None:
    recordings.write_tones(tmp_path, 12, "{word}_{speaker}_{take}.wav")
    made = group_warning(tmp_path)
    assert made is not None
    assert "--group '*_{speaker}_*'" in made.remedy


def test_subjects_in_the_names_of_motion(tmp_path: Path) -> None:
    for subject in range(4):
        for k in range(3):
            path = tmp_path / "made" / f"{subject + 1:02}_{k + 1:02}.amc"
            motion_makers.write_amc(path, motion_makers.angles(100, 3 * subject + k))
    (tmp_path / "made" / "body.asf").write_text(motion_makers.ASF)
    made = group_warning(tmp_path / "made", target=("future",), window=3, horizon=2)
    assert made is not None
    assert "--group '{subject}_*'" in made.remedy


def test_persons_as_a_key_or_a_column(tmp_path: Path) -> None:
    rows = [
        {"x": _rng.normal(size=(8, 2)).tolist(), "label": "ab"[k % 2], "person": f"p{k % 5}", "split": split}
        for k, split in enumerate(["train"] * 20 + ["test"] * 4)
    ]
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    torn = group_warning(path)
    assert torn is not None
    assert (torn.count, "key 'person'" in torn.message) == (4, True)
    table = [f"{k},{t},s{k % 5},{_rng.normal():.5f},{'ab'[k % 2]}" for k in range(20) for t in range(8)]
    (tmp_path / "d.csv").write_text("\n".join(["id,time,subject,v,label", *table]))
    made = group_warning(tmp_path / "d.csv", sequence_id="id", target=("label",))
    assert made is not None
    assert "--group subject" in made.remedy


def test_long_and_constant_sequences_are_reported(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for k in range(6):
            values = _rng.normal(size=(400 if (label, k) == ("a", 1) else 20, 2)).cumsum(0)
            np.savetxt(tmp_path / label / f"{k}.txt", values if (label, k) != ("b", 2) else np.ones((20, 2)))
    findings = {f.kind: f for f in dataset(tmp_path).findings}
    assert findings["long"].where == ("a/1.txt",)
    assert findings["constant-sequence"].where == ("b/2.txt",)


def test_steps_of_most_files_count_where_some_differ(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for k in range(5):
            t = np.arange(12) * (0.04 if (label, k) == ("a", 0) else 0.02)
            np.savetxt(
                tmp_path / label / f"{k}.csv",
                np.column_stack([t, _rng.normal(size=12)]),
                delimiter=",",
                header="time,x",
                comments="",
            )
    data = dataset(tmp_path, options=OpenOptions(quarantine=True, allow_skipped=True))
    assert [entry.path for entry in data.skipped] == ["a/0.csv"]
    assert str(tmp_path) not in data.skipped[0].reason
