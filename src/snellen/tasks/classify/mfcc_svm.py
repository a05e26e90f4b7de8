"""MFCC statistics and a support vector machine (SVM), the classical classifier of recordings.

Source: Davis and Mermelstein 1980; Cortes and Vapnik 1995; Guo and Li 2003, "Content-based audio classification and
retrieval by support vector machines".
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from snellen.architectures.front_ends import BANDS, IMAGE_HOP, frame_lengths
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Classes, Input, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.layers import Standardize
from snellen.nn.spectrogram import MFCCStatistics
from snellen.tasks.classify.svm import SupportVectors, SVMSettings, fit_samples
from snellen.tasks.classify.task import TASK, labels_unsupported
from snellen.training.supervised import subset

AUTO_GAMMA = 0.5  # times 1 / number of features; by cross-validation on the training recordings of spoken digits
BATCH_SIZE = 64  # recordings whose features are computed at a time


@settings
class MFCCSVMSettings:
    """Features and the support vector machine."""

    mfcc_coefficients: Annotated[int, Limit(min=2, max=BANDS)] = 20
    """MFCCs: number of cepstral coefficients of a frame, of 40 mel bands."""
    mfcc_parts: Annotated[int, Limit(min=1, max=64)] = 3
    """Equal parts of a recording, in each of which the coefficients are averaged; 1: the order in time has no effect
    on the means."""
    kernel: Literal["rbf", "linear"] = "rbf"
    """Kernel k(x, z): rbf, exp(−γ‖x − z‖²), or linear, x·z."""
    C: Annotated[float, Limit(above=0)] = 10.0
    """C, the penalty of margin violations, per unit of margin."""
    gamma: Annotated[float, Limit(above=0)] | None = None
    """γ of the RBF kernel, for standardised features; auto: 0.5 / number of features."""


class MFCCSVM(nn.Module):
    """Standardised recordings, their MFCC statistics, a support vector machine on these."""

    probabilistic = False

    def __init__(self, spec_input: Input, c: MFCCSVMSettings, classes: int) -> None:
        super().__init__()
        rate = spec_input.rate or 1.0
        window, hop = frame_lengths(rate, IMAGE_HOP)
        self.standardize = Standardize(spec_input)
        self.features = MFCCStatistics(rate, window, hop, BANDS, c.mfcc_coefficients, c.mfcc_parts)
        vector = Input(modality="vector", shape=(self.features.features,))
        self.svm = SupportVectors(vector, (self.features.features,), classes, c.kernel)

    def scores(self, x: Tensor) -> Tensor:
        """(B, C, T) recordings, NaN after the end, to (B, K) votes; for two classes the signed decision values."""
        return self.svm.scores(self.statistics(x))

    def statistics(self, x: Tensor) -> Tensor:
        """(B, C, T) recordings to (B, D) features."""
        y: Tensor = self.features(self.standardize(x))
        return y


def build(c: MFCCSVMSettings, spec: Spec) -> MFCCSVM:
    assert isinstance(spec.target, Classes)
    return MFCCSVM(spec.input, c, len(spec.target.names))


def fit(c: MFCCSVMSettings, data: Dataset[Labelled], model: MFCCSVM, run: Run) -> None:
    """Compute the features of all training recordings, and fit by one call of libsvm."""
    train = data.samples("train")
    model.standardize.fit(subset(train).x)
    features, classes = [], []
    with torch.inference_mode():
        for batch in train.in_order(BATCH_SIZE):
            features.append(model.statistics(batch.x))
            classes.append(batch.y)
    x, y = torch.cat(features).clone(), torch.cat(classes).clone()
    model.svm.standardize.fit(x)
    gamma = c.gamma or AUTO_GAMMA / model.features.features
    fit_samples(SVMSettings(kernel=c.kernel, C=c.C, gamma=gamma), model.svm, x, y, run)
    model.to(run.device)


LEARNER = Learner[MFCCSVMSettings, Dataset[Labelled], MFCCSVM](
    name="mfcc-svm",
    summary="Means and deviations of MFCCs over the frames of a recording, and a support vector machine on them.",
    source="Davis and Mermelstein 1980; Cortes and Vapnik 1995",
    task=TASK,
    accepts=frozenset({"audio"}),
    settings=MFCCSVMSettings,
    unsupported_reason=labels_unsupported,
    build=build,
    fit=fit,
    stoppable=False,
)
