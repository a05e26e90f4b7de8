"""Export to ONNX and torch.export: outputs, metadata, parity check, errors."""

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
from snellen.core import file_io
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


def random_images(dtype: torch.dtype, high: int, count: int = 60) -> Tensor:
    return torch.randint(0, high, (count, 2, 14, 16), generator=seeded()).to(dtype)


def bright(x: Tensor) -> Tensor:
    """Label: whether the left half is brighter."""
    x = x.double()
    return (x[..., :8].mean((1, 2, 3)) > x[..., 8:].mean((1, 2, 3))).long()


def onnx_outputs(path: Path, x: Tensor) -> dict[str, Tensor]:
    """Outputs of ONNX Runtime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(torch.from_numpy, session.run(names, {"input": x.numpy()})), strict=True))


def metadata(path: Path) -> dict[str, Any]:
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


def test_metadata_of_the_file(run: TrainedRun, tmp_path: Path) -> None:
    path = run.export("onnx", tmp_path / "a.onnx")
    stored = metadata(path)
    assert stored["sha256"] == file_io.sha256(run.folder / "model.safetensors")
    assert (stored["task"], stored["learner"], stored["data"]) == ("classify", "softmax", "made")
    assert stored["input"] == {"name": "input", "dtype": "float32", "shape": ["batch", 3]}
    assert [o["name"] for o in stored["outputs"]] == ["scores", "probabilities"]
    assert stored["outputs"][0]["columns"] == ["class 0", "class 1"]
    assert (stored["parity"]["inputs"], sum(stored["parity"]["batches"])) == (100, 100)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [i.shape for i in session.get_inputs()] == [["batch", 3]]


@pytest.mark.parametrize(("dtype", "high"), [(torch.uint8, 256), (torch.uint16, 60000), (torch.float32, 4000)])
def test_raw_images_of_every_bit_depth(dtype: torch.dtype, high: int, tmp_path: Path) -> None:
    x = random_images(dtype, high)
    trained = train(classes(x, bright(x), 2), "lenet", epochs=1, out=tmp_path / "r", **QUICK)
    path = trained.export("onnx")
    assert path == tmp_path / "r" / "model.onnx"
    outside = torch.cat([x[:2].double(), x[:1].double() * 0, x[:1].double() * 0 + high - 1]).to(dtype)
    for row, answer in zip(onnx_outputs(path, outside)["probabilities"], trained.predict_batch(outside), strict=True):
        assert row.tolist() == pytest.approx(list(answer["probabilities"].values()), abs=1e-4)
    program = torch.export.load(trained.export("torch")).module()
    torch.testing.assert_close(program(outside)["scores"], onnx_outputs(path, outside)["scores"], rtol=0, atol=1e-4)
    input_info = metadata(path)["input"]
    assert (input_info["dtype"], input_info["shape"]) == (str(dtype)[6:], ["batch", 2, 14, 16])
    assert input_info["range"] == list(trained.value_range or ())
    assert input_info["reading"]["size"] == [14, 16]


def test_a_large_offset_in_float64_is_preserved(tmp_path: Path) -> None:
    x = rows().double() + 1e9  # float32 would lose the differences
    trained = train(numbers(x, x[:, :2] - 1e9, ("a", "b"), ("mm", "kg")), "mlp", epochs=2, out=tmp_path / "r", **QUICK)
    path = trained.export()
    expected = torch.tensor([list(answer.values()) for answer in trained.predict_batch(x[:32])], dtype=torch.float64)
    torch.testing.assert_close(onnx_outputs(path, x[:32])["numbers"], expected, rtol=0, atol=1e-5)
    (output,) = metadata(path)["outputs"]
    assert (output["columns"], output["units"]) == (["a", "b"], ["mm", "kg"])


def test_multilabel_probabilities(tmp_path: Path) -> None:
    x = rows()
    trained = train(labels(x, (x > 0).float()), "softmax", epochs=2, out=tmp_path / "r", **QUICK)
    path = trained.export()
    expected = torch.tensor([list(answer["probabilities"].values()) for answer in trained.predict_batch(x[:9])])
    torch.testing.assert_close(onnx_outputs(path, x[:9])["probabilities"], expected.float(), rtol=0, atol=1e-5)


def test_a_model_without_probabilities_has_scores_only(tmp_path: Path) -> None:
    x = rows()
    trained = train(classes(x, (x[:, 0] > 0).long(), 2), "perceptron", epochs=1, out=tmp_path / "r", **QUICK)
    path = trained.export()
    expected = torch.tensor([list(answer["scores"].values()) for answer in trained.predict_batch(x[:9])])
    assert list(onnx_outputs(path, x)) == ["scores"]
    torch.testing.assert_close(onnx_outputs(path, x[:9])["scores"], expected.float(), rtol=1e-5, atol=1e-5)


def test_a_torch_program_runs_without_snellen(run: TrainedRun, tmp_path: Path) -> None:
    path = run.export("torch", tmp_path / "a.pt2")
    x = rows(5)
    torch.save(x, tmp_path / "x.pt")
    code = (
        "import sys, json, torch\n"
        "sys.modules['snellen'] = None\n"
        "extra_files = {'snellen.json': ''}\n"
        "program = torch.export.load(sys.argv[1], extra_files=extra_files).module()\n"
        "x = torch.load(sys.argv[2])\n"
        "assert all(len(program(x[:n])['scores']) == n for n in (1, 2, 5))\n"
        "print(json.dumps([program(x)['probabilities'].tolist(), json.loads(extra_files['snellen.json'])]))"
    )
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path), str(tmp_path / "x.pt")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    probabilities, metadata_json = json.loads(process.stdout)
    for row, answer in zip(probabilities, run.predict_batch(x), strict=True):
        assert row == pytest.approx(list(answer["probabilities"].values()), abs=1e-6)
    assert metadata_json["outputs"][1]["columns"] == ["class 0", "class 1"]
    assert metadata_json["parity"]["inputs"] == 100


class LenModule(nn.Module):
    """Module that uses `len(x)`, which non-strict tracing fixes to a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.reshape(len(x), -1))  # type: ignore[no-any-return]


