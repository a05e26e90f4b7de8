"""Tables: parsing, inputs and targets, and every error of a table."""

from __future__ import annotations

import io
import json
import string
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from snellen.core.errors import DataError, SnellenError, UsageError
from snellen.core.spec import Classes, Input, Labels, Numbers, Preprocessing
from snellen.data.dataset import RawDataset
from snellen.data.formats import OpenOptions, formats
from snellen.data.formats.table import open_raw, recognises
from snellen.data.formats.table_rows import read_rows
from snellen.data.formats.table_targets import split_unit
from snellen.data.formats.table_text import has_header, read_table, sniff_delimiter
from snellen.data.open_dataset import assemble, dataset
from snellen.data.source import ArraySource

FLOWERS = "length [mm],width,colour,species\n" + "".join(
    f"{k / 4},{k % 3},{('red', 'blue')[k % 2]},{('rose', 'iris')[k % 2]}\n" for k in range(20)
)


def write(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def opened(folder: Path, text: str | bytes, name: str = "table.csv", **options: object) -> RawDataset:
    return open_raw(write(folder, text, name), OpenOptions(**options))  # type: ignore[arg-type]


def values(raw: RawDataset) -> torch.Tensor:
    assert isinstance(raw.source, ArraySource)
    return raw.source.values


def spec_of(raw: RawDataset):
    return assemble(raw, "table", 0, None).spec


def test_numbers_and_categories_become_one_vector(tmp_path):
    raw = opened(tmp_path, FLOWERS)
    assert raw.inputs["vector"].shape == (4,)
    assert [(c.name, c.categories) for c in raw.inputs["vector"].columns] == [
        ("length [mm]", None),
        ("width", None),
        ("colour", ("blue", "red")),
    ]
    assert values(raw)[1].tolist() == [0.25, 1.0, 1.0, 0.0]
    assert values(raw).dtype == torch.float32
    assert raw.target == Classes(names=("iris", "rose"))
    assert raw.truth.tolist()[:4] == [1, 0, 1, 0]
    assert raw.source.name(16) == "line 18"
    assert "'species' (the last column) as 2 classes" in raw.recognised_as
    assert "--target" in raw.recognised_as


def test_values_inexact_in_float32_stay_float64(tmp_path):
    raw = opened(tmp_path, "a,y\n0.1,p\n0.5,q\n16777217,p\n")
    assert values(raw).dtype == torch.float64
    assert values(raw)[:, 0].tolist() == [0.1, 0.5, 16777217.0]
    assert raw.inputs["vector"].dtype == "float64"


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1;2\n", ";"),
        ("a\tb\n1\t2\n", "\t"),
        ("a;b\n1,5;2,5\n", ";"),
        ("file,tags\na.png,x;y\nb.png,x\n", ","),
        ('a,b\n"1;2;3",4\n', ","),
        ("a\n1\n", ","),
    ],
)
def test_the_delimiter_splits_all_rows_into_equally_many_cells(text, delimiter):
    assert sniff_delimiter(text) == delimiter


@pytest.mark.parametrize(
    ("first", "second", "header"),
    [
        (["a", "b"], ["1", "2"], True),
        (["1", "2"], ["3", "4"], False),
        (["a.png", "cat"], ["b.png", "dog"], False),
        (["5.1", "3.5", "iris"], ["4.9", "3.0", "iris"], False),
        (["label", "0", "1"], ["7", "3", "4"], True),
        (["name", "2010", "2015"], ["5", "1.5", "2"], True),
        (["NA", "2010"], ["5", "1"], False),
    ],
)
def test_a_header_is_distinguished_from_a_first_row(first, second, header):
    assert has_header([first, second]) is header


