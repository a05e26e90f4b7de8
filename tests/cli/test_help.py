"""Help texts: every option has one, and a flag has one meaning in all verbs and settings."""

from __future__ import annotations

import argparse
import contextlib
from collections import defaultdict

import pytest

from snellen.cli.main import VERBS, main
from snellen.core import catalog

# Flags whose help names what the verb prints, writes or limits; inputs and target are columns of data or, for `trace`,
# numbers.
BY_VERB = {
    "--inputs",
    "--target",
    "--budget",
    "--explain",
    "--folds",
    "--json",
    "--out",
    "--seed",
    "--seeds",
    "--threads",
    "--resume",
}


def options(verb: str) -> list[argparse.Action]:
    """The arguments and flags of a verb."""
    parsers: list[argparse.ArgumentParser] = []
    format_help = argparse.ArgumentParser.format_help

    def record(parser: argparse.ArgumentParser) -> str:
        parsers.append(parser)
        return format_help(parser)

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(SystemExit):
        patch.setattr(argparse.ArgumentParser, "format_help", record)
        main([verb, "--help"])
    return [action for action in parsers[0]._actions if action.dest != "help"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_a_help_text(verb: str) -> None:
    for option in options(verb):
        assert option.help, option.dest
        assert option.help[0].isupper(), option.help
        assert not option.help.endswith("."), option.help


def test_a_flag_has_one_help_text_in_all_verbs() -> None:
    texts: defaultdict[str, set[str | None]] = defaultdict(set)
    for verb in VERBS:
        for option in options(verb):
            for flag in option.option_strings:
                texts[flag].add(option.help)
    assert {flag for flag, helps in texts.items() if len(helps) > 1} <= BY_VERB


def test_no_setting_has_the_flag_of_a_verb_that_trains() -> None:
    flags = {
        flag for verb in ("train", "study", "ladder") for option in options(verb) for flag in option.option_strings
    }
    settings = {s.flag for task in catalog.tasks().values() for entry in task.learners for s in entry.settings}
    assert not flags & settings
