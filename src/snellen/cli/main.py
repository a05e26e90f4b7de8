"""`snellen COMMAND ...`: dispatch to the command; errors as two lines and an exit code."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from snellen.cli import process
from snellen.core import legacy_names
from snellen.core.errors import SnellenError, UsageError, printable, similar_names, suggest_name

if TYPE_CHECKING:
    from snellen.core.learner import Learner

START_TIME = time.monotonic()  # start of the process

# Verb -> (module under snellen.cli, help line).
VERBS: dict[str, tuple[str, str]] = {
    "data": ("data", "check a dataset: format, counts, shapes, findings"),
    "train": ("train", "train one model and write its report"),
    "evaluate": ("evaluate", "metrics of a run on its test split or on other data"),
    "study": ("study", "grid or random search over settings: means over seeds, importance, best cell"),
    "predict": ("predict", "predictions of a run for files, folders, tables"),
    "sample": ("sample", "new samples of a generator: a grid of images, a table, arrays"),
    "export": ("export", "export a run to one file that runs without Snellen: ONNX or torch"),
    "serve": ("serve", "HTTP inference server for a run: POST /predict"),
    "report": ("report", "write the HTML report of a run again"),
    "compare": ("compare", "compare runs on the same test samples, with significance tests"),
    "ladder": ("ladder", "train models from simple to complex within a time budget, and compare them"),
    "reproduce": ("reproduce", "published tables: published values next to values measured here"),
    "trace": ("trace", "every number of a small network, forward and backward, checked by autograd"),
    "filter": ("filter", "filter an image or numbers with a kernel, pool them: the arithmetic of every output"),
    "list": ("listing", "tasks, models, datasets and formats"),
    "get": ("get", "download a public dataset or weights"),
    "doctor": ("doctor", "versions, devices and optional packages of this machine"),
}

USAGE = """usage: snellen DATA [--budget 10m]     check DATA, train models from simple to complex, write the report
       snellen COMMAND ...

DATA is a folder, a file, or the name of a dataset; `snellen digits` needs no files.

commands:
{verbs}

snellen COMMAND --help describes a command; --version prints the version; --debug prints the traceback of an error."""


def script() -> NoReturn:
    """Entry point of the installed command."""
    process.prepare_streams()
    sys.exit(main())


def main(argv: Sequence[str] | None = None, learners: Sequence[Learner[Any, Any, Any]] = ()) -> int:
    """Run a command line and return its exit code.

    Args:
        argv: arguments; None: those of the process.
        learners: custom learners, known to every verb by their names.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [word for word in arguments if word != "--debug"]
    try:
        code = _dispatch(arguments, learners)
        sys.stdout.flush()
        return code
    except SnellenError as error:
        if debug:
            raise
        print(f"snellen: {error.cause}", file=sys.stderr)
        errors = [finding for finding in getattr(error, "findings", ()) if finding.severity == "error"]
        for finding in errors if len(errors) > 1 else ():  # a single one is already the cause
            more = f" and {len(finding.where) - 20:,} more" if len(finding.where) > 20 else ""
            print(printable(f"  - {finding.message}: {', '.join(finding.where[:20])}{more}"), file=sys.stderr)
        if error.remedy:
            print(f"  {error.remedy}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("snellen: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        process.discard_stdout()  # the reader closed the pipe
        return 141
    except OSError as error:
        if error.errno != errno.ENOSPC:  # other system errors are reported by core/file_io.py
            raise
        process.discard_stdout()
        print("snellen: Cannot write the results: no space left", file=sys.stderr)
        print("  Free disk space at the output.", file=sys.stderr)
        return 4


def _dispatch(arguments: list[str], learners: Sequence[Learner[Any, Any, Any]]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        width = max(map(len, VERBS))
        print(USAGE.format(verbs="\n".join(f"  {verb:<{width}}  {line}" for verb, (_, line) in VERBS.items())))
        return 0
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"snellen {version('snellen')}")
        return 0
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        if verb.startswith("-"):
            hint = "Resume with: snellen ladder --resume FOLDER, or snellen train --resume FOLDER."
            remedy = hint if verb.partition("=")[0] == "--resume" else "See snellen --help."
            raise UsageError(f"{verb} needs a command or data before it", remedy)
        verb, rest = "ladder", arguments
        _check_is_data(arguments[0])
    rest = _current_names(verb, rest)
    process.reject_planted_libraries()
    module = importlib.import_module(f"snellen.cli.{VERBS[verb][0]}")
    return int(module.run(rest, learners))


def _current_names(verb: str, arguments: Sequence[str]) -> list[str]:
    """Replace flags and tasks of version 0.1.0 by their current names; prints a message for each."""
    names: list[str] = []
    for word in arguments:
        flag, equals, value = word.partition("=")
        present = legacy_names.FLAGS.get(verb, {}).get(flag, flag) + equals + value
        if flag == "--task" and equals:
            present = f"--task={legacy_names.TASKS.get(value, value)}"
        if names and names[-1] == "--task":
            present = legacy_names.TASKS.get(word, present)
        if present != word:
            print(printable(f"snellen: {word} is now {present}"), file=sys.stderr)
        names.append(present)
    return names


def _check_is_data(word: str) -> None:
    """Raise UsageError for a first argument that is neither a command nor data, most often a typo."""
    from snellen.data.names import BUILTIN_NAMES, NAMED

    if not os.path.lexists(word) and word not in BUILTIN_NAMES and word not in NAMED:
        known = [*VERBS, *BUILTIN_NAMES, *NAMED]
        raise UsageError(f"{word!r} is not a command, a path, or the name of a dataset", suggest_name(word, known))


def unrecognised(parser: argparse.ArgumentParser, verb: str, word: str, settings: Sequence[str] = ()) -> UsageError:
    """The error of an argument that a command does not know.

    Args:
        settings: flags that the parser does not know, those of learners.
    """
    name = word.partition("=")[0].removeprefix("--")
    positional = next((a for a in parser._actions if not a.option_strings and a.dest == name), None)
    if positional is not None:
        remedy = f"Give {positional.metavar} without a flag: snellen {verb} {positional.metavar}"
    else:
        flags = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
        similar = similar_names(name, [flag.removeprefix("--") for flag in (*flags, *settings)])
        remedy = f"Did you mean --{' or --'.join(similar)}?" if similar else f"See snellen {verb} --help."
    return UsageError(f"Unrecognised argument {word} of snellen {verb}", remedy)


def make_parser(verb: str, summary: str) -> argparse.ArgumentParser:
    """An argument parser that raises UsageError, with suggestions for unknown flags."""
    parser = argparse.ArgumentParser(
        prog=f"snellen {verb}", description=summary, allow_abbrev=False, argument_default=argparse.SUPPRESS
    )

    def error(message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: "):
            raise unrecognised(parser, verb, message.split(": ", 1)[1].split()[0])
        raise UsageError(f"snellen {verb}: {message}", f"See snellen {verb} --help.")

    parser.error = error  # type: ignore[method-assign]
    return parser
