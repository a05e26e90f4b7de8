"""Networks that carry their state: a new sequence begins without any part of the one before."""

from __future__ import annotations

import torch

from snellen.nn.dense.step_recurrent import StepRecurrent
from snellen.nn.recurrent import gru_layer
from snellen.nn.streaming import forget, with_carried_state


def test_all_layers_forget_the_sequence_before() -> None:
    torch.manual_seed(0)
    network = StepRecurrent(gru_layer, 2, 4, 3, 3, causal=True).eval()
    carried = with_carried_state(network)
    assert carried is not None
    x = torch.randn(2, 1, 9, 2)
    with torch.no_grad():
        for sequence in x:
            steps = torch.cat([carried(step) for step in sequence.split(1, 1)], 2)
            torch.testing.assert_close(steps, network(sequence))
            forget(carried)
