"""Linear probe and k-NN probe: frozen features of a pretrained network.

A strong baseline with few images: the pretrained features are not changed by them.
Source: Donahue et al. 2014, "DeCAF"; Kornblith, Shlens and Le 2019, "Do better ImageNet models transfer better?".
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from snellen.architectures import ARCHITECTURES
from snellen.architectures.architecture import PUBLISHED, Architecture, InitSettings
from snellen.architectures.efficientnet import EFFICIENTNET_LITE0, suggest_image_size
from snellen.architectures.pretrained import MissingWeights, check_weights, load_pretrained
from snellen.core.errors import UsageError, suggest_name
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Classes, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled, Samples
from snellen.data.image_size import fixed_input_size
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.classify.task import TASK, as_predictions, labels_unsupported
from snellen.training.time_limit import require_time
from snellen.training.trial_steps import LONG_TRAINING, format_expected

MANY_IMAGES = 200  # from which the time of their features is measured without a time limit, to print it
TRIAL_IMAGES = 8  # whose time is measured
BATCH_SIZE = 16  # images per forward pass; larger feature maps do not fit into the cache of a CPU
# Values of C compared on the validation split; with a time limit the last ones may not be tried.
INVERSE_PENALTIES = (0.003, 0.01, 0.001, 0.03, 3e-4, 0.1, 1e-4, 0.3, 1.0, 10.0)
VOTE_BLOCK = 1024  # training samples whose neighbours are searched at once
K_VALUES = (1, 3, 5, 9, 15)  # values of k compared on the validation split


@settings
class ProbeSettings:
    """Settings of the probe: pretrained encoder and classifier head."""

    encoder: str = "efficientnet-lite0"
    """Encoder: name of the architecture whose features are used."""
    head: Literal["logistic", "neighbours"] = "logistic"
    """Classifier head: logistic regression, or k nearest neighbours by cosine similarity."""
    C: Annotated[float, Limit(above=0)] | None = None
    """C of the logistic regression, the inverse of its L2 penalty; auto: chosen on the validation split."""
    k: Annotated[int, Limit(min=1)] | None = None
    """Number of nearest neighbours; auto: chosen on the validation split."""
    init: InitSettings = InitSettings(pretrained="published")


class FeatureExtractor(nn.Module):
    """Feature extractor: a network without its last linear layer, (B, ...) raw inputs to (B, F)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        heads = [(name, layer) for name, layer in network.body.named_modules() if isinstance(layer, nn.Linear)]
        name, head = heads[-1]
        self.width = head.in_features
        owner, _, place = name.rpartition(".")
        setattr(network.body.get_submodule(owner), place, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x)
        return y.flatten(1)


class LinearProbe(nn.Module):
    """Linear probe: logistic regression on frozen features."""

    probabilistic = True

    def __init__(self, features: FeatureExtractor, classes: int) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Linear(features.width, classes)

    def scores(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.features(x))
        return y


class KNNProbe(nn.Module):
    """k-NN probe: vote of the training samples with the highest cosine similarity of features.

    kept: (N, F) features of unit length. votes: (N, K) zeros and ones.
    """

    probabilistic = True
    variable_length = ("kept", "votes")
    kept: Tensor
    votes: Tensor
    k: Tensor

    def __init__(self, features: FeatureExtractor, classes: int) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("kept", torch.zeros(0, features.width))
        self.register_buffer("votes", torch.zeros(0, classes))
        self.register_buffer("k", torch.ones((), dtype=torch.int64))

    def scores(self, x: Tensor) -> Tensor:
        return self.vote(nn.functional.normalize(self.features(x)), int(self.k))

    def vote(self, features: Tensor, k: int) -> Tensor:
        """(B, F) features of unit length to (B, K) log-probabilities, with 1/K of a vote added to each class."""
        nearest = (features @ self.kept.T).topk(k, dim=1).indices  # (B, k)
        votes = self.votes[nearest].sum(1)
        classes = self.votes.shape[1]
        return torch.log((votes + 1 / classes) / (k + 1))


def encoder_architecture(c: ProbeSettings) -> Architecture[object]:
    if c.encoder not in ARCHITECTURES:
        raise UsageError(f"Unknown encoder {c.encoder!r}", suggest_name(c.encoder, list(ARCHITECTURES)))
    return ARCHITECTURES[c.encoder]


def suggest(spec: Spec) -> dict[str, Suggestion]:
    def applies(others: Mapping[str, Any]) -> bool:
        is_default = bool(others.get("encoder", EFFICIENTNET_LITE0.name) == EFFICIENTNET_LITE0.name)
        return is_default and bool(others.get("pretrained", PUBLISHED) == PUBLISHED)

    return {"image_size": suggest_image_size(spec, applies)}


def check_requirements(c: ProbeSettings, spec: Spec) -> None:
    if c.init.initial_weights is None:
        raise UsageError("A probe needs a pretrained network", "Give --pretrained published, a run, or a file.")
    try:
        check_weights(encoder_architecture(c), c.init)
    except MissingWeights as missing:
        remedy = missing.remedy.removesuffix("use --from-scratch.")
        raise MissingWeights(missing.cause, f"{remedy}give --pretrained RUN with its --encoder.") from None


def preprocessing_of(c: ProbeSettings, spec: Spec) -> Preprocessing:
    return encoder_architecture(c).preprocessing_of(c.init, spec)


def build(c: ProbeSettings, spec: Spec) -> LinearProbe | KNNProbe:
    assert isinstance(spec.target, Classes)
    architecture, preprocessing = encoder_architecture(c), preprocessing_of(c, spec)
    assert preprocessing.size is not None
    assert preprocessing.channels is not None
    classes = len(spec.target.names)
    body = architecture.body(architecture.settings(), (preprocessing.channels, *preprocessing.size), classes)
    features = FeatureExtractor(Network(Standardize(spec.input, preprocessing.channels), body))
    return LinearProbe(features, classes) if c.head == "logistic" else KNNProbe(features, classes)


