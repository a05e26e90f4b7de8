"""The probe: features of a pretrained network, frozen, under logistic regression or the nearest neighbours' vote.

With few pictures the strongest baseline there is: what the network learned from many is not overwritten by few.
Source: Donahue et al. 2014, "DeCAF"; Kornblith, Shlens and Le 2019, "Do better ImageNet models transfer better?".
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from snellen.architectures import ARCHITECTURES
from snellen.architectures.architecture import Architecture, Start
from snellen.architectures.pretrained import MissingWeights, begin, there
from snellen.core.errors import UsageError, nearest
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Classes, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled, Samples
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.classify.task import TASK, one_class

BLOCK = 64  # pictures whose features are computed at once
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # C of the logistic regression that validation chooses from
NEIGHBOURS = (1, 3, 5, 9, 15)  # likewise k


@settings
class ProbeSettings:
    """Whose features, and what answers from them."""

    encoder: str = "resnet18"
    """The network, by its learner's name."""
    head: Literal["logistic", "neighbours"] = "logistic"
    """Who answers: logistic regression, or the vote of the nearest neighbours by cosine."""
    C: Annotated[float, Limit(above=0)] | None = None
    """C of the logistic regression, the inverse of its penalty; auto: chosen on validation."""
    k: Annotated[int, Limit(least=1)] | None = None
    """Neighbours; auto: chosen on validation."""
    start: Start = Start(pretrained="published")


class Features(nn.Module):
    """A network without its head. (B, ...) raw inputs to (B, F)."""

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


class Linear(nn.Module):
    """Logistic regression on the features."""

    probabilistic = True

    def __init__(self, features: Features, classes: int) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Linear(features.width, classes)

    def scores(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.features(x))
        return y


class Voting(nn.Module):
    """The vote of the training samples whose features point the same way.

    kept: (N, F) features of unit length. votes: (N, K) zeros and ones.
    """

    probabilistic = True
    grows = ("kept", "votes")
    kept: Tensor
    votes: Tensor
    k: Tensor

    def __init__(self, features: Features, classes: int) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("kept", torch.zeros(0, features.width))
        self.register_buffer("votes", torch.zeros(0, classes))
        self.register_buffer("k", torch.ones((), dtype=torch.int64))

    def scores(self, x: Tensor) -> Tensor:
        return self.vote(nn.functional.normalize(self.features(x)), int(self.k))

    def vote(self, features: Tensor, k: int) -> Tensor:
        """(B, F) of unit length to (B, K) log-shares, each class with the k-th part of a vote in hand."""
        near = (features @ self.kept.T).topk(k, dim=1).indices  # (B, k)
        share = self.votes[near].sum(1)
        classes = self.votes.shape[1]
        return torch.log((share + 1 / classes) / (k + 1))


def encoder(c: ProbeSettings) -> Architecture[object]:
    if c.encoder not in ARCHITECTURES:
        raise UsageError(f"--encoder cannot be {c.encoder!r}", nearest(c.encoder, list(ARCHITECTURES)))
    return ARCHITECTURES[c.encoder]


def needs(c: ProbeSettings, spec: Spec) -> None:
    if c.start.origin is None:
        raise UsageError("A probe looks through a pretrained network", "Give --pretrained published, a run, or a file.")
    try:
        there(encoder(c), c.start)
    except MissingWeights as missing:
        raise MissingWeights(missing.cause, f"{missing.remedy.split(';')[0]}; or give --pretrained RUN.") from None


def preprocessing_of(c: ProbeSettings, spec: Spec) -> Preprocessing:
    return encoder(c).preprocessing_of(c.start, spec)


def build(c: ProbeSettings, spec: Spec) -> Linear | Voting:
    assert isinstance(spec.target, Classes)
    architecture, preprocessing = encoder(c), preprocessing_of(c, spec)
    assert preprocessing.size is not None
    assert preprocessing.channels is not None
    classes = len(spec.target.names)
    body = architecture.body(architecture.settings(), (preprocessing.channels, *preprocessing.size), classes)
    features = Features(Network(Standardize(spec.input, preprocessing.channels), body))
    return Linear(features, classes) if c.head == "logistic" else Voting(features, classes)


def fit(c: ProbeSettings, data: Dataset[Labelled], model: Linear | Voting, run: Run) -> None:
    """Features once, then a convex problem or none."""
    begin(encoder(c), c.start, model.features.network, run)
    model.to(run.device).eval()
    train, held = data.samples("train", run.device), data.samples("val", run.device)
    x, y = described(model.features, train)
    held_x, held_y = described(model.features, held)
    if isinstance(model, Linear):
        _regress(c, model, (x, y), (held_x, held_y), run)
        return
    model.kept = nn.functional.normalize(x)
    model.votes = nn.functional.one_hot(y, model.votes.shape[1]).float()
    choices = [k for k in NEIGHBOURS if k <= len(x)] if c.k is None else [min(c.k, len(x))]
    near = nn.functional.normalize(held_x)
    right = [float((model.vote(near, k).argmax(1) == held_y).float().sum()) for k in choices]
    model.k.fill_(choices[right.index(max(right))])
    run.notes["k"] = int(model.k)
    model.to(run.device)


def described(features: Features, samples: Samples) -> tuple[Tensor, Tensor]:
    """(N, F) float32 and (N,) of a whole split."""
    found, truth = [torch.zeros(0, features.width)], [torch.zeros(0, dtype=torch.int64)]
    with torch.inference_mode():
        for batch in samples.in_order(BLOCK):
            found.append(features(batch.x).float().cpu())
            truth.append(batch.y.cpu())
    return torch.cat(found).clone(), torch.cat(truth).clone()


def _regress(
    c: ProbeSettings, model: Linear, train: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor], run: Run
) -> None:
    """Logistic regression by scikit-learn on standardised features; the standardising goes into the weights."""
    from sklearn.linear_model import LogisticRegression

    x, y = train
    mean, std = x.double().mean(0), x.double().std(0, correction=0).clamp(min=1e-6)
    standard = ((x.double() - mean) / std).numpy()
    held_x = ((held[0].double() - mean) / std).numpy()
    best, taken = -1.0, None
    for strength in STRENGTHS if c.C is None and len(held_x) else (c.C or 1.0,):
        solved = LogisticRegression(C=strength, max_iter=1000).fit(standard, y.numpy())
        right = float(solved.score(held_x, held[1].numpy())) if len(held_x) else 0.0
        if right > best:
            best, taken = right, solved
            run.notes["strength"] = strength
    assert taken is not None
    weight, bias = torch.from_numpy(taken.coef_), torch.from_numpy(taken.intercept_)
    if len(weight) == 1:  # of two classes scikit-learn keeps one row
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    seen = torch.from_numpy(taken.classes_).long()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.fill_(-1e4)  # a class without a sample is never the answer
        model.head.weight[seen] = (weight / std).to(model.head.weight)
        model.head.bias[seen] = (bias - (weight / std) @ mean).to(model.head.bias)


LEARNER = Learner[ProbeSettings, Dataset[Labelled], Linear | Voting](
    name="probe",
    summary="Features of a pretrained network, frozen, under logistic regression or the neighbours' vote.",
    source="Donahue et al. 2014",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=ProbeSettings,
    unsupported_reason=one_class,
    needs=needs,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
    stoppable=False,
)
