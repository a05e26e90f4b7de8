"""SSDLite: class and box at every anchor of small maps, from a network made for telephones.

A picture is warped to a square, whatever its shape: anchors are shares of it.

Source: Liu et al. 2016, "SSD: single shot multibox detector"; Howard et al. 2019, "Searching for MobileNetV3".
"""

from __future__ import annotations

from snellen.core.errors import UsageError
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Preprocessing, Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.checkpoints import Published
from snellen.detection.one_stage import detector
from snellen.detection.pretrained import begin, gentle, there
from snellen.detection.settings import Sight
from snellen.detection.training import Lesson, learn
from snellen.nn.detection.detector import Detector
from snellen.tasks.detect.task import TASK
from snellen.training.settings import TrainingSettings

HALF = (0.5, 0.5, 0.5)
PUBLISHED = {"mobilenet": Published(name="ssdlite320_mobilenet_v3_large", sides=(320, 320), mean=HALF, std=HALF)}


@settings
class SSDLiteSettings:
    """What it sees with, and how it learns."""

    sight: Sight = Sight(backbone="mobilenet", min_size=320)
    descent: TrainingSettings = TrainingSettings(
        epochs=16,
        batch_size=4,
        optimizer="adamw",
        lr=0.002,
        weight_decay=0.01,
        warmup=0.1,
        clip_grad=5.0,
        precision="float32",
    )
    augment: SceneAugment = SceneAugment()


def build(c: SSDLiteSettings, spec: Spec) -> Detector:
    return detector("ssdlite", c.sight, spec, PUBLISHED)


def needs(c: SSDLiteSettings, spec: Spec) -> None:
    """Weights to begin with, and nothing that this network is not."""
    for flag, said, has in (
        ("--backbone", c.sight.backbone, "mobilenet"),
        ("--norm", c.sight.norm, "batch"),
        ("--max-size", c.sight.max_size, None),
    ):
        if said != has:
            raise UsageError(
                f"{flag} {said} does not go with ssdlite: MobileNetV3, batch normalisation, and pictures "
                "warped to a square",
                f"Leave {flag} out, or take --model retinanet.",
            )
    there(c.sight, PUBLISHED, "ssdlite")


def fit(c: SSDLiteSettings, data: Dataset[Labelled], model: Detector, run: Run) -> None:
    begin(c.sight, PUBLISHED, LEARNER.name, model, run)
    learn(model, Lesson(part="boxes", data=data, vary=c.augment), run, c.descent)


LEARNER = Learner[SSDLiteSettings, Dataset[Labelled], Detector](
    name="ssdlite",
    summary="Tells class and box from a network made for telephones.",
    source="Liu et al. 2016; Howard et al. 2019",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=SSDLiteSettings,
    suggest=gentle,
    build=build,
    fit=fit,
    preprocessing_of=lambda c, spec: Preprocessing(channels=3),
    needs=needs,
    in_default_ladder=False,
)
