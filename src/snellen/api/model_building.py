"""Building the model of a run, and its number of CPU threads."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from snellen.api.lookup import AnyLearner, is_builtin
from snellen.api.run_options import physical_memory
from snellen.core import model_state
from snellen.core.errors import DataError, EnvironmentProblem, UsageError, first_line
from snellen.core.random import seeded, skip_init
from snellen.core.record import Record
from snellen.core.spec import Preprocessing, Scenic, Spec
from snellen.data.image_size import input_shape
from snellen.nn.flops import FlopCounter

SMALL_NETWORK = 2_000_000  # operations per input, below which a network is trained on one thread
SMALL_BATCH = 200_000_000  # multiply-adds of a batch, below which it is predicted on one thread


def build(learner: AnyLearner, settings: Any, record: Record, tensors: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Build the untrained model of a run; first on the meta device, as a record may describe too large a model.

    Args:
        tensors: the weights to load next; their shapes are checked first, and built-in models skip initialisation.
    Raises:
        EnvironmentProblem: where memory is too small.
        DataError: where the record describes no model, or not that of `tensors`.
    """
    meta_model = build_on_meta(learner, settings, record.spec, record.seed)
    if meta_model is not None:
        needed = sum(t.numel() * t.element_size() for t in meta_model.state_dict().values())
        if needed > physical_memory():
            raise EnvironmentProblem(
                f"{learner.name} needs {needed:,} bytes, more than the memory of this machine",
                "Use a smaller model or smaller images.",
            )
        if tensors is not None:
            model_state.check_weights(meta_model, tensors, f"The weights of the run, trained with {learner.name},")
    skips_init = tensors is not None and is_builtin(learner)
    with seeded(record.seed, "build"), skip_init() if skips_init else contextlib.nullcontext():
        model: nn.Module = learner.build(settings, record.spec)
    return model


def build_on_meta(learner: AnyLearner, settings: Any, spec: Spec, seed: int) -> nn.Module | None:
    """Build the model on the meta device; None where a custom learner cannot be built there.

    Raises:
        DataError: where a built-in learner cannot be built.
    """
    try:
        with seeded(seed, "build"), skip_init(), torch.device("meta"):  # initialising there would load torch's compiler
            model: nn.Module = learner.build(settings, spec)
        return model
    except (EnvironmentProblem, UsageError):
        raise
    except Exception as error:  # a damaged record can raise anything
        if is_builtin(learner):
            raise DataError(
                f"{learner.name} cannot be built for {spec.name}: {first_line(error)}", "Check its settings."
            ) from error
        return None


def suitable_threads(model: nn.Module | None, spec: Spec, preprocessing: Preprocessing) -> int:
    """Largest suitable number of threads: one for a small network, where distributing work takes longer than the work.

    Two threads reduce the time of a small network by a third at best. Where another process uses one of the cores, they
    increase it fifteenfold: each of the many short waits then lasts a time slice.

    Args:
        model: on the meta device; None where it cannot be built there.
    """
    shape = input_shape(spec, preprocessing)
    if isinstance(spec.target, Scenic):  # dense targets use all cores
        return torch.get_num_threads()
    if model is None or any(hasattr(module, "variable_length") for module in model.modules()):
        return torch.get_num_threads()
    is_small = sum(p.numel() for p in model.parameters()) < SMALL_NETWORK // 2  # each is multiplied
    if is_small:  # in real memory: on the meta device torch would load its compiler
        probe = copy.deepcopy(model)._apply(lambda t: torch.empty(t.shape, dtype=t.dtype)).eval()  # type: ignore[no-untyped-call]
        with contextlib.suppress(Exception), torch.no_grad(), FlopCounter() as counter:  # it may have no forward pass
            probe(torch.empty(1, *shape))
        is_small = counter.count < SMALL_NETWORK
    return 1 if is_small else torch.get_num_threads()


def prediction_threads(multiply_adds: float) -> int:
    """Number of threads for predicting a batch: one for little work.

    Where other processes use the cores, two threads took 1.7 to 13 times as long as one (medians, from 10 M
    multiply-adds up); the limit was not measured on an idle machine.

    Args:
        multiply_adds: of the whole batch.
    """
    return 1 if multiply_adds < SMALL_BATCH else torch.get_num_threads()
