"""Write docs/benchmarks.md from bench/results/*.json.

python bench/table.py
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import RESULTS, group, is_limit

PAGE = RESULTS.parents[1] / "docs" / "benchmarks.md"
ORDER = (
    "mlp_epoch",
    "mlp_epoch_gpu",
    "small_cnn",
    "small_cnn_gpu",
    "det_train",
    "det_train_gpu",
    "loop_overhead",
    "recurrent",
    "sequence_memory",
    "startup",
    "serving",
    "ladder",
    "accuracy",
    "spoken_digits",
    "transfer",
    "skips",
    "roi_align",
    "compare_calibration",
    "coverage",
    "false_positives",
)

HEAD = """# Benchmarks

Written by `python bench/table.py` from `bench/results/`; do not edit. A ratio is our time divided by the peer's: below
1, Snellen is faster. Absolute times hold for the stated machine. Each peer runs in a separate process, the rounds are
interleaved (A B A B), and the ratio is the median over adjacent rounds, with minimum and maximum. *CPU ratio* is the
ratio of processor times, which other load on the machine affects less. No ratio is given if the outputs differ. *Limit*
is the fraction of the hardware limit measured in the same run: the fastest matrix product, or the start of Python
alone. A target of time counts as reached or missed only if the code was that of the commit and other processes kept
less than 0.1 cores busy (in older results: the load average was below 0.5 at the start); else it is undecided. Peers
are listed in `bench/requirements.txt`. *Peak memory* is that of the process, or of the GPU. Results without a GPU name
were measured on the CPU.
"""


NOT_RUN = """## Not run

