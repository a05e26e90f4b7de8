"""A served model of sequences: JSON requests, their errors, and the description."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import snellen
from snellen.api import RunOptions, TrainedRun
from snellen.core.errors import DataError
from snellen.data.formats import OpenOptions
from snellen.modalities.modality import MalformedJSON, TooManyInputs
from snellen.serving.description import info, openapi
from snellen.serving.limits import Limits, limits
from snellen.serving.request import content_types, inputs


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    folder = tmp_path_factory.mktemp("sequences")
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = rng.normal(size=(60, 8, 3)) + np.linspace(0, 1, 8)[:, None] * y[:, None, None]
    np.savez(folder / "signals.npz", x=x.astype(np.float32), y=y)
    options = RunOptions(threads=1, report=False)
    return snellen.train(folder / "signals.npz", "gru", out=folder / "run", options=options, epochs=2, hidden_size=4)


def read(trained: TrainedRun, plain: object, chosen: Limits | None = None) -> list[tuple[str, np.ndarray]]:
    body = json.dumps(plain).encode()
    batches = inputs(body, "application/json", trained.spec, trained.record.preprocessing, chosen or Limits())
    return [(name, x.numpy()) for names, batch in batches for name, x in zip(names, batch, strict=True)]


def test_sequences_of_a_request_are_predicted_as_those_of_a_file(trained: TrainedRun, tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(3, 8, 3)).astype(np.float32)
    sent = read(trained, {"sequences": x.tolist()})
    assert [name for name, _ in sent] == ["body[0]", "body[1]", "body[2]"]
    assert all(np.array_equal(a, b) for (_, a), b in zip(sent, x, strict=True))
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x[0])
    of_files = list(trained.predict_files([tmp_path / "x.npy", tmp_path / "x.npz"]))
    names = [prediction.pop("input") for prediction in of_files]
    assert names == [*(f"{tmp_path}/x.npy[{k}]" for k in range(3)), f"{tmp_path}/x.npz: x"]
    of_batch = trained.predict_batch(trained.model.network.standardize.mean.new_tensor(x).float())  # type: ignore[union-attr, operator]
    assert [p["class"] for p in of_files[:3]] == [p["class"] for p in of_batch]
    assert of_files[3]["class"] == of_files[0]["class"]


@pytest.mark.parametrize(
    ("plain", "error"),
    [
        ({"rows": []}, MalformedJSON),
        ({"sequences": []}, MalformedJSON),
        ([[[1.0] * 3] * 8], MalformedJSON),
        ({"sequences": [[[1.0] * 3] * 7]}, DataError),
        ({"sequences": [[[1.0] * 2] * 8]}, DataError),
        ({"sequences": [[[1.0] * 3] * 7 + [[1.0]]]}, DataError),
        ({"sequences": [[["x"] * 3] * 8]}, DataError),
        ({"sequences": [[[1e999] * 3] * 8]}, DataError),
        ({"sequences": [3]}, DataError),
    ],
)
def test_other_requests_have_an_error(trained: TrainedRun, plain: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        read(trained, json.loads(json.dumps(plain).replace("Infinity", "1e999")))


def test_the_number_of_sequences_is_limited(trained: TrainedRun) -> None:
    with pytest.raises(TooManyInputs, match="more than 2 sequences"):
        read(trained, {"sequences": [[[1.0] * 3] * 8] * 3}, Limits(max_inputs=2))


def test_the_description_names_steps_and_features(trained: TrainedRun) -> None:
    assert content_types(trained.spec) == ("multipart/form-data", "application/json")
    described = info(trained, "0", limits(trained.spec, {}))["input"]
    assert (described["modality"], described["steps"], described["features"]) == ("sequence", 8, 3)
    bodies = openapi(trained, Limits())["paths"]["/predict"]["post"]["requestBody"]["content"]
    schema = bodies["application/json"]["schema"]["properties"]["sequences"]["items"]
    assert (schema["minItems"], schema["maxItems"], schema["items"]["minItems"]) == (8, 8, 3)


def test_files_of_other_arrays_have_an_error(trained: TrainedRun, tmp_path: Path) -> None:
    np.save(tmp_path / "short.npy", np.zeros((2, 7, 3)))
    np.save(tmp_path / "nan.npy", np.full((2, 8, 3), np.nan))
    np.save(tmp_path / "text.npy", np.full((2, 8, 3), "a"))
    np.savez(tmp_path / "none.npz", a=np.zeros(3))
    (tmp_path / "damaged.npy").write_bytes(b"\x93NUMPY")
    np.save(tmp_path / "good.npy", np.zeros((1, 8, 3)))
    predictions = []
    with pytest.raises(DataError) as error:
        predictions += list(trained.predict_files([tmp_path]))
    for name in ("short.npy", "nan.npy", "text.npy", "none.npz", "damaged.npy"):
        assert name in error.value.cause


@pytest.mark.parametrize("model", ["knn", "svm", "lda", "softmax", "perceptron", "bases", "residual-mlp"])
@pytest.mark.parametrize("shape", [(8, 3), (3, 3)])
def test_models_of_vectors_read_the_flat_sequence(model: str, shape: tuple[int, int], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(90) % 2
    x = rng.normal(size=(90, *shape)) * np.array([1.0, 30.0, 0.01]) + 5 * y[:, None, None] * np.array([1.0, 0, 0])
    np.savez(tmp_path / "signals.npz", x=x.astype(np.float32), y=y)
    data = snellen.dataset(tmp_path / "signals.npz", options=OpenOptions(modality="sequence"))
    run = snellen.train(data, model, out=tmp_path / "run", options=RunOptions(threads=1, report=False))
    assert (run.metrics["accuracy"].value or 0) > 0.9