def fit(c: ProbeSettings, data: Dataset[Labelled], model: LinearProbe | KNNProbe, run: Run) -> None:
    """Extract the features once, then fit the logistic regression or store the neighbours."""
    load_pretrained(encoder_architecture(c), c.init, model.features.network, run)
    model.to(run.device).eval()
    check_time(model.features, data, run)
    train, validation = data.samples("train", run.device), data.samples("val", run.device)
    x, y = extract_features(model.features, train)
    validation_x, validation_y = extract_features(model.features, validation)
    if isinstance(model, LinearProbe):
        fit_logistic_regression(c, model, (x, y), (validation_x, validation_y), run)
        with torch.no_grad():
            run.training_predictions = as_predictions(model, model.head(x.to(run.device)), y, train.ids)
        return
    model.kept = nn.functional.normalize(x)
    model.votes = nn.functional.one_hot(y, model.votes.shape[1]).float()
    choices = [k for k in K_VALUES if k <= len(x)] if c.k is None else [min(c.k, len(x))]
    nearest = nn.functional.normalize(validation_x)
    correct = [float((model.vote(nearest, k).argmax(1) == validation_y).float().sum()) for k in choices]
    model.k.fill_(choices[correct.index(max(correct))])
    run.notes["k"] = int(model.k)
    parts = [model.vote(part, int(model.k)) for part in torch.split(model.kept, VOTE_BLOCK)]
    run.training_predictions = as_predictions(model, torch.cat(parts), y, train.ids)
    model.to(run.device)


def check_time(features: FeatureExtractor, data: Dataset[Labelled], run: Run) -> None:
    """Check on a few images that the features of the training and validation images fit into the time limit; without
    a limit, print the time of many.

    Raises:
        TooLittleTime: if not.
    """
    ids = data.splits["train"][:TRIAL_IMAGES].numpy()
    count = len(data.splits["train"]) + len(data.splits["val"])
    if run.seconds_left is None and count < MANY_IMAGES:
        return
    with torch.inference_mode():
        features(data.source.read(ids[:1], data.preprocessing).to(run.device))  # the first call prepares the kernels
        started = time.monotonic()
        features(data.source.read(ids, data.preprocessing).to(run.device))
    seconds = (time.monotonic() - started) * count / max(len(ids), 1)
    if run.seconds_left is None and seconds > LONG_TRAINING:
        run.message(f"The features of {count:,} images take about {format_expected(seconds)}.")
    remedy = "Give more time, a smaller --image-size, or a smaller --encoder."
    require_time(run, seconds, f"The features of {count:,} images", remedy)


def extract_features(features: FeatureExtractor, samples: Samples) -> tuple[Tensor, Tensor]:
    """Features (N, F) float32 and classes (N,) of a split."""
    parts, truth = [torch.zeros(0, features.width)], [torch.zeros(0, dtype=torch.int64)]
    with torch.inference_mode():
        for batch in samples.in_order(BATCH_SIZE):
            parts.append(features(batch.x).float().cpu())
            truth.append(batch.y.cpu())
    return torch.cat(parts).clone(), torch.cat(truth).clone()


def fit_logistic_regression(
    c: ProbeSettings, model: LinearProbe, train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], run: Run
) -> None:
    """Fit scikit-learn's logistic regression to standardised features; the weights include the standardisation.

    C is that with the lowest log loss on the validation split: the accuracy of few images is the same for many. With a
    time limit, fewer values are tried.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    x, y = train
    mean, std = x.double().mean(0), x.double().std(0, correction=0).clamp(min=1e-6)
    standard = ((x.double() - mean) / std).numpy()
    present = np.unique(y.numpy())
    known = np.isin(validation[1].numpy(), present)  # of a class without a training sample the loss is infinite
    validation_x = ((validation[0].double() - mean) / std).numpy()[known]
    validation_y = validation[1].numpy()[known]
    lowest, best_regression = np.inf, None
    for inverse_penalty in INVERSE_PENALTIES if c.C is None and len(validation_x) else (c.C or 1.0,):
        started = time.monotonic()
        regression = LogisticRegression(C=inverse_penalty, max_iter=1000).fit(standard, y.numpy())
        loss = 0.0
        if len(validation_x):
            loss = log_loss(validation_y, regression.predict_proba(validation_x), labels=present)
        if loss < lowest:
            lowest, best_regression = loss, regression
            run.notes["strength"] = inverse_penalty
        if run.seconds_left is not None and 2 * (time.monotonic() - started) > run.seconds_left:
            break
    assert best_regression is not None
    weight, bias = torch.from_numpy(best_regression.coef_), torch.from_numpy(best_regression.intercept_)
    if len(weight) == 1:  # for two classes scikit-learn returns one row
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    classes = torch.from_numpy(present)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.fill_(-1e4)  # a class without a sample is never predicted
        model.head.weight[classes] = (weight / std).to(model.head.weight)
        model.head.bias[classes] = (bias - (weight / std) @ mean).to(model.head.bias)


LEARNER = Learner[ProbeSettings, Dataset[Labelled], LinearProbe | KNNProbe](
    name="probe",
    summary="Linear probe: logistic regression or k-NN on frozen features of a pretrained network.",
    source="Donahue et al. 2014",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=ProbeSettings,
    suggest=suggest,
    unsupported_reason=labels_unsupported,
    check_requirements=check_requirements,
    preprocessing_of=preprocessing_of,
    input_size=lambda c, spec: fixed_input_size(preprocessing_of(c, spec)),
    build=build,
    fit=fit,
    stoppable=False,
)