class Nondeterministic(LenModule):
    """Module with random outputs."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.rand(len(x), 1)


class DataDependent(LenModule):
    """Module with control flow that depends on the values."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if float(x.sum()) < 3 else -y


def train_module(module: nn.Module, folder: Path) -> TrainedRun:
    x = rows()
    return train(classes(x, (x[:, 0] > 0).long(), 2), module, epochs=1, out=folder, **QUICK)


def test_a_custom_module_is_exported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trained = train_module(LenModule(), tmp_path / "r")
    capfd.readouterr()
    x, path = rows(9), trained.export()
    assert capfd.readouterr() == ("", "")
    for size in (1, 9):
        expected = torch.tensor([list(a["probabilities"].values()) for a in trained.predict_batch(x[:size])])
        torch.testing.assert_close(onnx_outputs(path, x[:size])["probabilities"], expected.float(), rtol=0, atol=1e-5)


class DistancesAndSort(LenModule):
    """Distances to five points, and a stable sort with many ties."""

    def forward(self, x: Tensor) -> Tensor:
        points = torch.arange(15.0).reshape(5, 3) / 7
        first = torch.cdist(super().forward(x).repeat(1, 2)[:, :3], points, compute_mode="donot_use_mm_for_euclid_dist")
        places = (x[:, [0, 0, 1, 1]] > 0).float().sort(dim=1, stable=True).indices
        return first[:, :2] + 0.1 * places[:, [0, 3]]


def test_distances_and_stable_sort_are_exported(tmp_path: Path) -> None:
    trained = train_module(DistancesAndSort(), tmp_path / "r")
    x, path = rows(30), trained.export()
    expected = torch.tensor([list(a["probabilities"].values()) for a in trained.predict_batch(x)])
    torch.testing.assert_close(onnx_outputs(path, x)["probabilities"], expected.float(), rtol=0, atol=1e-5)