def test_a_byte_order_mark_line_ends_quotes_and_empty_lines_are_read(tmp_path):
    text = b'\xef\xbb\xbfa,"b,c",y\r\n1,"x\r\ny",p\r\n\r\n2,"say ""no""",q\r\n1,"x\r\ny",p\r\n2,z,q\r\n2,z,q\r\n'
    grid = read_table(write(tmp_path, text))
    assert grid.names == ("a", "b,c", "y")
    assert grid.column("b,c")[:2] == ("x\r\ny", 'say "no"')
    assert list(grid.lines) == [2, 5, 6, 8, 9]


def test_columns_of_a_table_without_header_are_numbered(tmp_path):
    raw = opened(tmp_path, "0,1.5,2.5\n1,2.5,0.5\n0,1.25,2\n1,2,1\n", target=("column 1",))
    assert raw.target == Classes(names=("0", "1"))
    assert [c.name for c in raw.inputs["vector"].columns] == ["column 2", "column 3"]


def test_rows_without_header_may_omit_the_target(tmp_path):
    raw = opened(tmp_path, "0,1.5,2.5\n1,2.5,0.5\n0,1.25,2\n1,2,1\n", target=("column 1",))
    for text in ("1.5,2.5\n", "7,1.5,2.5\n"):
        assert read_rows(write(tmp_path, text, "new.csv"), spec_of(raw))[1].tolist() == [[1.5, 2.5]]


def test_decimal_commas_are_read_and_reported(tmp_path):
    raw = opened(tmp_path, "a;b;y\n1,5;x,y;2,5\n2;x,y;-1,25e1\n2,5;z;0,5\n")
    assert values(raw)[:, 0].tolist() == [1.5, 2, 2.5]
    assert raw.inputs["vector"].columns[1].categories == ("x,y", "z")
    assert raw.truth.tolist() == [[2.5], [-12.5], [0.5]]
    assert "decimal commas are read as points" in raw.recognised_as
    assert "commas" not in opened(tmp_path, FLOWERS).recognised_as


def test_jsonl_is_read_like_csv(tmp_path):
    rows = [{"a": k, "b": f"c{k % 2}", "ok": k % 2 == 0, "tags": ["x", "y"] if k % 2 else ["x"]} for k in range(6)]
    raw = opened(tmp_path, "\n".join(map(json.dumps, rows)), "table.jsonl", target=("tags",))
    assert raw.target == Labels(names=("x", "y"))
    assert values(raw).shape == (6, 5)
    assert values(raw)[1].tolist() == [1, 0, 1, 1, 0]


@pytest.mark.parametrize(
    ("header", "name", "unit"),
    [
        ("height [mm]", "height", "mm"),
        ("height (m/s)", "height", "m/s"),
        ("height", "height", ""),
        ("f(x)", "f(x)", ""),
        ("a (b) [kg]", "a (b)", "kg"),
    ],
)
def test_units_are_read_from_the_header(header, name, unit):
    assert split_unit(header) == (name, unit)


def test_several_target_columns_are_numbers_with_units(tmp_path):
    raw = opened(tmp_path, "a,x [px],y (px)\n1,2,3\n2,3.5,4\n3,9,1\n", target=("x", "y (px)"))
    assert raw.target == Numbers(names=("x", "y"), units=("px", "px"))
    assert raw.truth.tolist() == [[2, 3], [3.5, 4], [9, 1]]
    assert raw.truth.dtype == torch.float64


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["0", "1"] * 5, Classes),
        (["0", "1", "2"] * 5, Classes),
        (["1.0", "2.0"] * 3, Classes),
        (["1.5", "2"] * 5, Numbers),
        ([str(k) for k in range(30)], Numbers),
        (["3", "4", "5", "6"] * 2, Numbers),
        (["cat", "dog"] * 3, Classes),
        (["a;b", "a", ";"], Labels),
        (["true", "false"] * 2, Classes),
    ],
)
def test_the_kind_of_target_follows_from_its_cells(tmp_path, cells, kind):
    text = "x,target\n" + "".join(f"{k},{cell}\n" for k, cell in enumerate(cells))
    assert isinstance(opened(tmp_path, text).target, kind)


