"""`snellen trace` on the command line: tables, JSON that can be read back, custom networks, wrong input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command import Result, run_command


def trace(*arguments: str) -> Result:
    return run_command(["trace", *arguments])


N1 = ["--inputs", "2,3", "--target", "1", "--hidden", "2", "--activation", "linear", "--no-bias", "--lr", "0.05"]
N1_WEIGHTS = "--weights=.11,.21,.12,.08,.14,.15"


def test_the_default_is_the_example_by_hand_and_fits_eighty_columns() -> None:
    result = trace("--steps", "20", "--show", "0,20")
    assert result.code == 0, result.err
    assert "Backpropagation by hand (lecture 003)" in result.out
    rows = [line.split() for line in result.out.splitlines()]
    assert ["w5", "0.14", "-0.68765", "-0.68765", "-0.68765", "0.1743825"] in rows
    assert ["y", "0.191", "-0.809", "-0.809", "-0.809"] in rows
    assert ["1", "0.2769572", "0.2557458"] in rows
    assert "after 20 updates: E = 4.337" in result.out
    assert "231 gradients agree with autograd" in " ".join(result.out.split())
    assert max(map(len, result.out.splitlines())) <= 80


def test_the_fraction_of_seeds_is_printed_with_its_interval() -> None:
    result = trace("xor", "--steps", "600", "--seeds", "20")
    assert result.code == 0, result.err
    assert "of 20 succeed after 600 updates" in result.out
    assert "Wilson's 95 %" in result.out
    assert "succeed" not in trace("xor", "--steps", "1", "--seeds", "0").out.partition("Why two hidden units")[0]


def test_flags_describe_the_network_of_an_example() -> None:
    plain, own = (trace(*words, "--json").lines[0] for words in (["lecture003"], [*N1, N1_WEIGHTS]))
    assert plain["states"] == own["states"]
    assert plain["losses"] == own["losses"]


@pytest.mark.parametrize(
    "words", [["xor", "--steps", "3"], ["convolution"], ["batch-norm"], ["softmax"], ["mean-pool"]]
)
def test_json_is_strict_and_its_network_gives_the_same_numbers(words: list[str], tmp_path: Path) -> None:
    result = trace(*words, "--json", "--seeds", "0")
    (first,) = result.lines
    assert result.err == ""
    assert first["check"]["agrees"]
    whole, part = tmp_path / "whole.json", tmp_path / "part.json"
    whole.write_text(result.out)
    part.write_text(json.dumps(first["network"]))
    steps = ["--steps", str(len(first["losses"]) - 1), "--json"]
    for path in (whole, part):
        again = trace(str(path), *steps)
        assert again.code == 0, again.err
        assert again.lines[0] == first


def test_a_file_may_leave_the_weights_to_a_seed(tmp_path: Path) -> None:
    network = {
        "layers": [
            {"kind": "conv2d", "filters": 2, "size": 2, "activation": "relu"},
            {"kind": "max-pool", "size": 2, "stride": 1},
            {"kind": "flatten"},
            {"kind": "linear", "units": 2, "bias": False, "activation": "softmax"},
        ],
        "loss": "cross-entropy",
        "seed": 4,
        "inputs": [[[1, 2, 0], [0, 1, 3], [2, 1, 1]]],
        "targets": [[0, 1]],
    }
    path = tmp_path / "net.json"
    path.write_text(json.dumps(network))
    first = trace(str(path), "--json").lines[0]
    assert trace(str(path), "--json").lines[0] == first
    path.write_text(json.dumps({**network, "seed": 5}))
    assert trace(str(path), "--json").lines[0]["losses"] != first["losses"]


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "net.json").write_text(network_file(), encoding="utf-8-sig")
    assert trace(str(tmp_path / "net.json")).code == 0


def test_the_advised_learning_rate_does_not_diverge() -> None:
    for words in (["mario", "--lr", "1e10", "--steps", "50"], ["--inputs", "900", "--target", "1", "--lr", "50"]):
        words += [] if "--steps" in words else ["--hidden", "0", "--steps", "200"]
        result = trace(*words)
        assert result.code == 5
        rate = result.err.split("such as --lr ")[1].split(",")[0]
        assert trace(*words, "--lr", rate).code == 0


def network_file(**changes: Any) -> str:
    plain = {"layers": [{"kind": "linear", "units": 1}], "inputs": [[1, 2]], "targets": [[1]]}
    return json.dumps({**plain, **changes})


FILES = {
    "cut": '{"layers": [',
    "nan": network_file(inputs=[[1, float("nan")]]),
    "list": "[1]",
    "unknown key": network_file(layer=1),
    "unknown key of a layer": network_file(layers=[{"kind": "linear", "unit": 1}]),
    "unknown kind": network_file(layers=[{"kind": "liner", "units": 1}]),
    "no units": network_file(layers=[{"kind": "linear"}]),
    "ragged": network_file(layers=[{"kind": "linear", "weight": [[1, 2], [3]]}]),
    "too few weights": network_file(layers=[{"kind": "linear", "weight": [[1]]}]),
    "text": network_file(inputs=[["a", 1]]),
    "activation": network_file(layers=[{"kind": "linear", "units": 1, "activation": "step"}]),
    "activation list": network_file(layers=[{"kind": "linear", "units": 1, "activation": []}]),
    "loss": network_file(loss="mse"),
    "rate": network_file(lr=-1),
    "targets": network_file(targets=[[1, 2]]),
    "pool of numbers": network_file(layers=[{"kind": "max-pool"}]),
    "window": network_file(layers=[{"kind": "conv2d", "size": 9}], inputs=[[[1, 2], [3, 4]]], targets=[[[1]]]),
    "one sample": network_file(layers=[{"kind": "batch-norm"}], targets=[[1, 2]]),
    "huge": network_file(layers=[{"kind": "linear", "units": 10**20}]),
    "duplicate key": network_file()[:-1] + ', "lr": 1, "lr": 2}',
    "duplicate key of a layer": network_file().replace('"units": 1', '"units": 1, "units": 1'),
    "key beside the network": json.dumps({"format": "snellen trace", "network": json.loads(network_file()), "lr": 1}),
    "no network": json.dumps({"format": "snellen trace", "losses": []}),
    "many units": network_file(layers=[{"kind": "linear", "units": 17}]),
}


@pytest.mark.parametrize("name", list(FILES))
def test_a_wrong_file_is_named_with_a_cause_and_a_remedy(name: str, tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(FILES[name])
    result = trace(str(path))
    assert result.code == 3, result.err
    assert result.out == ""
    assert len(result.err.splitlines()) == 2
    assert str(path) in result.err


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ("lecture03", 2, "Did you mean lecture003?"),
        ("no.json", 3, "no.json is missing"),
        ("--target 1", 2, "needs --inputs"),
        ("--inputs 2,a --target 1", 2, "'a' is not a finite number"),
        ("--inputs 1,2;3 --target 1;2", 2, "Sample 2 of the inputs has 1 number,"),
        ("--inputs 1 --target 1;2", 2, "There is 1 sample of inputs and 2 of targets"),
        ("--inputs 1 --target 1 --weights 1", 2, "1 weight is given, and the network has 4 (2 + 2)"),
        ("--inputs 1 --target 2 --loss bce", 2, "outside 0 … 1"),
        ("--inputs 1 --target 1,1 --loss cross-entropy", 2, "no probability distribution"),
        ("--inputs 1 --target 1 --hidden 99", 2, "at most 16 units"),
        ("--inputs 1 --target 1 --activation step", 2, "invalid choice: 'step'"),
        ("lecture003 --hidden 3", 2, "describes a custom network"),
        ("lecture003 --seed 1", 2, "--seed changes nothing"),
        ("lecture003 --seeds 9", 2, "no seed changes them"),
        ("lecture003 --steps 20000", 2, "outside 0 … 10,000"),
        ("lecture003 --show 2", 2, "no numbers after 2 updates"),
        ("lecture003 --lr 0", 2, "above 0"),
        ("lecture003 --lr 1e6 --steps 9", 5, "not finite after 3 updates"),
        ("lecture003 --out here.txt", 2, "does not end in .html"),
        ("lecture003 --lr 1e308 --steps 5", 5, "after 1 update"),
        ("lecture003 --lr 1e308 --steps 5", 5, "such as --lr 0.1, or at most --steps 0."),
        ("--list --steps 4", 2, "--steps has no effect on --list"),
        ("xor --list", 2, "NETWORK has no effect on --list"),
        ("--inputs 1,2 --target 1 --hidden 0 --activation relu", 2, "--activation has no effect on --hidden 0"),
    ],
)
def test_wrong_arguments_are_named_with_a_remedy(words: str, code: int, part: str) -> None:
    result = trace(*words.split())
    assert result.code == code, result.err
    assert part in result.err
    assert result.out == ""
    assert len(result.err.splitlines()) == 2


def test_a_number_may_begin_with_a_minus_sign() -> None:
    result = trace("--inputs", "-1,2", "--target", "-3", "--json")
    assert result.lines[0]["network"]["inputs"] == [[-1, 2]]
    assert result.lines[0]["network"]["targets"] == [[-3]]


def test_a_disagreement_is_printed_and_the_exit_code_is_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: the derivative of the sigmoid without its factor 1 − a."""
    from snellen.trace import activations

    wrong = activations.TraceActivation(
        value=activations.ACTIVATIONS["sigmoid"].value, backward=lambda z, a, g: g * a, formula="", derivative=""
    )
    monkeypatch.setitem(activations.ACTIVATIONS, "sigmoid", wrong)
    result = trace("lecture001")
    assert result.code == 5
    assert "DISAGREE" in result.out
    assert "disagrees with autograd" in result.err
    plain = trace("lecture001", "--json")
    assert plain.code == 5
    assert plain.lines[0]["check"]["agrees"] is False
