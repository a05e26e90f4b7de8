"""Folders and tables of recordings: classes, splits, groups, and what is not read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import RATE, tone, write, write_tones

import snellen
from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Classes, Numbers
from snellen.data import dataset
from snellen.data.dataset import Dataset, Labelled
from snellen.data.formats import OpenOptions

FLAT = "{word}_{speaker}_{take}.wav"


def classes(data: Dataset[Labelled]) -> tuple[str, ...]:
    assert isinstance(data.spec.target, Classes)
    return data.spec.target.names


def class_of(data: Dataset[Labelled], name: str) -> str:
    return classes(data)[int(data.truth[[data.name(k) for k in range(len(data.source))].index(name)])]


def test_class_folders_with_nan_after_the_end_of_the_shorter_recordings(tmp_path: Path) -> None:
    data = snellen.dataset(write_tones(tmp_path / "tones"))
    spec_input = data.spec.input
    assert (spec_input.modality, spec_input.shape, spec_input.rate) == ("audio", (1, None), RATE)
    assert classes(data) == ("high", "low", "middle")
    assert "30 recordings, 2,000 samples per second, 0.08 to 0.125 s; 3 classes: one folder" in data.recognised_as
    x = data.source.read(np.arange(30), data.preprocessing)
    assert (tuple(x.shape), x.dtype) == ((30, 1, 250), torch.float32)
    for row, k in zip(x[:, 0], range(30), strict=True):
        take = int(Path(data.name(k)).stem)
        length = round((0.08 + 0.005 * take) * RATE)
        assert int((~row.isnan()).sum()) == length
        assert not row[:length].isnan().any()


def test_recordings_of_one_length_have_no_padding(tmp_path: Path) -> None:
    for k in range(12):
        write(tmp_path / "ab"[k % 2] / f"{k}.wav", tone(100, seed=k))
    assert snellen.dataset(tmp_path).spec.input.shape == (1, 200)


def test_long_recordings_are_predicted_in_smaller_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "MAX_BATCH_VALUES", 1000)  # four recordings of 250 samples
    samples = snellen.dataset(write_tones(tmp_path / "tones")).samples("train")
    batches = [batch.ids.tolist() for batch in samples.in_order(256)]
    assert max(map(len, batches)) == 4
    assert [id for batch in batches for id in batch] == samples.ids.tolist()


def test_split_folders_and_the_lists_of_speech_commands_give_the_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_tones(tmp_path / "a" / split, 4)
    assert snellen.dataset(tmp_path / "a").spec.sizes["test"] == 12
    write_tones(tmp_path / "b", 8)
    (tmp_path / "b" / "testing_list.txt").write_text("low/1.wav\nhigh/2.wav\n")
    (tmp_path / "b" / "validation_list.txt").write_text("low/3.wav\n")
    data = snellen.dataset(tmp_path / "b")
    assert sorted(data.name(int(k)) for k in data.splits["test"]) == ["high/2.wav", "low/1.wav"]
    assert [data.name(int(k)) for k in data.splits["val"]] == ["low/3.wav"]


def test_the_first_part_of_a_file_name_is_the_class_and_a_pattern_chooses_another(tmp_path: Path) -> None:
    folder = write_tones(tmp_path / "flat", names=FLAT)
    data = snellen.dataset(folder)
    assert classes(data) == ("high", "low", "middle")
    assert class_of(data, "low_b_1.wav") == "low"
    assert "the class is the first of the 3 parts of the file name" in data.recognised_as
    by_speaker = snellen.dataset(folder, options=OpenOptions(target=("*_{speaker}_*",)))
    assert classes(by_speaker) == ("a", "b", "c")
    assert class_of(by_speaker, "low_b_1.wav") == "b"


def test_a_group_of_file_names_stays_in_one_split(tmp_path: Path) -> None:
    folder = write_tones(tmp_path / "flat", names=FLAT)
    assert any("--group" in finding.remedy for finding in snellen.dataset(folder).findings)
    data = snellen.dataset(folder, options=OpenOptions(group="*_{speaker}_*"))
    speakers = [{data.name(int(k)).split("_")[1] for k in ids} for ids in data.splits.values()]
    assert all(len(names) == 1 for names in speakers)


@pytest.mark.parametrize("target", ["word", "number"])
def test_a_table_of_names_has_classes_or_numbers_and_splits(target: str, tmp_path: Path) -> None:
    write_tones(tmp_path / "clips", names=FLAT)
    rows = [
        f"clips/{p.name},{p.name.split('_')[0]},{len(p.name)}.5,{'test' if '_a_' in p.name else 'train'}"
        for p in sorted((tmp_path / "clips").iterdir())
    ]
    (tmp_path / "clips.csv").write_text("file,word,number,split\n" + "\n".join(rows) + "\n")
    data = snellen.dataset(tmp_path / "clips.csv", options=OpenOptions(target=(target,)))
    assert isinstance(data.spec.target, Classes if target == "word" else Numbers)
    assert data.spec.modality == "audio"
    assert all("_a_" in data.name(int(k)) for k in data.splits["test"])


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (OpenOptions(target=("word",)), "is no pattern of file names with one field"),
        (OpenOptions(target=("{a}_{b}_*",)), "is no pattern of file names with one field"),
        (OpenOptions(target=("{a}_*", "{b}_*")), "is no pattern of file names with one field"),
        (OpenOptions(target=("{a}-*",)), "30 of 30 names do not match"),
        (OpenOptions(group="{a}-*"), "30 of 30 names do not match"),
        (OpenOptions(group="exif"), "names no field"),
    ],
)
def test_wrong_patterns_are_errors(options: OpenOptions, cause: str, tmp_path: Path) -> None:
    with pytest.raises((DataError, UsageError), match=cause):
        snellen.dataset(write_tones(tmp_path / "flat", names=FLAT), options=options)


@pytest.mark.parametrize(
    ("names", "cause"),
    [
        (["a0.wav", "b0.wav", "a1.wav"], "names have no parts"),
        (["a_0.wav", "b_0_1.wav", "a_1.wav"], "have 2 to 3 parts"),
        (["a_0.wav", "a_1.wav"], "first part of all names is 'a'"),
        (["a_0.wav", "b_1.wav", "c_2.wav"], "3 different ones"),
        (["low/0.wav", "low/1.wav", "x/y/readme.txt"], "has one class only: low"),
        (["low/0.wav", "high/1.wav", "2.wav"], "lies outside the class folders"),
        (["low/0.wav", "high/1.wav", "high/2.m4a"], "2.m4a is M4A; WAV, FLAC, MP3 and OGG files are read"),
        (["low/0.m4a", "high/1.wma"], "2 recordings (.m4a, .wma), of which none can be read"),
    ],
)
def test_folders_without_clear_classes_or_with_other_encodings_are_errors(
    names: list[str], cause: str, tmp_path: Path
) -> None:
    for k, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, tone(100, seed=k)) if name.endswith(".wav") else (tmp_path / name).write_bytes(b"ID3")
    with pytest.raises(DataError) as caught:
        snellen.dataset(tmp_path)
    assert cause in caught.value.cause
    assert caught.value.remedy


def test_files_of_another_rate_links_and_pipes_are_named_and_can_be_skipped(tmp_path: Path) -> None:
    folder = write_tones(tmp_path / "tones", 12)
    write(folder / "low" / "fast.wav", tone(100, rate=4000), rate=4000)
    with pytest.raises(DataError, match=r"low/fast\.wav has 4,000 samples per second, 36 files have 2,000"):
        snellen.dataset(folder)
    data = snellen.dataset(folder, options=OpenOptions(quarantine=True, allow_skipped=True))
    assert (len(data), data.spec.input.rate) == (36, RATE)
    (folder / "low" / "fast.wav").unlink()
    write(tmp_path / "outside.wav", tone(100))
    (folder / "low" / "link.wav").symlink_to(tmp_path / "outside.wav")
    os.mkfifo(folder / "low" / "pipe.wav")
    with pytest.raises(DataError, match="link to a file outside this folder") as caught:
        snellen.dataset(folder)
    assert "pipe.wav is not a regular file" in caught.value.cause