def test_whole_numbers_can_be_read_as_the_other_kind_and_the_message_says_how(tmp_path):
    text = "x,grade\n" + "".join(f"{k * k},{k % 3}\n" for k in range(30))
    raw = opened(tmp_path, text)
    assert raw.target == Classes(names=("0", "1", "2"))
    assert "numbers: --target grade:numbers" in raw.recognised_as
    assert opened(tmp_path, text, target=("grade:numbers",)).target == Numbers(names=("grade",))
    assert "classes: --target x:classes" in opened(tmp_path, text, target=("x",)).recognised_as


def test_classes_of_whole_numbers_are_sorted_as_numbers(tmp_path):
    text = "x,y\n" + "".join(f"{k % 7},{(2, 10, 9)[k % 3]}\n" for k in range(30))
    raw = opened(tmp_path, text)
    assert raw.target == Classes(names=("2", "9", "10"))
    assert raw.truth[:3].tolist() == [0, 2, 1]


@pytest.mark.parametrize("name", ["target", "Label", "CLASS", "y"])
def test_the_target_is_the_column_with_a_target_name(tmp_path, name):
    raw = opened(tmp_path, f"{name},a,b\np,1,2\nq,2,3\np,4,4\n")
    assert f"target '{name}' (by its name)" in raw.recognised_as


def test_several_labels_a_row(tmp_path):
    raw = opened(tmp_path, "a,y\n1,red; round\n2,red\n3,;\n4,round;red;\n")
    assert raw.target == Labels(names=("red", "round"))
    assert raw.truth.tolist() == [[1, 1], [1, 0], [0, 0], [1, 1]]


def test_a_split_column_is_respected(tmp_path):
    rows = "".join(f"{k},{'pq'[k % 2]},{('train', 'Test', 'valid')[k % 3]}\n" for k in range(12))
    raw = opened(tmp_path, "a,y,split\n" + rows)
    assert raw.given_splits.tolist() == [0, 2, 1] * 4
    assert [c.name for c in raw.inputs["vector"].columns] == ["a"]
    assert dataset(tmp_path / "table.csv").spec.sizes == {"train": 4, "val": 4, "test": 4}


def test_a_group_column_is_not_an_input(tmp_path):
    rows = "".join(f"{k},{'pq'[k % 2]},g{k // 3}\n" for k in range(12))
    raw = opened(tmp_path, "a,y,slide\n" + rows, group="slide")
    assert raw.groups.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [c.name for c in raw.inputs["vector"].columns] == ["a"]


MISSING = "a,b,y\n1,u,p\n,v,q\n3,NA,p\n5,v,q\n"


def test_a_missing_cell_is_an_error_that_names_row_and_column(tmp_path):
    with pytest.raises(DataError) as caught:
        opened(tmp_path, MISSING)
    assert "line 3, column 'a': missing" in caught.value.cause
    assert "line 4, column 'b': missing" in caught.value.cause
    assert "--impute median" in caught.value.remedy


def test_missing_cells_are_imputed_on_request(tmp_path):
    raw = opened(tmp_path, MISSING, impute="median")
    assert values(raw)[:, 0].tolist() == [1, 3, 3, 5]
    assert raw.inputs["vector"].columns[0].fill == 3
    assert raw.inputs["vector"].columns[1].categories == ("u", "v", "missing")
    (finding,) = raw.findings
    assert (finding.kind, finding.count) == ("imputed", 2)
    names, rows = read_rows(write(tmp_path, "a,b\nNA,null\n", "new.csv"), spec_of(raw))
    assert (names, rows.tolist()) == (["row 1"], [[3, 0, 0, 1]])


def test_the_median_is_that_of_the_training_rows(tmp_path):
    raw = opened(tmp_path, "a,y,split\n1,p,train\n3,q,train\n,p,train\n99,q,test\n", impute="median")
    assert raw.inputs["vector"].columns[0].fill == 2


