"""One file that says what the run says, or none at all."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from raw_datasets import classes, labels, numbers, seeded
from torch import Tensor, nn

from snellen.api import RunOptions, TrainedRun, load, train
from snellen.core import files
from snellen.core.errors import Diverged, EnvironmentProblem, Mismatch, UsageError
from snellen.core.spec import Column, Input, Preprocessing, Spec
from snellen.core.task import Output
from snellen.data.dataset import Dataset, Labelled
from snellen.export import to_onnx
from snellen.export.example_inputs import input_shape
from snellen.export.parity import compare

QUICK: dict[str, Any] = {"options": RunOptions(threads=1, report=False)}


def rows(count: int = 200) -> Tensor:
    return torch.randn(count, 3, generator=seeded())


def pictures(dtype: torch.dtype, high: int, count: int = 60) -> Tensor:
    return torch.randint(0, high, (count, 2, 14, 16), generator=seeded()).to(dtype)


def bright(x: Tensor) -> Tensor:
    """Is the left half brighter?"""
    x = x.double()
    return (x[..., :8].mean((1, 2, 3)) > x[..., 8:].mean((1, 2, 3))).long()


def said(path: Path, x: Tensor) -> dict[str, Tensor]:
    """What ONNX Runtime says."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(torch.from_numpy, session.run(names, {"input": x.numpy()})), strict=True))


