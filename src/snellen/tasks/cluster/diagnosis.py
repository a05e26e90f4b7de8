"""What may be wrong with a clustering: few samples are near their own cluster, or other samples give other clusters."""

from __future__ import annotations

from snellen.core.task import Diagnosis, Predictions
from snellen.core.views import Finding
from snellen.data.dataset import Dataset, Labelled
from snellen.metrics.clustering import adjusted_rand

NO_STRUCTURE = 0.25  # Kaufman and Rousseeuw 1990, table 4: no substantial structure has been found
UNSTABLE = 0.6  # mean adjusted Rand index; below it every fourth sample or so changes its cluster


def findings(predictions: Predictions, data: Dataset[Labelled], split: str, headline: float | None) -> list[Finding]:
    """Findings on the silhouette and the stability."""
    if headline is None:
        return []
    result = []
    if headline <= NO_STRUCTURE:
        result.append(
            Finding(
                kind="no-structure",
                message=f"The clusters overlap: the mean silhouette of the {split} samples is {headline:.2g}; up to "
                f"{NO_STRUCTURE} it shows no substantial structure (Kaufman and Rousseeuw 1990).",
                remedy="The groups may be parts of one continuum, or not compact. Try other --clusters, --model gmm "
                "and --model pca.",
            )
        )
    indices = [adjusted_rand(predictions["cluster"], refit) for refit in predictions["refits"].T]
    stability = sum(indices) / len(indices)
    if stability < UNSTABLE:
        result.append(
            Finding(
                kind="unstable",
                message=f"The clusters depend on the training samples: refits on bootstrap resamples agree with them "
                f"by an adjusted Rand index of {stability:.2g}.",
                remedy="Do not interpret single clusters. Try fewer --clusters, more --restarts or more samples.",
            )
        )
    return result


DIAGNOSIS = Diagnosis[Dataset[Labelled]](findings=findings, compares_training=False)
