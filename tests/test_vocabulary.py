"""Vocabulary of the package: no retired names, unique public classes, no dialect in texts.

Each test lists all violations as `file:line: word`.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import snellen

PACKAGE = Path(snellen.__file__).parent
EXEMPT = {"core/legacy_names.py"}  # maps former names to current ones


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


# Never a part of an identifier (`found`, `_found`, `found_boxes`, `FoundBoxes`).
RETIRED_WORDS = words("""
    adopt adopted aside asked because climb climbed climbing climbs desk draft drafts drawn film films finds found
    judged kept outward partners picture pictures refuse refused refuses said searched sent surer told undrawn unsaid
    untold usual varied wanted
""")
# Never a whole identifier; as a part they have literal uses (`least_squares`, `gradient_descent`, `how_many`).
RETIRED_NAMES = words("""
    descend Descent Door everything hardest how least Lesson Machine Measured Measurer most Question Reading Scheme
    share Sight strange sure taken_for Trained Voting Watch Weighting
""")
# Never a module or package.
RETIRED_MODULES = words("""
    asked asking assembled connection contest drawn entry fitting found judged kept look objects oriented outlines
    paired pairs partners plain publish published refused said searched sent stored told turning unpickled varied
""")
# Never in a text: docstrings, help, messages, reports.
RETIRED_PHRASES = (
    r"gone on with",
    r"go(es)? on with",
    r"(the )?same bits",
    r"(is|are|was|were) told",
    r"told apart",
    r"surer",
    r"by heart",
    r"the house",
    r"heeds?",
    r"a find",
    r"finds (are|is|of|that)",
    r"films?",
    r"pictures?",
    r"untold",
    r"undrawn",
)
_PHRASE = re.compile(r"\b(" + "|".join(RETIRED_PHRASES).replace(" ", r"\s+") + r")\b", re.IGNORECASE)
# Names and strings that stored files contain, or that another package defines.
FROZEN_STRINGS = {
    ("cli/export.py", "pictures without finds"),  # metadata of an exported file
    ("data/check/object_checks.py", "empty-pictures"),  # Finding.kind
    ("data/formats/coco.py", "no-picture"),  # Finding.kind
    ("data/formats/match_by_name.py", "picture"),  # common folder names of data sets
    ("data/formats/match_by_name.py", "pictures"),
    ("detection/pretrained.py", "pictures."),  # names in a state_dict
    ("detection/pretrained.py", "pictures.standardize.mean"),
    ("detection/score_threshold.py", "pictures"),  # notes of a run
    ("detection/selective_search.py", "regions a picture"),
    ("export/detection_parity.py", "pictures without finds"),
    ("report/diagnosis.py", "by heart"),
    ("report/pages/sections.py", "regions a picture"),
    ("training/network_training.py", "by heart"),
}
FROZEN_NAMES = {
    ("core/checkpoint.py", "kept"),  # key of the checkpoint's manifest
    ("core/run.py", "kept"),
    ("data/decode/image_decoder.py", "draft"),  # PIL.Image.Image.draft
    ("detection/pretrained.py", "pictures"),
    ("detection/selective_search.py", "pictures"),
    ("detection/training.py", "pictures"),
    ("nn/detection/detector.py", "pictures"),  # sub-module, part of the names in a state_dict
    ("tasks/classify/probe.py", "kept"),  # buffer
    ("tasks/dense_regress/baseline.py", "usual"),  # buffer
}


def files() -> Iterator[tuple[str, str]]:
    """Path relative to the package, and source, of every module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name not in EXEMPT:
            yield name, path.read_text(encoding="utf-8")


def parts(identifier: str) -> list[str]:
    """The lower-case words of a snake_case or CamelCase identifier."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)]


def retired(identifier: str) -> bool:
    """Whether an identifier is retired, as a whole or because of one of its words."""
    if identifier.endswith("NotFoundError"):  # of the standard library
        return False
    return identifier in RETIRED_NAMES or bool(RETIRED_WORDS.intersection(parts(identifier)))


def test_words_of_identifiers() -> None:
    assert parts("_foundBoxes_of") == ["found", "boxes", "of"]
    assert parts("HTTPError") == ["http", "error"]
    assert retired("_told")
    assert retired("FoundBoxes")
    assert retired("least")
    assert not retired("least_squares")
    assert not retired("background")
    assert not retired("FileNotFoundError")


def test_no_retired_word_is_an_identifier() -> None:
    violations = []
    for name, source in files():
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME and retired(token.string) and (name, token.string) not in FROZEN_NAMES:
                violations.append(f"{name}:{token.start[0]}: {token.string}")
    assert not violations, f"{len(violations)} retired identifiers\n" + "\n".join(violations)


def test_no_retired_word_is_a_module() -> None:
    paths = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]
    stems = {path: path.parent.name if path.name == "__init__.py" else path.stem for path in paths}
    violations = [f"{path.as_posix()}:1: {stem}" for path, stem in stems.items() if stem in RETIRED_MODULES]
    assert not violations, "retired modules\n" + "\n".join(violations)


def test_public_class_names_are_unique() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for name, source in files():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{name}:{node.lineno}")
    violations = [f"{where}: {name}" for name, wheres in sorted(places.items()) if len(wheres) > 1 for where in wheres]
    assert not violations, f"{len(violations)} classes that share a name\n" + "\n".join(violations)


def test_no_text_has_a_retired_phrase() -> None:
    violations = []
    for name, source in files():
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            if (name, node.value) in FROZEN_STRINGS:
                continue
            for match in _PHRASE.finditer(node.value):
                line = node.lineno + node.value.count("\n", 0, match.start())
                violations.append((name, line, re.sub(r"\s+", " ", match[0])))
    texts = [f"{name}:{line}: {phrase}" for name, line, phrase in sorted(violations)]
    assert not texts, f"{len(texts)} retired phrases\n" + "\n".join(texts)
