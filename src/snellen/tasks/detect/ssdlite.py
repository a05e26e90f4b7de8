"""SSDLite: class and box at every anchor of small maps, from a network made for telephones.

Source: Liu et al. 2016, "SSD: single shot multibox detector"; Howard et al. 2019, "Searching for MobileNetV3".
"""

from __future__ import annotations

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Reading, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.scene_augment import SceneAugment
from snellen.fitting.descent import Descent
from snellen.nn.rcnn.detector import Detector
from snellen.objects.learn import Lesson, learn
from snellen.objects.one_stage import detector
from snellen.objects.pretrained import begin, there
from snellen.objects.settings import Sight, suggested
from snellen.tasks.detect.task import TASK

PUBLISHED = {"mobilenet": "ssdlite320_mobilenet_v3_large"}


@settings
class SSDLiteSettings:
    """What it sees with, and how it learns."""

    sight: Sight = Sight(backbone="mobilenet", shorter=320)
    descent: Descent = Descent(
        epochs=16, batch_size=4, optimizer="adamw", lr=0.002, weight_decay=0.01, warmup=0.1, clip=5.0,
        precision="float32",
    )
    augment: SceneAugment = SceneAugment()


def build(c: SSDLiteSettings, spec: Spec) -> Detector:
    return detector("ssdlite", c.sight, spec)


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
    build=build,
    fit=fit,
    suggest=suggested,
    reads=lambda c, spec: Reading(channels=3),
    needs=lambda c, spec: there(c.sight, PUBLISHED, "ssdlite"),
    climbs=False,
)