def test_all_problems_are_listed_at_once_and_counted(tmp_path):
    rows = "".join(f"{k if k % 3 else 'x'},{k},{'pq'[k % 2]}\n" for k in range(30))
    with pytest.raises(DataError) as caught:
        opened(tmp_path, "a,b,y\n" + rows)
    assert caught.value.cause.count("is not a finite number") == 5
    assert "line 2, column 'a': 'x'" in caught.value.cause
    assert "(and 5 more)" in caught.value.cause


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("  \n\n", "is empty"),
        ("a,b,y\n", "has a header but no rows"),
        ("a,a,y\n1,2,p\n2,3,q\n", "'a' more than once"),
        ("a,b,y\n1,2,p\n1,2\n1,2,3,4\n", "line 3 has 2, line 4 has 4"),
        ('a,y\n1,p\n2,"q\n3,p\n4,q\n', "line 3: unexpected end"),
        ("a,y\n1,p\n2,p\n", "'p' in every row"),
        ("a,y\n1,2.5\n2,2.5\n", "2.5 in every row"),
        ("a,b,y\n1,2,p\n2,abc,q\n3,4,p\n", "line 3, column 'b': 'abc' is not a finite number"),
        ("a,y\n1,p\ninf,q\n3,p\n", "line 3, column 'a': 'inf'"),
        ("a,y\n1,p\n1e999,q\n3,p\n", "line 3, column 'a': '1e999'"),
        ("a,y\n1,p\n1_0,q\n3,p\n", "line 3, column 'a': '1_0'"),
        ("a,y\n1,p\n2,\n3,q\n", "line 3, column 'y': the target is missing"),
        ("a,b,y\n1,,p\n2,,q\n", "column 'b' is empty"),
        ("y\np\nq\n", "no column besides 'y'"),
        ("name,y\nann,p\nbob,q\ncid,p\n", "has no input besides the target"),
        (b"a,y\n1,caf\xe9\n2,q\n", "line 2: byte 0xe9 is not UTF-8"),
        ("a,y\n1,p\n".encode("utf-16"), "is UTF-16"),
        (b"a,y\n1,p\0\n", "line 2: holds a zero byte"),
        ("a,y\n" + "".join(f"{k},name{k}\n" for k in range(30)), "30 distinct values in 30 rows"),
        ("a,y,split\n1,p,test\n2,q,test\n", "no row of column 'split' is train"),
        ("a,y,split\n1,p,train\n2,q,tset\n", "line 3, column 'split': 'tset' is not a split"),
        ('{"a": 1, "y": "p"}\n{"a": 2', "line 2"),
        ('{"a": 1, "y": "p"}\n[1]', "line 2: is not an object"),
        ('{"a": {"b": 1}, "y": "p"}\n', "which is not a valid cell"),
        ('{"a": NaN, "y": "p"}\n', "not strict JSON"),
        ('{"a": 1, "a": 2}\n', "a duplicate name"),
        ("{}\n{}\n", "only empty objects"),
    ],
)
def test_a_wrong_table_ends_with_cause_and_remedy(tmp_path, text, words):
    with pytest.raises(DataError) as caught:
        opened(tmp_path, text)
    assert words in caught.value.cause
    assert "table.csv" in caught.value.cause
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": ("specie",)}, "species"),
        ({"group": "colours"}, "colour"),
        ({"impute": "mean"}, "median"),
        ({"group": "{slide}_*"}, "Name a column"),
    ],
)
def test_a_wrong_option_is_a_usage_error_with_a_remedy(tmp_path, options, words):
    with pytest.raises(UsageError) as caught:
        opened(tmp_path, FLOWERS, **options)
    assert words in caught.value.remedy


