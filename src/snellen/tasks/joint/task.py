"""Joint task: several targets of each sample, such as a class and a number, predicted together.

Each target is measured by the task that it has alone. The headline is the mean skill over the targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from snellen.architectures.defaults import default_for
from snellen.core.errors import Diverged
from snellen.core.run import Run
from snellen.core.spec import Classes, Labels, Numbers, Several, Spec
from snellen.core.task import Diagnosis, Display, ExportedModel, Output, PredictionDict, Predictions, Task
from snellen.core.views import Finding, Metric, Table, View
from snellen.data.dataset import Dataset, Labelled, truth_of, with_one_target
from snellen.metrics.intervals import add_interval
from snellen.modalities.sample_views import samples_view
from snellen.tasks.classify.task import TASK as CLASSIFY
from snellen.tasks.regress.task import TASK as REGRESS

HEADLINE = "mean skill"
MAX_WORST = 12  # samples shown


class JointPredictor(Protocol):
    """Interface of a model of this task."""

    def outputs(self, x: Tensor, /) -> Mapping[str, Tensor]:
        """(B, ...) raw inputs to an output for each target: (B, K) logits of classes or labels, (B, T) numbers in the
        user's units.
        """


class OneTarget(nn.Module):
    """One target of a joint predictor, as a classifier or a regressor."""

    probabilistic = True

    def __init__(self, model: JointPredictor, name: str) -> None:
        super().__init__()
        self.model = model
        self.name = name

    def scores(self, x: Tensor) -> Tensor:
        return self.model.outputs(x)[self.name]

    def predict(self, x: Tensor) -> Tensor:
        return self.model.outputs(x)[self.name]


class Given(nn.Module):
    """Outputs that are already computed, as a classifier or a regressor."""

    probabilistic = True

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = values

    def scores(self, x: Tensor) -> Tensor:
        return self.values

    predict = scores


def parts_of(spec: Spec) -> Mapping[str, Classes | Labels | Numbers]:
    """The targets by name."""
    assert isinstance(spec.target, Several)
    return spec.target.parts


def each_task(spec: Spec) -> dict[str, tuple[Task[Any, Any], Spec]]:
    """Task of each target, and the spec with this target only."""
    return {
        name: (REGRESS if isinstance(part, Numbers) else CLASSIFY, replace(spec, target=part))
        for name, part in parts_of(spec).items()
    }


def select(predictions: Predictions, name: str, spec: Spec, *, baseline: bool = False) -> dict[str, Tensor]:
    """Predictions of one target in the form of its task.

    Args:
        baseline: the constant prediction in place of the model's.
    """
    assert isinstance(spec.target, Several)
    truth = truth_of(spec.target, name, predictions["truth"])
    outputs = predictions[f"{'baseline' if baseline else 'output'} {name}"]
    common = {"truth": truth, "ids": predictions["ids"]}
    if isinstance(spec.target.parts[name], Numbers):
        return {"said": outputs, **common}
    return {"scores": outputs, "probabilistic": torch.tensor(True), **common}


def constants(data: Dataset[Labelled]) -> dict[str, Tensor]:
    """The constant prediction of each target, (1, outputs): log frequency of each class or log-odds of each label, with
    one sample added to each; the median of one number, the means of several.
    """
    result = {}
    train = data.splits["train"]
    for name, part in parts_of(data.spec).items():
        one = with_one_target(data, name)
        truth = one.truth[train]
        if isinstance(part, Numbers):
            values = truth.double()
            # Of an even count the mean of the two middle values, as NumPy's median.
            result[name] = (values.quantile(0.5, dim=0) if len(part.names) == 1 else values.mean(0))[None]
            continue
        counts = torch.tensor(part.counts, dtype=torch.float64) + 1
        if isinstance(part, Labels):
            result[name] = torch.logit(counts / (len(train) + 2))[None].float()
        else:
            result[name] = torch.log(counts / counts.sum())[None].float()
    return result


def predict(model: JointPredictor, data: Dataset[Labelled], split: str, run: Run) -> Predictions:
    """Predict all targets of every sample of a split.

    Returns:
        "output NAME" of each target, (N, K) float32 logits or (N, T) float64 numbers; "baseline NAME" of that shape,
        the constant prediction that skill is measured against; truth (N, columns), ids (N,).
    Raises:
        Diverged: when an output is not finite.
    """
    outputs: dict[str, list[Tensor]] = {name: [] for name in parts_of(data.spec)}
    truth, ids = [], []
    with torch.inference_mode():
        for batch in data.samples(split, run.device).in_order():
            for name, values in model.outputs(batch.x).items():
                outputs[name].append(values.cpu())
            truth.append(batch.y.cpu())
            ids.append(batch.ids.cpu())
    predictions = {"truth": torch.cat(truth), "ids": torch.cat(ids)}
    for name, parts in outputs.items():
        values = torch.cat(parts)
        is_numbers = isinstance(parts_of(data.spec)[name], Numbers)
        predictions[f"output {name}"] = values.double() if is_numbers else values.float()
        not_finite = torch.nonzero(~torch.isfinite(values).all(1))[:, 0]
        if len(not_finite):
            sample = data.name(int(predictions["ids"][not_finite[0]]))
            raise Diverged(
                f"{len(not_finite)} of {len(values)} predictions of {name} are NaN or infinite, first: {sample}",
                "Train with a smaller --lr, and check that sample.",
            )
    count = len(predictions["ids"])
    return predictions | {f"baseline {name}": v.expand(count, -1).contiguous() for name, v in constants(data).items()}


def both_errors(predictions: Predictions, spec: Spec) -> tuple[Tensor, Tensor]:
    """(N, targets) float64 errors of the model, and of the constant prediction, as the task of each target defines."""
    ours, theirs = [], []
    for name, (task, part_spec) in each_task(spec).items():
        ours.append(task.errors(select(predictions, name, spec), part_spec))
        theirs.append(task.errors(select(predictions, name, spec, baseline=True), part_spec))
    return torch.stack(ours, 1), torch.stack(theirs, 1)


def mean_skill(ours: Tensor, theirs: Tensor) -> Tensor:
    """Mean over the targets of 1 − error / error of the constant prediction.

    Args:
        ours, theirs: (..., N, targets) errors.
    Returns:
        (...,); NaN where the constant prediction has no error in one target.
    """
    reference = theirs.mean(-2)
    skill = 1 - ours.mean(-2) / reference
    return torch.where(reference > 0, skill, torch.nan).mean(-1)


def measure(predictions: Predictions, spec: Spec) -> dict[str, Metric]:
    """The mean skill; then skill and metrics of each target."""
    if not len(predictions["truth"]):
        return {HEADLINE: Metric(value=None, reason="the split is empty")}
    ours, theirs = both_errors(predictions, spec)
    metrics: dict[str, Metric] = {HEADLINE: _skill(ours, theirs, list(parts_of(spec)))}
    for k, (name, (task, part_spec)) in enumerate(each_task(spec).items()):
        metrics[f"skill of {name}"] = _skill(ours[:, k : k + 1], theirs[:, k : k + 1], [name])
        for metric, value in task.measure(select(predictions, name, spec), part_spec).items():
            metrics[metric if metric.endswith(f" of {name}") else f"{metric} of {name}"] = value
    return metrics


def _skill(ours: Tensor, theirs: Tensor, names: list[str]) -> Metric:
    perfect = [name for name, error in zip(names, theirs.mean(0).tolist(), strict=True) if not error > 0]
    if perfect:
        return Metric(value=None, percent=True, reason=f"a constant predicts {perfect[0]} without error in this split")
    metric = Metric(value=float(mean_skill(ours, theirs)), percent=True, over="samples")
    return add_interval(metric, lambda rows: mean_skill(ours[rows], theirs[rows]), len(ours))


def errors(predictions: Predictions, spec: Spec) -> Tensor:
    """(N,) error of each sample in units of the constant prediction's, averaged over targets; its mean is 1 − skill."""
    ours, theirs = both_errors(predictions, spec)
    reference = theirs.mean(0)
    return (ours / torch.where(reference > 0, reference, torch.ones_like(reference))).mean(1)


