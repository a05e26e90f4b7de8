"""Tables and JSON with names from data: no control character reaches a terminal, no markup a document."""

from __future__ import annotations

import csv
import json
import unicodedata

import pytest

from snellen.core.errors import printable_json
from snellen.core.file_io import json_text
from snellen.report.tables import FORMATS, csv_row, table

CONTROLS = [chr(code) for code in (*range(9), *range(11, 32), *range(0x7F, 0xA0))]
BIDIRECTIONAL = list("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
HOSTILE = "".join(CONTROLS + BIDIRECTIONAL) + "\U000e0041\u2028"


def is_harmless(text: str) -> bool:
    return all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or c == "\n" for c in text)


@pytest.mark.parametrize("form", FORMATS)
def test_tables_hold_no_control_characters(form: str) -> None:
    assert is_harmless(table([f"a{HOSTILE}", "b"], [[f"x{HOSTILE}\ny", 1]], form))


def test_csv_rows_hold_no_control_characters_and_keep_line_breaks() -> None:
    row = csv_row([HOSTILE, 'a "b",\nc', "\x1b]0;x\x07"])
    assert is_harmless(row)
    assert next(csv.reader([*row.splitlines(keepends=True)]))[1:] == ['a "b",\nc', "\\x1b]0;x\\x07"]


@pytest.mark.parametrize("write", [json_text, lambda value: printable_json(json.dumps(value, ensure_ascii=False))])
def test_json_is_harmless_and_loses_nothing(write) -> None:
    value = {f"key{HOSTILE}": [f"ä \u65e5 \U0001f600 {HOSTILE} \n \\u202e \udcff"]}
    text = write(value)
    assert is_harmless(text)
    assert json.loads(text) == value
    assert "ä \u65e5 \U0001f600" in text  # letters stay readable


def test_names_cannot_add_markup_to_markdown_or_latex() -> None:
    name = "a | b [x](http://e.example) <img src=x> `c` *d* &lt; #"
    row = table(["class", "n"], [[name, 1]], "markdown").splitlines()[-1]
    assert row == r"| a \| b [x\](http://e.example) \<img src=x\> \`c\` \*d\* \&lt; \# | 1 |"
    latex = table(["class", "n"], [["[9cm]", 1], ["*", 2], [r"\input{/etc/passwd}%$x^2~#&_", 3]], "latex")
    assert "\\\\\n[" not in latex
    assert "\\\\\n*" not in latex
    assert r"\textbackslash{}input\{/etc/passwd\}\%\$x\textasciicircum{}2\textasciitilde{}\#\&\_" in latex