class Eigenvalues(LenModule):
    """Module with an operator that ONNX lacks."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.linalg.eigvalsh(x[:, :, None] * x[:, None])[:, :1]


def test_an_operator_that_onnx_lacks_is_named(tmp_path: Path) -> None:
    trained = train_module(Eigenvalues(), tmp_path / "r")
    with pytest.raises(UsageError, match=r"cannot be converted to ONNX: .*eigh") as caught:
        trained.export()
    assert caught.value.remedy == "Use --to torch."
    assert "\x1b" not in caught.value.cause
    assert trained.export("torch").exists()


def test_a_file_that_differs_from_the_run_is_not_written(tmp_path: Path) -> None:
    trained = train_module(Nondeterministic(), tmp_path / "r")
    before = sorted((tmp_path / "r").iterdir())
    with pytest.raises(Mismatch, match="scores of the file differ") as caught:
        trained.export("torch")
    assert caught.value.exit_code == 5
    assert "Nothing was written" in caught.value.remedy
    assert sorted((tmp_path / "r").iterdir()) == before


def test_an_existing_file_survives_a_failed_export(
    run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run.export("onnx", tmp_path / "a.onnx")
    content = path.read_bytes()
    run_batches = to_onnx.run_batches
    wrong = [{"scores": torch.full((n, 2), torch.nan), "probabilities": torch.zeros(n, 2)} for n in (1, 3, 32, 64)]
    from snellen.export import model_file

    monkeypatch.setitem(
        model_file.FORMATS,
        "onnx",
        model_file.ExportFormat(
            suffix=".onnx",
            check_packages=to_onnx.check_packages,
            convert=to_onnx.convert,
            serialize=to_onnx.serialize,
            run_batches=lambda *arguments: wrong if run_batches(*arguments) else [],
            for_any_length=lambda module: module,
        ),
    )
    with pytest.raises(Mismatch):
        run.export("onnx", path)
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


def test_a_module_that_cannot_be_traced_prints_one_error_only(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trained = train_module(DataDependent(), tmp_path / "r")
    capfd.readouterr()
    with pytest.raises(UsageError, match="DataDependent cannot be traced") as caught:
        trained.export()
    assert "independent of the input values" in caught.value.remedy
    assert capfd.readouterr() == ("", "")


def test_dtw_is_exported_for_sequences_of_one_length_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"x": [[k % 3, t] for t in range(3 + k % 4)], "label": "ab"[k % 2]} for k in range(40)]
    (tmp_path / "s.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    trained = train(tmp_path / "s.jsonl", "dtw", out=tmp_path / "r", **QUICK)
    monkeypatch.setattr(torch.export, "export", lambda *_, **__: pytest.fail("traced"))
    for to, name in (("onnx", "ONNX"), ("torch", "torch")):
        with pytest.raises(UsageError, match=f"dtw has no {name} export for sequences of several lengths") as caught:
            trained.export(to)
        assert "snellen predict" in caught.value.remedy


def test_an_existing_file_is_overwritten_only_if_it_is_named(run: TrainedRun, tmp_path: Path) -> None:
    path = run.export("torch")
    with pytest.raises(UsageError, match="exists already") as caught:
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


def test_a_missing_package_is_an_error_with_the_pip_command(run: TrainedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(EnvironmentProblem, match="onnxscript") as caught:
        run.export("onnx")
    assert caught.value.remedy == 'Run: pip install "snellen[onnx]"'
    assert caught.value.exit_code == 4


def test_inputs_are_random_if_the_data_is_missing(run: TrainedRun, tmp_path: Path) -> None:
    lost = load(run.folder)
    assert metadata(lost.export("onnx", tmp_path / "a.onnx"))["parity"]["from"].startswith("generated at random: ")
    small: Dataset[Labelled] = classes(rows(40), (rows(40)[:, 0] > 0).long(), 2)
    trained = train(small, "softmax", epochs=1, out=tmp_path / "r", **QUICK)
    parity = trained.export_model("torch").metadata["parity"]
    assert parity["inputs"] == 100
    assert parity["from"].endswith("generated at random")


def test_variable_image_sizes_stay_variable() -> None:
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


COMMON_SCALE, SEPARATE_SCALES = (
    Output(name="y", columns=("a", "b")),
    Output(name="y", columns=("a", "b"), units=("", "mm")),
)


@pytest.mark.parametrize(
    ("output", "error", "agrees"),
    [
        (COMMON_SCALE, 0.9e-2, True),
        (COMMON_SCALE, 1.1e-2, False),
        (SEPARATE_SCALES, 0.9e-6, True),
        (SEPARATE_SCALES, 1.1e-6, False),
    ],
)
def test_tolerance_is_relative_to_the_scale(output: Output, error: float, agrees: bool) -> None:
    truth = torch.tensor([[100.0, 0.01], [50.0, 0.005]], dtype=torch.float64)  # scales 100 together; 100 and 0.01
    wrong = truth + torch.tensor([[0.0, 0.0], [0.0, error]], dtype=torch.float64)
    if agrees:
        parity = compare([{"y": truth}], [{"y": wrong}], [output])
        assert parity["absolute"]["y"] == pytest.approx(error)
        assert parity["relative"]["y"] == pytest.approx(error / (0.01 if output.units else 100))
    else:
        with pytest.raises(Mismatch):
            compare([{"y": truth}], [{"y": wrong}], [output])


def test_zeros_agree_with_zeros_and_nan_with_nothing() -> None:
    zeros = torch.zeros(4, 2)
    assert compare([{"y": zeros}], [{"y": zeros}], [COMMON_SCALE])["relative"] == {"y": 0}
    with pytest.raises(Mismatch):
        compare([{"y": zeros}], [{"y": zeros + torch.nan}], [COMMON_SCALE])
    with pytest.raises(Mismatch, match=r"\(4, 1\)"):
        compare([{"y": zeros}], [{"y": zeros[:, :1]}], [COMMON_SCALE])
    with pytest.raises(Diverged):
        compare([{"y": zeros + torch.inf}], [{"y": zeros + torch.inf}], [COMMON_SCALE])