def test_uninformative_columns_are_not_used_and_reported(tmp_path):
    rows = "".join(f"{k},n{k},{'pqr'[k % 3]},7,t{k % 66},{k % 5}\n" for k in range(99))
    raw = opened(tmp_path, "id,name,y,same,text,a\n" + rows, target=("y",))
    assert [c.name for c in raw.inputs["vector"].columns] == ["same", "a"]
    assert [(f.kind, f.where) for f in raw.findings] == [
        ("ignored-column", ("id",)),
        ("ignored-column", ("name",)),
        ("constant-column", ("same",)),
        ("ignored-column", ("text",)),
    ]
    assert all(finding.remedy for finding in raw.findings)


@pytest.fixture
def images(tmp_path) -> Path:
    (tmp_path / "pics").mkdir()
    for k in range(6):
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (6, 5, 3), np.uint8)).save(tmp_path / f"pics/{k}.png")
    return tmp_path


IMAGE_ROWS = "file,age,x [mm],y [mm]\n" + "".join(f"pics/{k}.png,{k},{k / 2},{k * k}\n" for k in range(6))


def test_a_column_of_image_names_is_the_input(images):
    path = write(images, IMAGE_ROWS)
    for place in (path, images):
        assert recognises(place)
        raw = open_raw(place, OpenOptions(target=("x", "y")))
        assert raw.inputs["image"] == Input(modality="image", shape=(3, 6, 5), dtype="uint8")
        assert (
            raw.source.read(np.array([4]), Preprocessing())[0, 0].tolist()
            == np.asarray(Image.open(images / "pics/4.png"))[:, :, 0].tolist()
        )
        assert raw.target == Numbers(names=("x", "y"), units=("mm", "mm"))
        assert [(f.kind, f.where) for f in raw.findings] == [("ignored-column", ("age",))]
        assert raw.files == {"found": 7, "used": 7, "set aside": 0, "no data": 0}


def test_names_outside_the_folder_are_an_error(images):
    with pytest.raises(DataError, match=r"line 2, column 'file': '\.\./a\.png' lies outside"):
        opened(images, "file,y\n../a.png,p\n/b.png,q\n")


def test_an_image_column_is_the_input_at_any_position(images):
    rows = "".join(f"{'pq'[k % 2]},pics/{k}.png\n" for k in range(6))
    raw = opened(images, "kind,file\n" + rows)
    assert raw.target == Classes(names=("p", "q"))
    assert len(raw.source) == 6


def test_files_not_listed_in_the_table_are_reported(images):
    (images / "README.md").write_text("about")
    (images / "pics" / "notes.doc").write_text("about")
    write(images, "\n".join(IMAGE_ROWS.splitlines()[:-1]))
    raw = open_raw(images, OpenOptions(target=("x",)))
    assert raw.files == {"found": 9, "used": 6, "set aside": 2, "no data": 1}
    assert [entry.path for entry in raw.skipped] == ["pics/5.png", "pics/notes.doc"]
    assert [f.kind for f in raw.findings] == ["ignored-column", "stray"]


def test_missing_images_are_reported_by_row_or_quarantined(images):
    path = write(images, IMAGE_ROWS)
    (images / "pics" / "2.png").unlink()
    with pytest.raises(DataError, match=r"line 4, column 'file': 'pics/2\.png' does not exist"):
        dataset(path)
    data = dataset(path, options=OpenOptions(target=("x",), quarantine=True, allow_skipped=True))
    assert sum(data.spec.sizes.values()) == 5


def test_a_pattern_of_file_names_makes_groups(images):
    for k in range(6):
        (images / "pics" / f"{k}.png").rename(images / "pics" / f"{k % 2}_{k}.png")
    rows = "".join(f"pics/{k % 2}_{k}.png,{k % 3}\n" for k in range(6))
    assert open_raw(write(images, "file,y\n" + rows), OpenOptions(group="{slide}_*")).groups.tolist() == [0, 1] * 3


def test_a_folder_is_a_table_only_if_its_single_table_lists_its_files(tmp_path):
    path = write(tmp_path, FLOWERS)
    assert recognises(tmp_path)
    (tmp_path / "class").mkdir()
    assert not recognises(tmp_path)
    assert recognises(path)
    assert not recognises(tmp_path / "class")
    assert not recognises(write(tmp_path, FLOWERS, "notes.txt"))


