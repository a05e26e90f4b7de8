"""Linear probe and k-NN probe: frozen features of a pretrained network.

A strong baseline with few images: the pretrained features are not changed by them.
Source: Donahue et al. 2014, "DeCAF"; Kornblith, Shlens and Le 2019, "Do better ImageNet models transfer better?".
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from snellen.architectures import ARCHITECTURES
from snellen.architectures.architecture import Architecture, InitSettings
from snellen.architectures.pretrained import MissingWeights, check_weights, load_pretrained
from snellen.core.errors import UsageError, suggest_name
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Classes, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled, Samples
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.classify.task import TASK, labels_unsupported

BATCH_SIZE = 64  # images per forward pass
INVERSE_PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)  # values of C compared on the validation split
K_VALUES = (1, 3, 5, 9, 15)  # values of k compared on the validation split


@settings
class ProbeSettings:
    """Settings of the probe: pretrained encoder and classifier head."""

    encoder: str = "resnet18"
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
        self.network = network
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


def check_requirements(c: ProbeSettings, spec: Spec) -> None:
    if c.init.initial_weights is None:
        raise UsageError("A probe needs a pretrained network", "Give --pretrained published, a run, or a file.")
    try:
        check_weights(encoder_architecture(c), c.init)
    except MissingWeights as missing:
        raise MissingWeights(missing.cause, f"{missing.remedy.split(';')[0]}; or give --pretrained RUN.") from None


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
    train, validation = data.samples("train", run.device), data.samples("val", run.device)
    x, y = extract_features(model.features, train)
    validation_x, validation_y = extract_features(model.features, validation)
    if isinstance(model, LinearProbe):
        _fit_logistic_regression(c, model, (x, y), (validation_x, validation_y), run)
        return
    model.kept = nn.functional.normalize(x)
    model.votes = nn.functional.one_hot(y, model.votes.shape[1]).float()
    choices = [k for k in K_VALUES if k <= len(x)] if c.k is None else [min(c.k, len(x))]
    nearest = nn.functional.normalize(validation_x)
    correct = [float((model.vote(nearest, k).argmax(1) == validation_y).float().sum()) for k in choices]
    model.k.fill_(choices[correct.index(max(correct))])
    run.notes["k"] = int(model.k)
    model.to(run.device)


def extract_features(features: FeatureExtractor, samples: Samples) -> tuple[Tensor, Tensor]:
    """Features (N, F) float32 and classes (N,) of a split."""
    parts, truth = [torch.zeros(0, features.width)], [torch.zeros(0, dtype=torch.int64)]
    with torch.inference_mode():
        for batch in samples.in_order(BATCH_SIZE):
            parts.append(features(batch.x).float().cpu())
            truth.append(batch.y.cpu())
    return torch.cat(parts).clone(), torch.cat(truth).clone()


def _fit_logistic_regression(
    c: ProbeSettings, model: LinearProbe, train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], run: Run
) -> None:
    """Fit scikit-learn's logistic regression to standardised features; the weights include the standardisation."""
    from sklearn.linear_model import LogisticRegression

    x, y = train
    mean, std = x.double().mean(0), x.double().std(0, correction=0).clamp(min=1e-6)
    standard = ((x.double() - mean) / std).numpy()
    validation_x = ((validation[0].double() - mean) / std).numpy()
    best_score, best_regression = -1.0, None
    for inverse_penalty in INVERSE_PENALTIES if c.C is None and len(validation_x) else (c.C or 1.0,):
        regression = LogisticRegression(C=inverse_penalty, max_iter=1000).fit(standard, y.numpy())
        correct = float(regression.score(validation_x, validation[1].numpy())) if len(validation_x) else 0.0
        if correct > best_score:
            best_score, best_regression = correct, regression
            run.notes["strength"] = inverse_penalty
    assert best_regression is not None
    weight, bias = torch.from_numpy(best_regression.coef_), torch.from_numpy(best_regression.intercept_)
    if len(weight) == 1:  # for two classes scikit-learn returns one row
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    present = torch.from_numpy(best_regression.classes_).long()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.fill_(-1e4)  # a class without a sample is never predicted
        model.head.weight[present] = (weight / std).to(model.head.weight)
        model.head.bias[present] = (bias - (weight / std) @ mean).to(model.head.bias)


LEARNER = Learner[ProbeSettings, Dataset[Labelled], LinearProbe | KNNProbe](
    name="probe",
    summary="Linear probe: logistic regression or k-NN on frozen features of a pretrained network.",
    source="Donahue et al. 2014",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=ProbeSettings,
    unsupported_reason=labels_unsupported,
    check_requirements=check_requirements,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
    stoppable=False,
)