def resampled_headline(predictions: Predictions, spec: Spec) -> Callable[[Tensor], Tensor]:
    """Mean skill of resampled samples, a function of (R, n) rows."""
    ours, theirs = both_errors(predictions, spec)
    return lambda rows: mean_skill(ours[rows], theirs[rows])


def worst(predictions: Predictions, spec: Spec, count: int) -> Tensor:
    """Rows of the largest errors, largest first; only those with an error."""
    sample_errors = errors(predictions, spec)
    order = torch.argsort(sample_errors, descending=True, stable=True)[:count]
    return order[sample_errors[order] > 0]


def truth(data: Dataset[Labelled], id: int) -> dict[str, Any]:
    """Ground truth of a sample: {target: class, labels or number}."""
    result: dict[str, Any] = {}
    for name, (task, _) in each_task(data.spec).items():
        one = task.truth(with_one_target(data, name), id)
        result |= one if task is REGRESS else {name: one}
    return result


def predict_batch(model: JointPredictor, x: Tensor, spec: Spec) -> list[PredictionDict]:
    """Predict a batch: {target: {"class", "probabilities"}, other target: number}."""
    with torch.inference_mode():
        outputs = model.outputs(x)
    result: list[PredictionDict] = [{} for _ in next(iter(outputs.values()))]
    for name, (task, part_spec) in each_task(spec).items():
        predicted = task.predict_batch(Given(outputs[name]), x, part_spec)
        for row, one in zip(result, predicted, strict=True):
            row.update(one if task is REGRESS else {name: one})
    return result