def test_the_table_format_is_registered():
    assert "table" in formats()


def test_new_rows_are_encoded_as_in_training(tmp_path):
    raw = opened(tmp_path, FLOWERS)
    text = "colour,extra,width,length [mm]\nred,x,1.5,0.1\nblue,y,2,3\n"
    for source in (write(tmp_path, text, "new.csv"), io.StringIO(text)):
        names, rows = read_rows(source, spec_of(raw))
        assert names == ["row 1", "row 2"]
        assert rows.dtype == torch.float32
        torch.testing.assert_close(rows, torch.tensor([[0.1, 1.5, 0, 1], [3, 2, 1, 0]]))
    assert torch.equal(read_rows(tmp_path / "table.csv", spec_of(raw))[1], values(raw))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("length [mm],width\n1,2\n", "has no column 'colour'"),
        ("length [mm],width,colour\n1,2,green\n", "line 2, column 'colour': 'green' was not in the training data"),
        ("length [mm],width,colour\n1,tall,red\n", "line 2, column 'width': 'tall' is not a finite number"),
        ("length [mm],width,colour\n1,,red\n", "column 'width'"),
        ("length [mm],width,colour\n1,2,\n", "line 2, column 'colour': missing"),
    ],
)
def test_wrong_new_rows_are_named(tmp_path, text, words):
    spec = spec_of(opened(tmp_path, FLOWERS))
    with pytest.raises(DataError) as caught:
        read_rows(write(tmp_path, text, "new.csv"), spec)
    assert words in caught.value.cause
    assert caught.value.remedy


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=30)
@given(st.lists(st.tuples(finite, finite), min_size=3, max_size=20, unique=True))
def test_numbers_round_trip_exactly(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text("a,b,y\n" + "".join(f"{a!r},{b!r},{'pq'[k % 2]}\n" for k, (a, b) in enumerate(pairs)))
    assert values(open_raw(path, OpenOptions())).tolist() == [list(pair) for pair in pairs]


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1).map(str.strip).filter(bool)


@settings(max_examples=30)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=10), st.sampled_from(",;\t"))
def test_texts_round_trip_through_quotes(tmp_path_factory, rows, delimiter):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    lines = [("one", "two"), *rows]
    quoted = [['"' + cell.replace('"', '""') + '"' for cell in row] for row in lines]
    path.write_text("".join(delimiter.join(row) + "\n" for row in quoted), "utf-8")
    if sniff_delimiter(path.read_text("utf-8")) == delimiter:
        grid = read_table(path)
        assert list(zip(*grid.columns, strict=True)) == rows


def random_table(rng: np.random.Generator, name: str) -> bytes:
    """A random table, usually with an error."""
    cells = ["1", "2.5", "-3e4", "a", "b", "", "NA", "inf", "nan", "x;y", "a.png", "é", '"', "{", "1e400", " 7 "]
    delimiter = str(rng.choice([",", ";", "\t"]))
    width, height = int(rng.integers(1, 6)), int(rng.integers(0, 12))
    if name.endswith("jsonl") and rng.random() < 0.8:
        entries = [1, 2.5, "a", "b", None, True, ["a", "b"], ["a"], {}, [1], "3", "", 10**30, float("inf")]
        typical_size = entries[:2] if rng.random() < 0.6 else entries
        rows = [
            {f"c{k}": typical_size[int(rng.integers(len(typical_size)))] for k in range(width)} for _ in range(height)
        ]
        return "\n".join(map(json.dumps, rows)).encode()
    picked = rng.choice(cells, (height, width)) if rng.random() < 0.4 else rng.choice(cells[:2], (height, width))
    names = rng.permutation(list(string.ascii_lowercase))[:width].tolist()
    rows = [delimiter.join(names)] if rng.random() < 0.8 else []
    rows += [delimiter.join(row.tolist()) + (delimiter if rng.random() < 0.03 else "") for row in picked]
    text = bytearray(str(rng.choice(["\n", "\r\n"])).join(rows).encode())
    if text and rng.random() < 0.2:
        text[int(rng.integers(len(text)))] = int(rng.integers(256))
    return bytes(text)