| bench | work | why |
|---|---|---|
| speedrun | CIFAR-10 to 94 % and 96 %, against airbench | needs a GPU and CIFAR-10 |
| jpeg_input | JPEG folder to augmented batches, images per second and core | no script yet |
| cached_input | the same from the second epoch on, against a memory map | no script yet |
| infer_latency | ResNet-18 and 50 at 224 pixels, batches of 1 and 16, against ONNX Runtime | no script yet |
| growth | time and memory for ten times the data, classes, boxes, and twice the pixels, depth | no script yet |
| read_ahead | reading while a step of 100 ms runs, against `DataLoader` | no script yet |
"""


INTERVAL_NOTE = "± is half the width of the 95 % confidence interval of the mean over seeds"


def page() -> str:
    parts = [HEAD]
    read = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    results = {name: one for name, one in read.items() if "bench" in one}  # others are tables of a guide page
    for name in sorted(results, key=lambda n: ORDER.index(n) if n in ORDER else len(ORDER)):
        special = {
            "ladder": ladder_section,
            "accuracy": accuracy_section,
            "transfer": transfer_section,
            "spoken_digits": spoken_digits_section,
            "compare_calibration": calibration_section,
            "skips": skips_section,
            "roi_align": roi_align_section,
            "coverage": coverage_section,
            "false_positives": false_positives_section,
        }
        make_section = special.get(name, section)
        parts.append(make_section(results[name]))
    return "\n".join([*parts, NOT_RUN])


def head(result: Mapping[str, Any], rounds: str) -> list[str]:
    return [*title(result), measured(result, rounds), ""]


def title(result: Mapping[str, Any]) -> list[str]:
    return [f"## {result['bench']}{' on a GPU' if 'gpu' in result['hardware'] else ''}", "", result["work"], ""]


def measured(result: Mapping[str, Any], rounds: str) -> str:
    """How a result was measured: command, rounds, date, commit, machine."""
    machine = result["hardware"]
    instructions = ", ".join(machine["instructions"])
    load = f"load average {machine['load_average']:.1f} at start"
    if machine.get("other_load") is not None:
        load = f"other processes: {machine['other_load']:.2f} cores"
    return (
        f"`{result['command']}` · {result['rounds']} {rounds} · threads {result['threads']} · {result['date']} · "
        f"commit {result['commit']} · {machine['gpu'] + ', ' if 'gpu' in machine else ''}"
        f"{machine['processor']}, {machine['cores']} cores ({instructions}), "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB, {load}"
    )


def section(result: Mapping[str, Any]) -> str:
    unit = result["unit"]
    lines = head(result, "rounds")
    lines += [
        f"| entry | median ({unit}) | min – max | CPU ({unit}) | peak memory | limit | output |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["entries"]:
        if "not_run" in row:
            lines.append(f"| {row['name']} | not run: {row['not_run']} | | | | | |")
            continue
        fraction = f"{row['share_of_limit']:.0%}" if row["share_of_limit"] is not None else ""
        output = ", ".join(f"{k} {v:.4g}" for k, v in row["output"].items() if k not in ("exit", "weight"))
        limit = is_limit(row["name"])
        cpu, peak = (
            ("", "") if limit and "GFLOP/s" in row["output"] else (f"{row['cpu']:.3g}", megabytes(row["peak_bytes"]))
        )
        lines.append(
            f"| {row['name']} | {row['median']:.3g} | {row['min']:.3g} – {row['max']:.3g} | {cpu} | {peak} | "
            f"{fraction} | {output} |"
        )
    lines += ["", "| ours | peer | ratio | min – max | CPU ratio |", "|---|---|---|---|---|"]
    for row in result["ratios"]:
        if "no_ratio" in row:
            lines.append(f"| {row['ours']} | {row['peer']} | no ratio: {row['no_ratio']} | | |")
            continue
        cpu = f"{row['cpu_ratio']:.2f}" if row["cpu_ratio"] is not None else ""
        lines.append(
            f"| {row['ours']} | {row['peer']} | {row['ratio']:.2f} | {row['low']:.2f} – {row['high']:.2f} | {cpu} |"
        )
    return "\n".join([*lines, "", *targets(result), "", faster_peers(result), ""])


def megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


OTHERS = 0.1  # cores that other processes keep busy during the benchmark
QUIET = 0.5  # load average at the start, of results without that measurement


def doubts(result: Mapping[str, Any]) -> list[str]:
    """Why times of a result do not count towards a target."""
    reasons = []
    if result["commit"].endswith("+"):
        reasons.append("files differed from the commit")
    machine = result["hardware"]
    if machine.get("other_load") is not None:
        if machine["other_load"] >= OTHERS:
            reasons.append(f"the machine was busy (other processes kept {machine['other_load']:.1f} cores busy)")
    elif machine["load_average"] >= QUIET:
        reasons.append(f"the machine was busy (load average {machine['load_average']:.1f} at the start)")
    return reasons


def targets(result: Mapping[str, Any]) -> list[str]:
    doubtful = doubts(result)
    lines = []
    for bar in result["bars"]:
        against = {"ratio": " ÷ ", "difference": " − ", "value": ""}[bar["kind"]] + bar["peer"]
        verdict = "undecided: " + " and ".join(doubtful) if doubtful else "reached" if bar["reached"] else "**missed**"
        what = {"seconds": "", "cpu": ", CPU"}[bar["of"]]
        lines.append(
            f"- Target: {bar['ours']}{against}{what} at most {bar['most']:g}; measured {bar['value']:.3g}: {verdict}."
        )
    return lines


def faster_peers(result: Mapping[str, Any]) -> str:
    """Peers that are faster than the best of ours in their group."""
    best: dict[str, float] = {}
    for row in result["ratios"]:
        if "ratio" in row:
            best[row["peer"]] = min(row["ratio"], best.get(row["peer"], float("inf")))
    faster = [f"{peer} (Snellen takes {ratio:.2f} times as long)" for peer, ratio in best.items() if ratio > 1]
    several = len({group(row["peer"]) for row in result["ratios"]}) > 1
    return (
        "Faster than Snellen: " + "; ".join(faster) + "."
        if faster
        else f"No peer {'in any group ' if several else ''}is faster than the fastest variant of Snellen."
    )


def accuracy_section(result: Mapping[str, Any]) -> str:
    """Rows of several runs of the benchmark, each with its own command."""
    runs: dict[str, list[str]] = {}
    for row in result["rows"]:
        runs.setdefault(measured(row, "seeds"), []).append(row["name"])
    lines = [*title(result), *(f"- {', '.join(names)}: {run}" for run, names in runs.items()), ""]
    lines += [
        "| learner | ours | plain script | difference | allowed | CPU ours | CPU plain |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        ours, plain = row["ours"], row["plain"]
        verdict = "reached" if row["reached"] else "**missed**"
        lines.append(
            f"| {row['name']} ({row['seeds']} seeds) | {accuracy_text(ours)} | {accuracy_text(plain)} | "
            f"{row['apart']:+.2f} | −{row['allowed']}: {verdict} | "
            f"{ours['cpu']:.0f} s | {plain['cpu']:.0f} s |"
        )
    return "\n".join(
        [
            *lines,
            "",
            "± is half the width of the 95 % confidence interval of the mean over seeds. Our CPU times include "
            "start-up, data loading and evaluation; those of the plain script include training only.",
            "",
        ]
    )


def ladder_section(result: Mapping[str, Any]) -> str:
    """The advised model beside the best plain script with the same CPU time, set by set, and the regret."""
    lines = [
        *head(result, "seeds of the repeated sets, one of the others"),
        "The ladder has the budget in wall-clock time, from prompt to prompt, on one thread. The plain script is the "
        "best on the validation split of all complete trainings that need no more CPU time (one who tries them all "
        "needs the sum). *Difference*: advised less script on the same test samples, positive where the advised model "
        "is better, with the 95 % interval of the paired bootstrap; *better* and *worse* are significant. Without a "
        "significant difference: *not distinguishable* if the interval excludes a loss of more than one point (of an "
        "error: 1 %), else *undecided*. *Best model*: the best test result of a model of the same ladder.",
        "",
        "| set | budget | seed | metric | advised | result | plain script | result | difference | verdict | best model "
        "| took | commit |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        budget = f"{row['minutes']:g} min"
        took = f"{row['wall']:.0f} s | {row['commit']}"
        if row["script"] is None:
            lines.append(
                f"| {row['set']} | {budget} | {row['seed']} | | {row['advised']} | | none finished | | | | | {took} |"
            )
            continue
        low, high = row["interval"]
        lines.append(
            f"| {row['set']} | {budget} | {row['seed']} | {row['metric']} | {row['advised']} | {row['ours']:.4g} | "
            f"{row['script']}, {row['label']} ({row['seconds']:.0f} CPU s) | {row['script_value']:.4g} | "
            f"{row['difference']:+.3g} ({low:+.3g} to {high:+.3g}) | {row['verdict']} | "
            f"{row['best_model']}, {row['best_value']:.4g} | {took} |"
        )
    lines += [
        "",
        "Programs that choose a model by themselves, with the same wall-clock time and one thread, on the same splits: "
        "AutoGluon's default preset, and Ultralytics' YOLO11n from random weights.",
        "",
        "| set | budget | metric | advised | result | program | result | difference | verdict | took |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        for peer in row.get("peers", []):
            low, high = peer["interval"]
            lines.append(
                f"| {row['set']} | {row['minutes']:g} min | {peer['metric']} | {row['advised']} | {peer['ours']:.4g} | "
                f"{peer['name']} | {peer['script_value']:.4g} | {peer['difference']:+.3g} "
                f"({low:+.3g} to {high:+.3g}) | {peer['verdict']} | {peer['wall']:.0f} s |"
            )
    return "\n".join([*lines, ""])


def transfer_section(result: Mapping[str, Any]) -> str:
    encoder = result["encoder"]
    lines = head(result, "seeds")
    lines += [
        f"{result['pictures']} training images of ten classes, a different subset for each seed. The pretrained run "
        f"was trained on {encoder['data']} ({encoder['learned']}; test accuracy {encoder['accuracy']:.1f} %).",
        "",
        "| method | accuracy | gain over training from scratch |",
        "|---|---|---|",
    ]
    for row in result["rows"]:
        gain = f"{row['over scratch']:+.1f} ± {row['interval over scratch']:.1f} points" if row["over scratch"] else ""
        lines.append(f"| {row['name']} | {row['accuracy']:.1f} ± {row['interval']:.1f} % | {gain} |")
    return "\n".join([*lines, "", f"{INTERVAL_NOTE}; differences are paired by seed.", ""])


def spoken_digits_section(result: Mapping[str, Any]) -> str:
    lines = [*head(result, "seeds"), "| entry | accuracy | each seed | CPU |", "|---|---|---|---|"]
    for row in result["rows"]:
        low, high = row["interval"]
        seeds = ", ".join(f"{value:.2f}" for value in row["seeds"])
        lines.append(
            f"| {row['name']} | {row['accuracy']:.2f} ({low:.2f} to {high:.2f}) % | {seeds} | {row['cpu']:.0f} s |"
        )
    lines += ["", "| ours | script | difference in points | verdict |", "|---|---|---|---|"]
    for pair in result["pairs"]:
        low, high = pair["interval"]
        lines.append(
            f"| {pair['ours']} | {pair['script']} | {pair['difference']:+.2f} ({low:+.2f} to {high:+.2f}) | "
            f"{pair['verdict']} |"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"{result['test_recordings']} test recordings; intervals are those of the bootstrap over them, all seeds "
            "together, paired for the differences. The CNN of the script trains for the CPU time of log-mel-convnet, "
            "start-up and report included. *Not distinguishable*: the interval excludes a loss of more than one "
            "point, else *undecided*. The scripts train on all 300 training recordings, Snellen on 270.",
            "",
        ]
    )


def skips_section(result: Mapping[str, Any]) -> str:
    lines = head(result, "seeds")
    lines += [
        f'`shapes`, {result["epochs"]} epochs; "at borders": within {result["near"]} pixels of a border.',
        "",
        "| pixels | without skips | with skips | difference |",
        "|---|---|---|---|",
    ]
    for row in result["rows"]:
        means = [sum(row["each"][name]) / len(row["each"][name]) for name in ("encoder-decoder", "unet")]
        lines.append(
            f"| {row['place']} | {means[0]:.1f} % | {means[1]:.1f} % | {row['better']:+.1f} ± "
            f"{row['interval']:.1f} points |"
        )
    return "\n".join([*lines, "", f"{INTERVAL_NOTE}; differences are paired by seed.", ""])


def roi_align_section(result: Mapping[str, Any]) -> str:
    lines = head(result, "seeds")
    side = result.get("min_size") or result["shorter"]  # the former name of the setting
    lines += [
        f"`{result['data']}`, {result['epochs']} epochs, images with a shorter side of {side} pixels.",
        "",
        "| metric | RoIAlign | RoIPool |",
        "|---|---|---|",
    ]
    for name in ("mask AP", "mask AP50", "mask AP75", "box AP", "box AP50", "box AP75"):
        means = [
            100 * sum(seed[name] for seed in result["metrics"][pooling]) / result["rounds"]
            for pooling in ("roi-align", "roi-pool")
        ]
        lines.append(f"| {name} | {means[0]:.1f} % | {means[1]:.1f} % |")
    return "\n".join(
        [
            *lines,
            "",
            f"{result['headline']}: RoIAlign is {100 * result['difference']:.1f} ± "
            f"{100 * result['half_width']:.1f} points better (95 % confidence interval over seeds, paired by seed).",
            "",
        ]
    )


def calibration_section(result: Mapping[str, Any]) -> str:
    lines = head(result, "pairs of each kind")
    lines += [
        "| headline metric | false positives (equal learners) | at most | power (3 standard errors) | at least | "
        "wrong direction |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        verdict = "" if row["reached"] else " **missed**"
        lines.append(
            f"| {row['headline']} | {row['equal']:.1%} | {row['allowed']:.1%} | {row['apart']:.1%} | "
            f"{row['asked']:.0%}{verdict} | {row['wrong']:.1%} |"
        )
    return "\n".join(
        [
            *lines,
            "",
            f'{result["samples"]:,} samples per pair. "At most" is 5 % plus two standard errors of this fraction.',
            "",
        ]
    )


def coverage_section(result: Mapping[str, Any]) -> str:
    """All intervals; of balanced accuracy the range over classes, samples and recalls, beside Clopper and Pearson's."""
    lines = head(result, "rounds")
    grid = [row for row in result["rows"] if "clopper_pearson" in row]
    lines += [
        "Balanced accuracy, classes of equal recall: the lowest and the mean coverage over recalls of 0.3, 0.5, 0.7, "
        "0.9, 0.95 and 0.99, and the mean width against that of Clopper and Pearson's exact interval of the pooled "
        "fraction.",
        "",
        "| classes | samples per class | lowest | mean | Clopper–Pearson, lowest | mean | width ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in grid:
        groups.setdefault(tuple(part.split(" = ")[1] for part in row["case"].split(", ")[:2]), []).append(row)
    for (classes, count), rows in groups.items():
        coverage, exact = ([row[key] for row in rows] for key in ("coverage", "clopper_pearson"))
        ratio = statistics.fmean(row["width"] / row["clopper_pearson_width"] for row in rows)
        lines.append(
            f"| {classes} | {count} | {min(coverage):.1%} | {statistics.fmean(coverage):.1%} | {min(exact):.1%} | "
            f"{statistics.fmean(exact):.1%} | {ratio:.2f} |"
        )
    coverage = [row["coverage"] for row in grid]
    lines += [
        "",
        f"Over all {len(grid)} cells: lowest {min(coverage):.1%}, mean {statistics.fmean(coverage):.1%}.",
        "",
        "| interval | case | coverage | width |",
        "|---|---|---|---|",
    ]
    for row in result["rows"]:
        if "clopper_pearson" in row:
            continue
        figures = ("no interval", "") if row["coverage"] is None else (f"{row['coverage']:.1%}", f"{row['width']:.3g}")
        lines.append(f"| {row['metric']} | {row['case']} | {' | '.join(figures)} |")
    return "\n".join(
        [
            *lines,
            "",
            "Accuracy is exact, all else simulated. Below 30 samples or images, the intervals of RMSE, R2, macro F1, "
            "average precision and COCO AP hold the value in 83 to 93 %: reports say so. Wilson's interval of accuracy "
            "dips to 90 % for few samples and accuracies near 100 %.",
            "",
        ]
    )


def false_positives_section(result: Mapping[str, Any]) -> str:
    lines = head(result, "rounds")
    lines += ["| verdict | equal models | false positives | at most | rounds |", "|---|---|---|---|---|"]
    for row in result["rows"]:
        missed = " **missed**" if row["reached"] is False else ""
        at_most = "for comparison" if row["reached"] is None else f"{row['at_most']:.1%}{missed}"
        bias = f", bias {100 * row['bias']:+.1f} points" if "bias" in row else ""
        lines.append(f"| {row['verdict']} | {row['case']}{bias} | {row['rate']:.1%} | {at_most} | {row['rounds']:,} |")
    return "\n".join([*lines, "", '"At most" is 5 % plus two standard errors of this fraction.', ""])


def accuracy_text(row: Mapping[str, Any]) -> str:
    interval = f" ± {row['interval']:.2f}" if row["interval"] is not None else ""
    return f"{row['accuracy']:.2f}{interval} %"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
    print(Path("docs", "benchmarks.md"))
