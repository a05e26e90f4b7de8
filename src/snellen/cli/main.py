"""`snellen WORD ...`: finds the verb, turns errors into two lines and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from snellen.core import renamed
from snellen.core.errors import SnellenError, UsageError, nearest

if TYPE_CHECKING:
    from snellen.core.learner import Learner

STARTED = time.monotonic()  # when this process began its work

# Verb -> (module under snellen.cli, one line for the help). Only what works is listed.
VERBS: dict[str, tuple[str, str]] = {
    "data": ("data", "the check alone: format, counts, shapes, findings"),
    "train": ("train", "one model, from data to a report"),
    "evaluate": ("evaluate", "metrics of a run, on its own test split or on other data"),
    "study": ("study", "settings varied: means over seeds with intervals, what matters, the best"),
    "predict": ("predict", "what a run says of files, folders, tables"),
    "export": ("export", "a run as one file that works without this program: ONNX or torch"),
    "serve": ("serve", "a run that answers over HTTP: POST /predict"),
    "report": ("report", "write a run's page again"),
    "compare": ("compare", "runs on the same test samples, with a verdict"),
    "ladder": ("ladder", "every model that fits, smallest first, one table with intervals"),
    "reproduce": ("reproduce", "published tables: what was printed beside what is measured here"),
    "list": ("listing", "tasks, models and data there are"),
    "get": ("get", "fetch a public set, or weights"),
    "doctor": ("doctor", "what this machine has, and what is missing"),
}

USAGE = """usage: snellen DATA [--budget 10m]     check, climb the ladder of models, write the page
       snellen VERB ...

Point it at a folder, a table, or a name: `snellen digits` needs nothing but this program.

verbs:
{verbs}

snellen VERB --help tells more; --version prints the version; --debug keeps tracebacks."""


def script() -> NoReturn:
    """The installed command."""
    for stream in (sys.stdout, sys.stderr):  # names of files may hold what no encoding can write
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())


def main(argv: Sequence[str] | None = None, learners: Sequence[Learner[Any, Any, Any]] = ()) -> int:
    """Runs a command line and returns its exit code.

    Args:
        argv: the words; None: those of the process.
        learners: of the caller's own, known to every verb by their names.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        code = _dispatch(words, learners)
        sys.stdout.flush()
        return code
    except SnellenError as error:
        if debug:
            raise
        print(f"snellen: {error.cause}", file=sys.stderr)
        errors = [finding for finding in getattr(error, "findings", ()) if finding.severity == "error"]
        for finding in errors if len(errors) > 1 else ():  # one alone is the cause
            print(f"  - {finding.message}: {', '.join(finding.where)}", file=sys.stderr)
        if error.remedy:
            print(f"  {error.remedy}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("snellen: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _close_stdout()  # its reader has gone
        return 141
    except OSError as error:
        if error.errno != errno.ENOSPC:  # what else the system refuses is told by files.py
            raise
        _close_stdout()
        print("snellen: The results cannot be written: no space left", file=sys.stderr)
        print("  Make room where the output goes.", file=sys.stderr)
        return 4


def _close_stdout() -> None:
    """What is still to be written goes nowhere, so that it raises no error at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(words: list[str], learners: Sequence[Learner[Any, Any, Any]]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        width = max(map(len, VERBS))
        print(USAGE.format(verbs="\n".join(f"  {verb:<{width}}  {line}" for verb, (_, line) in VERBS.items())))
        return 0
    if words[0] == "--version":
        from importlib.metadata import version

        print(f"snellen {version('snellen')}")
        return 0
    verb, rest = words[0], words[1:]
    if verb not in VERBS:
        if verb.startswith("-"):
            raise UsageError(f"{verb} needs a verb or data before it", "See snellen --help.")
        verb, rest = "ladder", words
        _is_data(words[0])
    rest = _present_names(verb, rest)
    module = importlib.import_module(f"snellen.cli.{VERBS[verb][0]}")
    return int(module.run(rest, learners))


def _present_names(verb: str, words: Sequence[str]) -> list[str]:
    """Flags and tasks of version 0.1.0 by their present names, each with a line that says so."""
    made: list[str] = []
    for word in words:
        flag, equals, value = word.partition("=")
        present = renamed.FLAGS.get(verb, {}).get(flag, flag) + equals + value
        if made and made[-1] == "--task":
            present = renamed.TASKS.get(word, present)
        if present != word:
            print(f"snellen: {word} is now {present}", file=sys.stderr)
        made.append(present)
    return made


def _is_data(word: str) -> None:
    """Raises UsageError when a first word is neither verb nor data: most often it is a typo of one."""
    from snellen.data.names import BUILTIN_NAMES, NAMED

    if not os.path.exists(word) and word not in BUILTIN_NAMES and word not in NAMED:
        known = [*VERBS, *BUILTIN_NAMES, *NAMED]
        raise UsageError(f"{word!r} is neither a verb, a path nor the name of a data set", nearest(word, known))


def parser(verb: str, summary: str) -> argparse.ArgumentParser:
    """A parser whose errors are ours: nearest names, exit code 2."""
    made = argparse.ArgumentParser(
        prog=f"snellen {verb}", description=summary, allow_abbrev=False, argument_default=argparse.SUPPRESS
    )

    def error(message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: "):
            word = message.split(": ", 1)[1].split()[0]
            flags = [flag for action in made._actions for flag in action.option_strings]
            raise UsageError(f"snellen {verb} does not know {word}", nearest(word, flags))
        raise UsageError(f"snellen {verb}: {message}", f"See snellen {verb} --help.")

    made.error = error  # type: ignore[method-assign]
    return made