def outcome(path: Path):
    """The error on opening, or the data; any other exception is a bug."""
    try:
        return None, dataset(path)
    except SnellenError as error:
        return error, None


@pytest.mark.parametrize("seed", range(100))
def test_any_table_opens_or_raises_an_error_with_a_cause(tmp_path, seed):
    rng = np.random.default_rng(seed)
    name = str(rng.choice(["table.csv", "table.tsv", "table.jsonl"]))
    path = write(tmp_path, random_table(rng, name), name)
    failed, data = outcome(path)
    if failed is not None:
        assert str(path) in failed.cause
        assert failed.remedy
    else:
        assert data.recognised_as
        assert len(data.truth) == len(data.source)
        assert bool(torch.isfinite(values(data)).all())  # type: ignore[arg-type]


def rows_of(cells: list[str], count: int = 40) -> str:
    return "a,y\n" + "".join(f"{k * 1.25},{cells[k % len(cells)]}\n" for k in range(count))


@pytest.mark.parametrize(
    ("cells", "names"),
    [(["q&amp;", "r&lt;"], Classes), (["u;", "v;"], Classes), (["u;v", "v"], Labels), (["u", ";"], Labels)],
)
def test_several_labels_need_a_row_of_two_or_of_none(tmp_path, cells, names):
    assert isinstance(opened(tmp_path, rows_of(cells)).target, names)


@pytest.mark.parametrize(
    ("cells", "names"), [(["007", "012"], ("007", "012")), (["1", "2.0"], ("1", "2")), (["01", "1", "2"], ("1", "2"))]
)
def test_codes_that_are_classes_keep_their_leading_zeros(tmp_path, cells, names):
    raw = opened(tmp_path, rows_of(cells, 60))
    assert isinstance(raw.target, Classes)
    assert raw.target.names == names
    assert not raw.findings


@pytest.mark.parametrize("cells", [["25 %", "0.3"], ['"1.234,5"', '"1,234.5"'], ['"1.234,5"', '"1,234.5"', "red"]])
def test_a_target_of_numbers_in_several_ways_is_a_warning(tmp_path, cells):
    (finding,) = opened(tmp_path, rows_of(cells)).findings
    assert finding.severity == "warning"
    assert "not all written in one way" in finding.message


def test_a_target_named_twice_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="names the column 'y' twice"):
        opened(tmp_path, FLOWERS.replace("width", "y"), target=("y", "y"))


def test_quoted_names_separated_by_spaces_are_read(images):
    text = "".join(f'"pics/{k}.png"  {k / 2} {"uv"[k % 2]}\n' for k in range(6))
    assert isinstance(open_raw(write(images, text), OpenOptions()).target, Classes)
    with pytest.raises(DataError, match="line 1: a quoted cell is not followed by the delimiter ','"):
        open_raw(write(images, text.replace(".png", ".xyz"), "other.csv"), OpenOptions())


def test_integers_of_an_image_list_are_classes_if_they_are_counted(images):
    lists = {"train.txt": "01", "ages.txt": "379"}
    found = {
        name: open_raw(
            write(images, "".join(f"pics/{k}.png {labels[k % len(labels)]}\n" for k in range(6)), name), OpenOptions()
        ).target
        for name, labels in {**lists, "few.txt": "012"}.items()
    }
    assert isinstance(found["train.txt"], Classes)
    assert isinstance(found["few.txt"], Classes)
    assert isinstance(found["ages.txt"], Numbers)
    (images / "ages.txt").unlink()
    with pytest.raises(DataError) as error:
        dataset(images)
    assert "train.txt" in error.value.remedy
    assert "few.txt" in error.value.remedy