def of_target(prediction: PredictionDict, name: str, task: Task[Any, Any]) -> PredictionDict:
    """Prediction of one target in the form of its task."""
    one: PredictionDict = prediction if task is REGRESS else prediction[name]
    return one


def views(predictions: Predictions, data: Dataset[Labelled], spec: Spec) -> list[View]:
    """Skill of each target, then the views of its own task, and the samples with the largest errors over all."""
    metrics = measure(predictions, spec)
    rows = []
    for name, (task, part_spec) in each_task(spec).items():
        own = task.headline(part_spec)
        value = metrics.get(f"{own} of {name}")
        baseline = task.measure(select(predictions, name, spec, baseline=True), part_spec).get(own)
        rows.append([name, own, str(value), str(baseline), str(metrics[f"skill of {name}"])])
    columns = ["target", "metric", "this model", "constant prediction", "skill"]
    caption = "Skill is 1 − error / error of the constant prediction: 0 for the constant prediction, 1 without error."
    result: list[View] = [Table(title="Targets", columns=columns, rows=rows, caption=caption)]
    for name, (task, part_spec) in each_task(spec).items():
        own_views = task.views(select(predictions, name, spec), with_one_target(data, name), part_spec)
        result += [replace(view, title=f"{name}: {view.title.removeprefix(f'{name}: ')}") for view in own_views]
    order = worst(predictions, spec, MAX_WORST)
    by_target = [_truth_and_prediction(select(predictions, n, spec), order, n, spec) for n in parts_of(spec)]
    remarks = ["; ".join(of_sample) for of_sample in zip(*by_target, strict=True)]
    caption = "The largest errors first, averaged over the targets."
    ids = predictions["ids"][order].tolist()
    return [*result, samples_view(data, ids, remarks, "Worst errors over all targets", caption)]


