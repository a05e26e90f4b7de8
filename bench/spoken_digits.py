"""Sound classification: models of Snellen beside MFCC + SVM and a CNN in plain PyTorch, at equal CPU time.

The Free Spoken Digit Dataset with its official split: of the recordings with the indices 0 to 9, the indices 0 to 4 are
the test split, the others the training split. The scripts are written with NumPy, SciPy, scikit-learn and PyTorch, and
train on all 300 training recordings; Snellen withholds 30 of them for validation. The CNN trains for the CPU time that
Snellen's default model took with the same seed, its start and evaluation included.

    python bench/spoken_digits.py DATA [--seeds 1,2,3]

DATA is a folder of files such as 3_george_7.wav.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from harness import HERE, RESULTS, OtherLoad, result_header

NAME, WORK = "spoken_digits", "Spoken digits, official split: 300 training and 300 test recordings of six speakers."
OURS = ("log-mel-convnet", "mfcc-svm")
RATE, WINDOW, HOP, BANDS, FRAMES = 8000, 256, 80, 40, 132  # 32 ms, 10 ms; the longest recording has 131 frames
DRAWS = 10_000  # of the paired bootstrap


def read(folder: Path) -> tuple[list[np.ndarray], np.ndarray, list[str]]:
    """Recordings in -1 … 1, digits, names, in the order of the names."""
    from scipy.io import wavfile

    files = sorted(folder.glob("*.wav"))
    waves = [wavfile.read(file)[1].astype(np.float64) / 32768 for file in files]
    return waves, np.array([int(file.name[0]) for file in files]), [file.name for file in files]


def log_mel(wave: np.ndarray) -> np.ndarray:
    """(frames, bands): logarithm of the mel power."""
    from scipy.signal import get_window

    wave = np.append(wave[0], wave[1:] - 0.97 * wave[:-1])  # pre-emphasis
    padded = np.pad(wave, (WINDOW // 2, WINDOW // 2 + HOP))
    count = -(-len(wave) // HOP)
    frames = padded[np.arange(count)[:, None] * HOP + np.arange(WINDOW)] * get_window("hann", WINDOW)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * math.log10(1 + RATE / 2 / 700), BANDS + 2) / 2595) - 1)
    f = np.fft.rfftfreq(512, 1 / RATE)[:, None]
    rising, falling = (f - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - f) / np.diff(edges)[1:]
    return np.log(power @ np.minimum(rising, falling).clip(0) + 1e-6)


def mfcc_features(wave: np.ndarray, parts: int, differences: bool, deviations: bool) -> np.ndarray:
    """Means of 20 MFCCs in each of several equal parts, and deviations.

    Args:
        differences: also of their first and second differences.
        deviations: in each part, else over the whole recording.
    """
    from scipy.fft import dct

    cepstrum = dct(log_mel(wave), norm="ortho", axis=1)[:, :20]
    if differences:
        first = np.gradient(cepstrum, axis=0)
        cepstrum = np.concatenate([cepstrum, first, np.gradient(first, axis=0)], 1)
    pieces = [piece if len(piece) else cepstrum for piece in np.array_split(cepstrum, parts)]
    spread = pieces if deviations else [cepstrum]
    return np.concatenate([*(piece.mean(0) for piece in pieces), *(piece.std(0) for piece in spread)])


def svm_script(train: Path, test: Path, seed: int, seconds: float) -> np.ndarray:
    """MFCC statistics and an SVC, by a grid search with five folds over the features, C and γ: (N,) predictions."""
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    waves, y, _ = read(train)
    test_waves = read(test)[0]
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    grid = {
        "svc__C": [1, 3, 10, 30],
        "svc__gamma": ["scale", 0.0003, 0.001, 0.002, 0.004],
    }
    best: tuple[float, Any, Any] = (0.0, None, None)
    for parts in (1, 3, 5, 8):
        for differences in (False, True):
            for deviations in (False, True) if parts > 1 else (False,):
                features = partial(mfcc_features, parts=parts, differences=differences, deviations=deviations)
                x = np.stack([features(wave) for wave in waves])
                search = GridSearchCV(make_pipeline(StandardScaler(), SVC()), grid, cv=folds).fit(x, y)
                best = max(best, (search.best_score_, features, search), key=lambda entry: entry[0])
    predicted: np.ndarray = best[2].predict(np.stack([best[1](wave) for wave in test_waves]))
    return predicted


def cnn_script(train: Path, test: Path, seed: int, seconds: float) -> np.ndarray:
    """Four convolutions on padded log-mel spectrograms with augmentation, for `seconds` of CPU time: predictions."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    waves, y, _ = read(train)
    spectrograms = [log_mel(wave) for wave in waves]
    mean, std = (f(np.concatenate(spectrograms), 0) for f in (np.mean, np.std))

    def padded(parts: Sequence[np.ndarray]) -> Any:
        x = torch.zeros(len(parts), 1, BANDS, FRAMES)
        for row, part in zip(x, parts, strict=True):
            normal = torch.from_numpy(((part - mean) / std).T[:, :FRAMES]).float()
            row[0, :, : normal.shape[1]] = normal
        return x

    def block(before: int, after: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())

    model = nn.Sequential(
        *(block(1, 16), nn.MaxPool2d(2), block(16, 32), nn.MaxPool2d(2)),
        *(block(32, 64), nn.MaxPool2d(2), block(64, 64)),
        *(nn.AdaptiveAvgPool2d((5, 4)), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 20, 10)),
    )
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    x, target = padded(spectrograms), torch.from_numpy(y)
    started, spent = time.process_time(), 0.0
    while spent < 1:  # one cycle of the learning rate over the time
        for rows in torch.randperm(len(x)).split(32):
            spent = (time.process_time() - started) / seconds
            rate = 0.004 * (min(spent / 0.2, 1) if spent < 0.2 else 0.5 * (1 + math.cos(math.pi * (spent - 0.2) / 0.8)))
            if spent >= 1:
                break
            optimizer.param_groups[0]["lr"] = max(rate, 1e-6)
            batch = augmented(x[rows])
            loss = functional.cross_entropy(model(batch), target[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        predicted: np.ndarray = model(padded([log_mel(wave) for wave in read(test)[0]])).argmax(1).numpy()
    return predicted


def augmented(x: Any) -> Any:
    """Random gain, shift in time, and one range of frames and one of bands set to the mean, of each sample."""
    import torch

    x = x + 0.3 * torch.randn(len(x), 1, 1, 1) * (x != 0)
    for k in range(len(x)):
        x[k] = x[k].roll(int(torch.randint(-6, 7, ())), 2)
        for axis, largest in ((1, 8), (2, 20)):
            size = int(torch.randint(0, largest + 1, ()))
            start = int(torch.randint(0, x.shape[axis + 1] - size + 1, ()))
            x[k].narrow(axis, start, size).zero_()
    return x


SCRIPTS = {"MFCC + SVC": svm_script, "CNN": cnn_script}


def snellen(model: str, data: Path, seed: int, out: Path) -> tuple[np.ndarray, float]:
    """Predicted digit of each test recording, in the order of the names, by `snellen train`, and its CPU seconds."""
    arguments = ["train", str(data), "--model", model, "--seed", str(seed), "--threads", "1", "--out", str(out)]
    cpu = run([sys.executable, "-m", "snellen", *arguments])
    import torch  # after the process, whose memory it would double

    import snellen as package

    run_of = package.load(out)
    predictions = run_of.predictions("test")
    names = [Path(run_of.data.name(int(id))).name for id in predictions["ids"]]
    digits = torch.tensor([int(name) for name in run_of.spec.target.names])
    predicted = digits[predictions["scores"].argmax(1)].numpy()
    return predicted[np.argsort(names)], cpu


def script(name: str, data: Path, seed: int, seconds: float) -> tuple[np.ndarray, float]:
    """Predictions of a script in its own process, and the CPU seconds of this process."""
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        arguments = ["--work", name, "--seed", str(seed), "--seconds", str(seconds), "--to", file.name]
        cpu = run([sys.executable, __file__, str(data), *arguments])
        return np.load(file.name), cpu


def run(command: Sequence[str]) -> float:
    """Run a command and return its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    path = os.pathsep.join(filter(None, [str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def lay_out(recordings: Path, folder: Path) -> None:
    """The official split in folders train and test."""
    for file in sorted(recordings.glob("*.wav")):
        split = "test" if int(file.stem.rsplit("_", 1)[1]) < 5 else "train"
        (folder / split).mkdir(exist_ok=True)
        (folder / split / file.name).write_bytes(file.read_bytes())


def paired(ours: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Difference of the accuracies in percentage points, with the 95 % interval of the paired bootstrap.

    Args:
        ours, other: (seeds, N) whether each test recording is right; recordings are resampled, all seeds together.
    """
    difference = 100 * (ours.mean(0) - other.mean(0))
    rows = np.random.default_rng(0).integers(0, len(difference), (DRAWS, len(difference)))
    low, high = np.percentile(difference[rows].mean(1), [2.5, 97.5])
    verdict = "better" if low > 0 else "worse" if high < 0 else "not distinguishable" if low > -1 else "undecided"
    return {"difference": difference.mean(), "interval": [low, high], "verdict": verdict}


def summary(name: str, right: np.ndarray, cpu: Sequence[float]) -> dict[str, Any]:
    """Accuracy in percent: mean over seeds, each seed, and the 95 % interval over the recordings (bootstrap)."""
    of_sample = 100 * right.mean(0)
    rows = np.random.default_rng(0).integers(0, len(of_sample), (DRAWS, len(of_sample)))
    low, high = np.percentile(of_sample[rows].mean(1), [2.5, 97.5])
    return {
        "name": name,
        "accuracy": of_sample.mean(),
        "interval": [low, high],
        "seeds": (100 * right.mean(1)).tolist(),
        "cpu": statistics.fmean(cpu),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=WORK)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--to", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        np.save(args.to, SCRIPTS[args.work](args.data / "train", args.data / "test", args.seed, args.seconds))
        return
    seeds = [int(seed) for seed in args.seeds.split(",")]
    head, other = result_header(NAME, WORK, len(seeds), 1), OtherLoad()
    head["command"] = f"python bench/{NAME}.py DATA --seeds {args.seeds}"
    right: dict[str, list[np.ndarray]] = {name: [] for name in (*OURS, *SCRIPTS)}
    cpu: dict[str, list[float]] = {name: [] for name in right}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "spoken"
        data.mkdir()
        lay_out(args.data, data)
        truth = read(data / "test")[1]
        for seed in seeds:
            for name in right:
                if name in OURS:
                    predicted, seconds = snellen(name, data, seed, Path(folder) / f"{name}-{seed}")
                else:
                    predicted, seconds = script(name, data, seed, cpu[OURS[0]][-1])
                right[name].append(predicted == truth)
                cpu[name].append(seconds)
                print(f"seed {seed}: {name}: {100 * right[name][-1].mean():.2f} %, {seconds:.1f} CPU s", flush=True)
    arrays = {name: np.stack(rows) for name, rows in right.items()}
    result = {
        **head,
        "hardware": {**head["hardware"], "other_load": other.cores()},
        "test_recordings": len(truth),
        "rows": [summary(name, arrays[name], cpu[name]) for name in arrays],
        "pairs": [
            {"ours": ours, "script": name, **paired(arrays[ours], arrays[name])} for ours in OURS for name in SCRIPTS
        ],
    }
    RESULTS.joinpath(f"{NAME}.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    for pair in result["pairs"]:
        low, high = pair["interval"]
        print(f"{pair['ours']} − {pair['script']}: {pair['difference']:+.2f} ({low:+.2f} to {high:+.2f}) points")


if __name__ == "__main__":
    main()
