"""Tables of numbers written as text, of missing cells under other words, and targets that are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

import snellen
from snellen.core.errors import DataError
from snellen.core.spec import Classes, Numbers
from snellen.data.dataset import Dataset
from snellen.data.formats import OpenOptions
from snellen.data.formats.number_text import read_numbers
from snellen.data.formats.table_rows import read_rows
from snellen.data.open_dataset import dataset


def table(path: Path, header: str, rows: list[str], delimiter: str = ",") -> Path:
    path.write_text("\n".join([header.replace(",", delimiter), *rows, ""]), encoding="utf-8")
    return path


def column(data: Dataset, place: int) -> list[float]:
    values = data.source.values  # type: ignore[attr-defined]
    return [float(x) for x in values[:, place].tolist()]


@pytest.mark.parametrize(
    ("cells", "decimal_comma", "values", "other"),
    [
        (("$1,250", "$750.50"), False, ("1250", "750.50"), ""),
        (("$1,250", "-$750"), False, ("1250", "-750"), "1.250"),
        (("€ 3", "(€ 4)"), False, ("3", "-4"), ""),
        (("25 %", "3.5%"), False, ("25", "3.5"), ""),
        (("1,000,000", "12"), False, ("1000000", "12"), ""),
        (("1 000", "2 500.5"), False, ("1000", "2500.5"), ""),
        (("1'000", "20"), False, ("1000", "20"), ""),
        (("10 USD", "7 USD"), False, ("10", "7"), ""),
        (("1,5", "2,25"), False, ("1.5", "2.25"), ""),
        (("1.250,50 €", "2 €"), True, ("1250.50", "2"), ""),
        (("1.250,50", "1.000.000,00"), True, ("1250.50", "1000000.00"), ""),
        (("?", "$1,250.5", "-"), False, ("?", "1250.5", "-"), ""),
        (("11.420", "7"), True, ("11.420", "7"), "11420"),
        (("1.300.000", "7.250"), True, ("1300000", "7250"), ""),
        (("−1.5", "2"), False, ("-1.5", "2"), ""),
        (("$−3", "–4"), False, ("-3", "-4"), ""),
    ],
)
def test_cells_read_as_numbers(
    cells: tuple[str, ...], decimal_comma: bool, values: tuple[str, ...], other: str
) -> None:
    numbers = read_numbers(cells, {"?", "-"}, decimal_comma)
    assert numbers is not None
    assert numbers.cells == values
    assert numbers.other == other


@pytest.mark.parametrize(
    "cells",
    [
        ("1.5", "2"),  # numbers already
        ("$1", "€1"),
        ("5 %", "0.05"),
        ("0,001.5", "7"),
        ("12,34", "1,234.5"),
        ("(555) 1234", "1"),
        ("one $", "2"),
        ("3-4", "5"),
        ("$", "$1"),
        ("11.42", "1.500"),
        ("", ""),
        ("$1" + " " * 100_000 + "x", "$2"),
    ],
)
def test_cells_that_are_not_read_as_numbers(cells: tuple[str, ...]) -> None:
    assert read_numbers(cells, {""}, False) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [('"$1,{k:03}"', 1100), ("{k} %", 100), ("{k}'500", 100500), ('"1,{k:03},000.50"', 1100000.5)],
)
def test_a_column_of_number_text_is_one_column(tmp_path: Path, text: str, expected: float) -> None:
    file = table(tmp_path / "rows.csv", "a,b,y", [f"{k}.5,{text.format(k=k + 100)},{k * 2}.25" for k in range(30)])
    data = dataset(file)
    assert data.spec.input.shape == (2,)
    assert column(data, 1)[0] == expected
    assert any(f.kind == "number-text" and "Column 'b' is read as numbers" in f.message for f in data.findings)
    new = table(tmp_path / "new.csv", "a,b", [f"1,{text.format(k=100)}"])
    assert float(read_rows(new, data.spec)[1][0, 1]) == expected


def test_a_target_of_number_text_is_numbers(tmp_path: Path) -> None:
    rows = [f'{k}.5,"{1 + k % 4},000"' for k in range(40)]
    data = dataset(table(tmp_path / "rows.csv", "a,price", rows))
    assert isinstance(data.spec.target, Numbers)
    assert sorted(set(data.truth[:, 0].tolist())) == [1000.0, 2000.0, 3000.0, 4000.0]
    (finding,) = (f for f in data.findings if f.kind == "number-text")
    assert finding.severity == "warning"
    assert "'1,000' as 1000, though it could be 1.000" in finding.message
    classes = dataset(tmp_path / "rows.csv", options=OpenOptions(target=("price:classes",)))
    assert isinstance(classes.spec.target, Classes)


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        (["2024-01-31", "2024-02-01", "2024-02-01"], "dates or times"),
        (["31.1.2024", "1.2.2024", "1.2.2024"], "dates or times"),
        (["10:30", "9:15", "9:15"], "dates or times"),
        (["$1", "€2", "$3", "$1"], "signs or separators"),
        (["5 %", "0.05", "7 %", "5 %"], "signs or separators"),
        (["3/7", "1/2", "4/5", "2/3", "1/9"], "fractions or dates"),
        (["1 kg", "2 kg", "3 kg", "4 kg", "5 kg", "5 kg"], "with a unit"),
    ],
)
def test_text_that_looks_like_numbers_or_dates_is_doubted(tmp_path: Path, cells: list[str], what: str) -> None:
    rows = [f"{k}.5,{cells[k % len(cells)]},{k * 2}.25" for k in range(30)]
    data = dataset(table(tmp_path / "rows.csv", "a,b,y", rows))
    (finding,) = (f for f in data.findings if f.kind == "number-text")
    assert finding.severity == "warning"
    assert what in finding.message
    assert "is read as text" in finding.message
    assert ("--task forecast --time b" in finding.remedy) is ("2024" in cells[0])


@pytest.mark.parametrize("several", [True, False])
def test_a_table_with_dates_may_be_a_time_series(tmp_path: Path, several: bool) -> None:
    rows = [f"2024-01-{1 + (k // 2 if several else k):02d},{'ab'[k % 2]},{k}.5" for k in range(30)]
    (finding,) = (f for f in dataset(table(tmp_path / "s.csv", "date,shop,y", rows)).findings if "date" in f.where)
    hint = "A time series is forecast with --task forecast --time date"
    assert finding.remedy.endswith(hint + (" --sequence-id COLUMN." if several else "."))
    with pytest.raises(DataError, match="no input besides the target") as error:
        dataset(table(tmp_path / "one.csv", "date,y", [f"2024-01-{1 + k:02d},{k}.5" for k in range(30)]))
    assert hint in error.value.remedy


@pytest.mark.parametrize("cells", [["2D", "3D"], ["red", "blue"], ["v1", "v2"], ["10-20", "20-30"]])
def test_categories_are_not_doubted(tmp_path: Path, cells: list[str]) -> None:
    rows = [f"{k}.5,{cells[k % 2]},{k * 2}.25" for k in range(30)]
    assert not [f for f in dataset(table(tmp_path / "rows.csv", "a,b,y", rows)).findings if f.kind == "number-text"]


@pytest.mark.parametrize("word", ["?", "-", "None", "#N/A", "n/a", "--", "unknown", "#DIV/0!", "<NA>"])
def test_words_of_missing_cells_are_imputed_and_their_remedy_is_right(tmp_path: Path, word: str) -> None:
    rows = [f"{word if k % 9 == 0 else k},{k}.5,{2 * k}.25" for k in range(90)]
    file = table(tmp_path / "rows.csv", "b,a,y", rows)
    with pytest.raises(DataError) as error:
        dataset(file)
    assert f"line 2, column 'b': missing ({word!r})" in error.value.cause
    assert "(and 5 more)" in error.value.cause
    assert "--impute median" in error.value.remedy
    data = dataset(file, options=OpenOptions(impute="median"))
    assert column(data, 0)[0] == 45  # the median of 1 ... 89 without multiples of 9
    assert any(f.kind == "imputed" and "10 in 'b'" in f.message for f in data.findings)


def test_none_and_a_hyphen_are_categories_among_text(tmp_path: Path) -> None:
    rows = [f"{('none', '-', 'metal')[k % 3]},{k}.5,{k * 2}.25" for k in range(30)]
    data = dataset(table(tmp_path / "rows.csv", "b,a,y", rows))
    assert data.spec.input.columns is not None
    assert data.spec.input.columns[0].categories == ("-", "metal", "none")


@pytest.mark.parametrize("word", ["nan", "", "?", "None"])
def test_a_missing_target_offers_no_imputation(tmp_path: Path, word: str) -> None:
    rows = [f"{k}.5,{k % 7},{word if k % 9 == 0 else f'{k}.25'}" for k in range(90)]
    file = table(tmp_path / "rows.csv", "a,b,y", rows)
    for impute in (None, "median"):
        with pytest.raises(DataError, match="line 2, column 'y': the target is missing") as error:
            dataset(file, options=OpenOptions(impute=impute))
        assert "train with --impute" not in error.value.remedy
        assert "--impute fills inputs only" in error.value.remedy


def test_training_on_number_text_equals_training_on_numbers(tmp_path: Path) -> None:
    text = [f'"$1,{k:03}",{k * 3 + 1}.5' for k in range(60)]
    plain = [f"1{k:03},{k * 3 + 1}.5" for k in range(60)]
    scores = [
        snellen.train(table(tmp_path / name, "price,y", rows), model="least-squares", out=tmp_path / f"run-{name}")
        .metrics["R2"]
        .value
        for name, rows in (("text.csv", text), ("plain.csv", plain))
    ]
    assert scores[0] == scores[1] == pytest.approx(1.0)


@pytest.mark.parametrize("cells", [["(1)", "(2)", "(3)"], ["(-5)", "(5)", "5"]])
def test_brackets_that_are_no_sign_of_losses_stay_text(cells: list[str]) -> None:
    assert read_numbers(cells, frozenset(("",)), False) is None


def test_a_column_that_is_not_used_says_that_it_looks_like_numbers(tmp_path: Path) -> None:
    rows = [f"{f'{k} %' if k % 2 else k / 100},{k * 3},{'pq'[k % 3 == 0]}" for k in range(40)]
    (finding,) = (f for f in dataset(table(tmp_path / "rows.csv", "rate,b,y", rows)).findings if "'rate'" in f.message)
    assert "signs or separators that are not all written in one way" in finding.message
    assert "is not used" in finding.message


def test_a_target_that_looks_like_numbers_is_refused_with_that_cause(tmp_path: Path) -> None:
    rows = [f"{k * 3},{f'{k} %' if k % 2 else k / 100}" for k in range(60)]
    with pytest.raises(DataError, match="signs or separators") as error:
        dataset(table(tmp_path / "rows.csv", "b,y", rows))
    assert "plain numbers" in error.value.remedy


@pytest.mark.parametrize(
    ("cell", "doubted"), [("{:05}", True), ("{}", False), ("{:03}", True), ("{:02}", False), ("0.{:05}", False)]
)
def test_leading_zeros_of_codes_are_doubted(tmp_path: Path, cell: str, doubted: bool) -> None:
    rows = [f"{cell.format(k * 977 % 60)},{k}.5,{'pq'[k % 2]}" for k in range(40)]
    found = [f for f in dataset(table(tmp_path / "rows.csv", "zip,b,y", rows)).findings if "leading zeros" in f.message]
    assert len(found) == doubted


def test_a_cell_beyond_the_limit_is_named_by_its_first_line(tmp_path: Path) -> None:
    file = table(tmp_path / "rows.csv", "a,b,y", ['1,"never closed,2', *["3,4,p"] * 40_000])
    with pytest.raises(DataError, match="line 2: a cell has more than 131,072 characters, to line 2") as error:
        dataset(file)
    assert "Close every quote" in error.value.remedy
    assert "column" in error.value.remedy


def test_predict_warns_of_numbers_that_could_be_read_in_two_ways(tmp_path: Path) -> None:
    rows = [f"{k * 1.25:.2f};{k}.5;{2 * k}.25" for k in range(60)]
    run = snellen.train(str(table(tmp_path / "rows.csv", "a,b,y", rows, ";")), model="baseline", out=tmp_path / "run")
    new = table(tmp_path / "new.csv", "a,b", ["11.420;1.5", "2.300;2.5"], ";")
    with pytest.warns(UserWarning, match=r"new\.csv: Column 'a' is read as numbers") as caught:
        assert len(list(run.predict_files([new]))) == 2
    assert "Write numbers with a decimal point" in str(caught[0].message)