def _truth_and_prediction(one: Predictions, rows: Tensor, name: str, spec: Spec) -> list[str]:
    """Truth and prediction of a target for rows: "tern as crow", "12 as 14.5"."""
    part = parts_of(spec)[name]
    if isinstance(part, Numbers):
        numbers = zip(one["truth"][rows].tolist(), one["said"][rows].tolist(), strict=True)
        return [
            ", ".join(f"{n} {t:.4g} as {p:.4g}" for n, t, p in zip(part.names, true, predicted, strict=True))
            for true, predicted in numbers
        ]
    scores, truth = one["scores"][rows], one["truth"][rows]
    if isinstance(part, Classes):
        pairs = zip(truth.tolist(), scores.argmax(1).tolist(), strict=True)
        return [f"{name} {part.names[t]} as {part.names[p]}" for t, p in pairs]
    return [
        f"{name}: {int(wrong)} of {len(part.names)} labels wrong" for wrong in ((scores > 0) != (truth > 0.5)).sum(1)
    ]


def input_maps(model: JointPredictor, data: Dataset[Labelled], spec: Spec, split: str) -> list[View]:
    """The maps of each target, as its task makes them."""
    result: list[View] = []
    for name, (task, part_spec) in each_task(spec).items():
        maps = task.input_maps(OneTarget(model, name), with_one_target(data, name), part_spec, split)
        result += [replace(view, title=f"{name}: {view.title.removeprefix(f'{name}: ')}") for view in maps]
    return result


class ExportedJoint(nn.Module):
    """Joint predictor for export: the outputs of each target as named tensors."""

    def __init__(self, model: JointPredictor, parts: Mapping[str, Classes | Labels | Numbers]) -> None:
        super().__init__()
        self.model = model
        self.parts = dict(parts)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, ...) raw inputs to "scores NAME" and "probabilities NAME" (B, K), or "numbers NAME" (B, T)."""
        result = {}
        for name, values in self.model.outputs(x).items():
            part = self.parts[name]
            if isinstance(part, Numbers):
                result[f"numbers {name}"] = values
            else:
                result[f"scores {name}"] = values
                result[f"probabilities {name}"] = values.sigmoid() if isinstance(part, Labels) else values.softmax(1)
        return result


def export(model: JointPredictor, spec: Spec) -> ExportedModel:
    outputs: list[Output] = []
    for name, part in parts_of(spec).items():
        if isinstance(part, Numbers):
            units = part.units or ("",) * len(part.names)
            outputs.append(Output(name=f"numbers {name}", columns=part.names, units=units))
        else:
            outputs += [Output(name=f"{kind} {name}", columns=part.names) for kind in ("scores", "probabilities")]
    return ExportedModel(module=ExportedJoint(model, parts_of(spec)), outputs=tuple(outputs))


def lines(prediction: PredictionDict, spec: Spec) -> list[str]:
    """The lines of each target."""
    return [
        line if task is REGRESS else f"{name} {line}"
        for name, (task, part_spec) in each_task(spec).items()
        for line in task.display.lines(of_target(prediction, name, task), part_spec)
    ]


def _described(describe: str, spec: Spec) -> str:
    return "; ".join(
        f"{name}: {getattr(task.display, describe)(part_spec)}" for name, (task, part_spec) in each_task(spec).items()
    )


def findings(predictions: Predictions, data: Dataset[Labelled], split: str, headline: float | None) -> list[Finding]:
    """Findings on each target, with its name."""
    return [
        replace(finding, message=f"{name}: {finding.message}")
        for name, (task, _) in each_task(data.spec).items()
        for finding in task.diagnosis.findings(
            select(predictions, name, data.spec), with_one_target(data, name), split, None
        )
    ]


TASK: Task[Dataset[Labelled], JointPredictor] = Task(
    name="joint",
    question="Which class and which number belong to each sample, predicted together?",
    default=partial(default_for, of_rows="residual-mlp"),
    headline=lambda spec: HEADLINE,
    applies_to=lambda spec: isinstance(spec.target, Several),
    predict=predict,
    measure=measure,
    predict_batch=predict_batch,
    errors=errors,
    resampled_headline=resampled_headline,
    worst_samples=worst,
    truth=truth,
    views=views,
    export=export,
    display=Display(
        lines=lines,
        baseline=partial(_described, "baseline"),
        outputs=partial(_described, "outputs"),
        names="targets",
        hub_names={},
    ),
    diagnosis=Diagnosis(findings=findings),
    input_maps=input_maps,
)