def about(path: Path) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    known = session.get_modelmeta().custom_metadata_map
    return {key: json.loads(text) if text[0] in "{[" else text for key, text in known.items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    torch.set_num_threads(1)
    x = rows()
    return train(
        classes(x, (x[:, 0] > 0).long(), 2), "softmax", epochs=1, out=tmp_path_factory.mktemp("r") / "r", **QUICK
    )


def test_the_file_says_what_it_is(run: TrainedRun, tmp_path: Path) -> None:
    path = run.export("onnx", tmp_path / "a.onnx")
    known = about(path)
    assert known["sha256"] == files.sha256(run.folder / "model.safetensors")
    assert (known["task"], known["learner"], known["data"]) == ("classify", "softmax", "made")
    assert known["input"] == {"name": "input", "dtype": "float32", "shape": ["batch", 3]}
    assert [o["name"] for o in known["outputs"]] == ["scores", "probabilities"]
    assert known["outputs"][0]["columns"] == ["class 0", "class 1"]
    assert (known["parity"]["inputs"], sum(known["parity"]["batches"])) == (100, 100)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [i.shape for i in session.get_inputs()] == [["batch", 3]]


@pytest.mark.parametrize(("dtype", "high"), [(torch.uint8, 256), (torch.uint16, 60000), (torch.float32, 4000)])
def test_pictures_of_every_depth_go_in_raw(dtype: torch.dtype, high: int, tmp_path: Path) -> None:
    x = pictures(dtype, high)
    made = train(classes(x, bright(x), 2), "lenet", epochs=1, out=tmp_path / "r", **QUICK)
    path = made.export("onnx")
    assert path == tmp_path / "r" / "model.onnx"
    outside = torch.cat([x[:2].double(), x[:1].double() * 0, x[:1].double() * 0 + high - 1]).to(dtype)
    for row, answer in zip(said(path, outside)["probabilities"], made.ask(outside), strict=True):
        assert row.tolist() == pytest.approx(list(answer["probabilities"].values()), abs=1e-4)
    program = torch.export.load(made.export("torch")).module()
    torch.testing.assert_close(program(outside)["scores"], said(path, outside)["scores"], rtol=0, atol=1e-4)
    given = about(path)["input"]
    assert (given["dtype"], given["shape"]) == (str(dtype)[6:], ["batch", 2, 14, 16])
    assert given["range"] == list(made.value_range or ())
    assert given["reading"]["size"] == [14, 16]


def test_a_large_offset_in_64_bits_survives(tmp_path: Path) -> None:
    x = rows().double() + 1e9  # in float32 nothing would be left of the differences
    made = train(numbers(x, x[:, :2] - 1e9, ("a", "b"), ("mm", "kg")), "mlp", epochs=2, out=tmp_path / "r", **QUICK)
    path = made.export()
    expected = torch.tensor([list(answer.values()) for answer in made.ask(x[:32])], dtype=torch.float64)
    torch.testing.assert_close(said(path, x[:32])["numbers"], expected, rtol=0, atol=1e-5)
    (output,) = about(path)["outputs"]
    assert (output["columns"], output["units"]) == (["a", "b"], ["mm", "kg"])


def test_each_of_several_labels_has_its_own_probability(tmp_path: Path) -> None:
    x = rows()
    made = train(labels(x, (x > 0).float()), "softmax", epochs=2, out=tmp_path / "r", **QUICK)
    path = made.export()
    expected = torch.tensor([list(answer["probabilities"].values()) for answer in made.ask(x[:9])])
    torch.testing.assert_close(said(path, x[:9])["probabilities"], expected.float(), rtol=0, atol=1e-5)


def test_a_model_without_probabilities_gives_scores_only(tmp_path: Path) -> None:
    x = rows()
    made = train(classes(x, (x[:, 0] > 0).long(), 2), "perceptron", epochs=1, out=tmp_path / "r", **QUICK)
    path = made.export()
    expected = torch.tensor([list(answer["scores"].values()) for answer in made.ask(x[:9])])
    assert list(said(path, x)) == ["scores"]
    torch.testing.assert_close(said(path, x[:9])["scores"], expected.float(), rtol=1e-5, atol=1e-5)


def test_a_program_of_torch_is_read_where_snellen_is_not(run: TrainedRun, tmp_path: Path) -> None:
    path = run.export("torch", tmp_path / "a.pt2")
    x = rows(5)
    torch.save(x, tmp_path / "x.pt")
    code = (
        "import sys, json, torch\n"
        "sys.modules['snellen'] = None\n"
        "told = {'snellen.json': ''}\n"
        "program = torch.export.load(sys.argv[1], extra_files=told).module()\n"
        "x = torch.load(sys.argv[2])\n"
        "assert all(len(program(x[:n])['scores']) == n for n in (1, 2, 5))\n"
        "print(json.dumps([program(x)['probabilities'].tolist(), json.loads(told['snellen.json'])]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path), str(tmp_path / "x.pt")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    probabilities, known = json.loads(done.stdout)
    for row, answer in zip(probabilities, run.ask(x), strict=True):
        assert row == pytest.approx(list(answer["probabilities"].values()), abs=1e-6)
    assert known["outputs"][1]["columns"] == ["class 0", "class 1"]
    assert known["parity"]["inputs"] == 100


class Own(nn.Module):
    """Layers that count their samples by `len`, which is a fixed number to a tracer that runs the code."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.reshape(len(x), -1))  # type: ignore[no-any-return]


class Wavering(Own):
    """Never says the same twice."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.rand(len(x), 1)


class Deciding(Own):
    """Computes in another way where the values are large."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if float(x.sum()) < 3 else -y


def own(module: nn.Module, folder: Path) -> TrainedRun:
    x = rows()
    return train(classes(x, (x[:, 0] > 0).long(), 2), module, epochs=1, out=folder, **QUICK)


def test_a_module_of_ones_own_leaves_too(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = own(Own(), tmp_path / "r")
    capfd.readouterr()
    x, path = rows(9), made.export()
    assert capfd.readouterr() == ("", "")
    for size in (1, 9):
        expected = torch.tensor([list(a["probabilities"].values()) for a in made.ask(x[:size])])
        torch.testing.assert_close(said(path, x[:size])["probabilities"], expected.float(), rtol=0, atol=1e-5)


class Near(Own):
    """Distances to five points, and the order of what has many ties."""

    def forward(self, x: Tensor) -> Tensor:
        points = torch.arange(15.0).reshape(5, 3) / 7
        first = torch.cdist(super().forward(x).repeat(1, 2)[:, :3], points, compute_mode="donot_use_mm_for_euclid_dist")
        places = (x[:, [0, 0, 1, 1]] > 0).float().sort(dim=1, stable=True).indices
        return first[:, :2] + 0.1 * places[:, [0, 3]]


def test_distances_and_stable_sorting_leave_too(tmp_path: Path) -> None:
    made = own(Near(), tmp_path / "r")
    x, path = rows(30), made.export()
    expected = torch.tensor([list(a["probabilities"].values()) for a in made.ask(x)])
    torch.testing.assert_close(said(path, x)["probabilities"], expected.float(), rtol=0, atol=1e-5)


class Determined(Own):
    """Something that ONNX has not."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.linalg.eigvalsh(x[:, :, None] * x[:, None])[:, :1]


def test_what_onnx_has_not_is_named(tmp_path: Path) -> None:
    made = own(Determined(), tmp_path / "r")
    with pytest.raises(UsageError, match=r"no form in ONNX: .*eigh") as caught:
        made.export()
    assert caught.value.remedy == "Take --to torch."
    assert "\x1b" not in caught.value.cause
    assert made.export("torch").exists()


def test_what_differs_from_the_run_is_not_written(tmp_path: Path) -> None:
    made = own(Wavering(), tmp_path / "r")
    before = sorted((tmp_path / "r").iterdir())
    with pytest.raises(Mismatch, match="scores of the file differ") as caught:
        made.export("torch")
    assert caught.value.exit_code == 5
    assert "Nothing was written" in caught.value.remedy
    assert sorted((tmp_path / "r").iterdir()) == before


def test_an_older_file_survives_a_refused_one(run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run.export("onnx", tmp_path / "a.onnx")
    content = path.read_bytes()
    ask = to_onnx.ask
    wrong = [{"scores": torch.full((n, 2), torch.nan), "probabilities": torch.zeros(n, 2)} for n in (1, 3, 32, 64)]
    from snellen.export import model_file

    monkeypatch.setitem(
        model_file.KINDS,
        "onnx",
        model_file.Kind(
            suffix=".onnx",
            needs=to_onnx.needs,
            convert=to_onnx.convert,
            content=to_onnx.content,
            ask=lambda *arguments: wrong if ask(*arguments) else [],
        ),
    )
    with pytest.raises(Mismatch):
        run.export("onnx", path)
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


def test_what_cannot_be_traced_says_so_and_nothing_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = own(Deciding(), tmp_path / "r")
    capfd.readouterr()
    with pytest.raises(UsageError, match="Deciding cannot be traced") as caught:
        made.export()
    assert "same way" in caught.value.remedy
    assert capfd.readouterr() == ("", "")


def test_a_file_is_written_over_only_where_it_is_named(run: TrainedRun, tmp_path: Path) -> None:
    path = run.export("torch")
    with pytest.raises(UsageError, match="is there already") as caught:
        run.export("torch")
    assert f"--out {path}" in caught.value.remedy
    assert run.export("torch", path) == path
    with pytest.raises(UsageError, match=r"does not end in \.pt2"):
        run.export("torch", run.folder / "model.safetensors")
    with pytest.raises(UsageError, match="'onx'") as caught:
        run.export("onx")
    assert "onnx" in caught.value.remedy
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentProblem, match="Cannot write"):
        run.export("torch", tmp_path / "file" / "a.pt2")


def test_a_missing_package_is_named_with_the_command(run: TrainedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(EnvironmentProblem, match="onnxscript") as caught:
        run.export("onnx")
    assert caught.value.remedy == 'pip install "snellen[onnx]"'
    assert caught.value.exit_code == 4


def test_inputs_are_drawn_where_the_data_is_gone(run: TrainedRun, tmp_path: Path) -> None:
    lost = load(run.folder)
    assert about(lost.export("onnx", tmp_path / "a.onnx"))["parity"]["from"].startswith("drawn at random: ")
    few: Dataset[Labelled] = classes(rows(40), (rows(40)[:, 0] > 0).long(), 2)
    made = train(few, "softmax", epochs=1, out=tmp_path / "r", **QUICK)
    parity = made.publish("torch").about["parity"]
    assert parity["inputs"] == 100
    assert parity["from"].endswith("drawn at random")


def test_pictures_of_any_size_stay_pictures_of_any_size() -> None:
    varied = Spec(name="v", target=None, inputs={"x": Input(modality="image", shape=(3, None, None), dtype="uint8")})
    assert input_shape(varied, Preprocessing()) == (3, None, None)
    assert input_shape(varied, Preprocessing(size=(8, 9), channels=1)) == (1, 8, 9)
    columns = Spec(
        name="v",
        target=None,
        inputs={
            "x": Input(modality="vector", shape=(2,), columns=(Column(name="colour", categories=("red", "blue")),))
        },
    )
    assert input_shape(columns, Preprocessing()) == (2,)


SHARED, APART = Output(name="y", columns=("a", "b")), Output(name="y", columns=("a", "b"), units=("", "mm"))


@pytest.mark.parametrize(
    ("output", "error", "agrees"),
    [
        (SHARED, 0.9e-2, True),
        (SHARED, 1.1e-2, False),
        (APART, 0.9e-6, True),
        (APART, 1.1e-6, False),
    ],
)
def test_a_difference_is_allowed_up_to_its_share_of_the_scale(output: Output, error: float, agrees: bool) -> None:
    truth = torch.tensor([[100.0, 0.01], [50.0, 0.005]], dtype=torch.float64)  # scales 100 together; 100 and 0.01
    wrong = truth + torch.tensor([[0.0, 0.0], [0.0, error]], dtype=torch.float64)
    if agrees:
        found = compare([{"y": truth}], [{"y": wrong}], [output])
        assert found["absolute"]["y"] == pytest.approx(error)
        assert found["relative"]["y"] == pytest.approx(error / (0.01 if output.units else 100))
    else:
        with pytest.raises(Mismatch):
            compare([{"y": truth}], [{"y": wrong}], [output])


def test_zeros_agree_with_zeros_and_nothing_agrees_with_nan() -> None:
    zeros = torch.zeros(4, 2)
    assert compare([{"y": zeros}], [{"y": zeros}], [SHARED])["relative"] == {"y": 0}
    with pytest.raises(Mismatch):
        compare([{"y": zeros}], [{"y": zeros + torch.nan}], [SHARED])
    with pytest.raises(Mismatch, match=r"\(4, 1\)"):
        compare([{"y": zeros}], [{"y": zeros[:, :1]}], [SHARED])
    with pytest.raises(Diverged):
        compare([{"y": zeros + torch.inf}], [{"y": zeros + torch.inf}], [SHARED])
