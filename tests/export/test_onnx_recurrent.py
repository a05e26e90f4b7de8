"""Recurrent layers in ONNX: sequences of any length, against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim, export

from snellen.export.onnx_recurrent import OnnxRecurrent, translations, with_onnx_recurrent_layers
from snellen.nn.dense.step_recurrent import StepRecurrent
from snellen.nn.dense.step_window import StepWindow
from snellen.nn.recurrent import GRU, LSTM, RNN, gru_layer

NETWORKS = {
    "gru": lambda: GRU(2, 5, 2, 3),
    "lstm": lambda: LSTM(2, 5, 2, 3),
    "rnn": lambda: RNN(2, 5, 2, 3, form="lecture"),
    "steps": lambda: StepRecurrent(gru_layer, 2, 4, 2, 3),
    "window": lambda: StepWindow(2, 4, (5,), 3),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_reads_any_length(name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    net = NETWORKS[name]().eval()
    axes = ({0: Dim("batch"), 1: Dim("time", min=3)},)
    with torch.no_grad():
        program = export(with_onnx_recurrent_layers(net), (torch.randn(4, 7, 2),), dynamic_shapes=axes, strict=False)
        converted = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=axes,
            verbose=False,
            custom_translation_table=translations(program),
        )
        assert converted is not None
        session = onnxruntime.InferenceSession(converted.model_proto.SerializeToString())
        for steps in (1, 2, 7, 31):
            x = torch.randn(3, steps, 2)
            x[0, steps // 2 + 1 :] = torch.nan  # ends earlier
            (y,) = session.run(None, {"input": x.numpy()})
            np.testing.assert_allclose(y, net(x).numpy(), atol=1e-6)


def test_layers_that_onnx_would_compute_otherwise_are_refused() -> None:
    with pytest.raises(TypeError, match="one direction"):
        OnnxRecurrent(nn.GRU(2, 3, batch_first=True, bidirectional=True))
