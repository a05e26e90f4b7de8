"""Plain scripts that forecast one series of a table, beside which `bench/series.py` puts Snellen's models.

    python bench/series_peers.py PEER IN.npz OUT.npz

IN has the columns of one series: y (T,), known (T, K) in advance, others (T, O), calendar (T, 3) of integers (day of
the week, day of the year, hour); season; window W and horizon H; the first steps of the windows of each split. OUT has
the forecasts (N, H) of the windows of val and test, and the CPU seconds.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Mapping

import numpy as np

Problem = Mapping[str, np.ndarray]
SPLITS = ("train", "val", "test")


def future(p: Problem, split: str) -> np.ndarray:
    """(N, H) steps of the futures of a split."""
    steps: np.ndarray = p[split][:, None] + int(p["window"]) + np.arange(int(p["horizon"]))
    return steps


def ahead(p: Problem, split: str, h: int) -> np.ndarray:
    """(N, F) what is known in advance at the step h of each future: known columns and calendar."""
    rows = future(p, split)[:, h]
    return np.concatenate([p["known"][rows], p["calendar"][rows]], 1)


def past(p: Problem, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(N, W) values of each window, and (N, 7 O) the last values of the other columns."""
    rows = p[split][:, None] + np.arange(int(p["window"]))
    return p["y"][rows], p["others"][rows[:, -7:]].reshape(len(rows), -1)


def boosting_direct(p: Problem) -> dict[str, np.ndarray]:
    """One HistGradientBoosting for each step ahead, on lags, calendar and known columns; iterations by validation."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    lags = {split: np.concatenate(past(p, split), 1) for split in SPLITS}
    forecasts: dict[str, list[np.ndarray]] = {"val": [], "test": []}
    for h in range(int(p["horizon"])):
        x = {split: np.concatenate([lags[split], ahead(p, split, h)], 1) for split in SPLITS}
        y = {split: p["y"][future(p, split)[:, h]] for split in SPLITS}
        model = HistGradientBoostingRegressor(loss="absolute_error", max_iter=200, random_state=0)
        model.fit(x["train"], y["train"])
        errors = [np.abs(staged - y["val"]).mean() for staged in model.staged_predict(x["val"])]
        best = int(np.argmin(errors))
        for split, values in forecasts.items():
            values.append(list(model.staged_predict(x[split]))[best])
    return {split: np.stack(values, 1) for split, values in forecasts.items()}


def boosting_relative(p: Problem) -> dict[str, np.ndarray]:
    """One HistGradientBoosting for all steps ahead, on lags and seasonal lags divided by the last level."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    horizon, season = int(p["horizon"]), int(p["season"])
    x: dict[str, np.ndarray] = {}
    y: dict[str, np.ndarray] = {}
    level: dict[str, np.ndarray] = {}
    for split in SPLITS:
        values, others = past(p, split)
        level[split] = values[:, -season:].mean(1, keepdims=True)
        values = values / level[split]
        rows = []
        for h in range(horizon):
            seasonal = values[:, [values.shape[1] - season * k + h % season for k in (1, 2)]]
            column = np.full((len(values), 1), h)
            rows.append(np.concatenate([column, values[:, -28:], seasonal, others, ahead(p, split, h)], 1))
        x[split] = np.stack(rows, 1)  # (N, H, F)
        y[split] = p["y"][future(p, split)] / level[split]
    model = HistGradientBoostingRegressor(loss="absolute_error", max_iter=300, random_state=0)
    model.fit(x["train"].reshape(-1, x["train"].shape[2]), y["train"].ravel())
    flat = {split: x[split].reshape(-1, x[split].shape[2]) for split in ("val", "test")}
    errors = [np.abs(staged - y["val"].ravel()).mean() for staged in model.staged_predict(flat["val"])]
    best = int(np.argmin(errors))
    return {
        split: list(model.staged_predict(flat[split]))[best].reshape(-1, horizon) * level[split]
        for split in ("val", "test")
    }


def exponential_smoothing(p: Problem) -> dict[str, np.ndarray]:
    """ETS, multiplicative season and damped trend: parameters of the training part, states up to each window's end."""
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    y = np.maximum(p["y"], 1.0)
    window, horizon = int(p["window"]), int(p["horizon"])
    kind = {"trend": "add", "damped_trend": True, "seasonal": "mul", "seasonal_periods": int(p["season"])}
    end = int(p["train"].max()) + window + horizon
    fitted = ExponentialSmoothing(y[:end], **kind).fit()
    names = ("smoothing_level", "smoothing_trend", "smoothing_seasonal", "damping_trend")
    parameters = {name: float(fitted.params[name]) for name in names}
    return {
        split: np.stack(
            [
                ExponentialSmoothing(y[: start + window], **kind).fit(**parameters, optimized=False).forecast(horizon)
                for start in p[split].tolist()
            ]
        )
        for split in ("val", "test")
    }


PEERS: Mapping[str, Callable[[Problem], dict[str, np.ndarray]]] = {
    "ets": exponential_smoothing,
    "hist-gradient-boosting, a model a step": boosting_direct,
    "hist-gradient-boosting, one model": boosting_relative,
}


def main() -> None:
    name, source, out = sys.argv[1:]
    problem = dict(np.load(source))
    warnings.filterwarnings("ignore")
    started = time.process_time()
    forecasts = PEERS[name](problem)
    np.savez(out, **forecasts, seconds=time.process_time() - started)


if __name__ == "__main__":
    main()
