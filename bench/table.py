"""Writes docs/benchmarks.md from bench/results/*.json.

python bench/table.py
"""

from __future__ import annotations

import json
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
    "startup",
    "serving",
    "accuracy",
    "transfer",
    "skips",
    "roi_align",
    "compare_calibration",
)

HEAD = """# Benchmarks

Written by `python bench/table.py` from `bench/results/`; do not edit. Ratios are ours divided by the peer's, so below 1
we are ahead; absolute times belong to the machine named beside them. Each peer runs in a process of its own, the rounds
take turns (A B A B), and a ratio is the median of the ratios of neighbouring rounds, with the smallest and the largest.
*CPU ratio* is the same of processor time, which other work on the machine disturbs less. No ratio is given where the
output differs. *Limit* is the share of the physical limit measured in the same run: the fastest matrix products, or
the start of Python alone. Peers are listed in `bench/requirements.txt`. *Peak memory* is that of the process, on a GPU
that which was taken there. On a GPU: not run, where none is named.
"""


def page() -> str:
    parts = [HEAD]
    found = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    for name in sorted(found, key=lambda n: ORDER.index(n) if n in ORDER else len(ORDER)):
        special = {
            "accuracy": accuracies,
            "transfer": transfers,
            "compare_calibration": verdicts,
            "skips": borders,
            "roi_align": pooled,
        }
        made = special.get(name, section)
        parts.append(made(found[name]))
    return "\n".join(parts)


def head(result: Mapping[str, Any], rounds: str) -> list[str]:
    machine = result["hardware"]
    wide = ", ".join(machine["instructions"])
    return [
        f"## {result['bench']}{' on a GPU' if 'gpu' in machine else ''}",
        "",
        result["work"],
        "",
        f"`{result['command']}` · {result['rounds']} {rounds} · threads {result['threads']} · {result['date']} · "
        f"commit {result['commit']} · {machine['gpu'] + ', ' if 'gpu' in machine else ''}"
        f"{machine['processor']}, {machine['cores']} cores ({wide}), "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB, load average {machine['load_average']:.1f} at the start",
        "",
    ]


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
        share = f"{row['share_of_limit']:.0%}" if row["share_of_limit"] is not None else ""
        output = ", ".join(f"{k} {v:.4g}" for k, v in row["output"].items() if k not in ("exit", "weight"))
        limit = is_limit(row["name"])
        cpu, peak = ("", "") if limit and "GFLOP/s" in row["output"] else (f"{row['cpu']:.3g}", mega(row["peak_bytes"]))
        lines.append(
            f"| {row['name']} | {row['median']:.3g} | {row['min']:.3g} – {row['max']:.3g} | {cpu} | {peak} | "
            f"{share} | {output} |"
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
    return "\n".join([*lines, "", *bars(result), "", ahead(result), ""])


def mega(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def bars(result: Mapping[str, Any]) -> list[str]:
    lines = []
    for bar in result["bars"]:
        against = {"ratio": " ÷ ", "difference": " − ", "value": ""}[bar["kind"]] + bar["peer"]
        verdict = "reached" if bar["reached"] else "**missed**"
        what = {"seconds": "", "cpu": ", CPU"}[bar["of"]]
        lines.append(
            f"- Bar: {bar['ours']}{against}{what} at most {bar['most']:g}; measured {bar['value']:.3g}: {verdict}."
        )
    return lines


def ahead(result: Mapping[str, Any]) -> str:
    """Where a peer is ahead of the best of ours in its group."""
    best: dict[str, float] = {}
    for row in result["ratios"]:
        if "ratio" in row:
            best[row["peer"]] = min(row["ratio"], best.get(row["peer"], float("inf")))
    behind = [f"{peer} (we take {ratio:.2f} times as long)" for peer, ratio in best.items() if ratio > 1]
    several = len({group(row["peer"]) for row in result["ratios"]}) > 1
    return (
        "Ahead of us: " + "; ".join(behind) + "."
        if behind
        else f"No peer {'of any group ' if several else ''}is ahead of our fastest way."
    )


def accuracies(result: Mapping[str, Any]) -> str:
    lines = head(result, "seeds")
    lines += [
        "| learner | ours | plain script | difference | allowed | CPU ours | CPU plain |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        ours, plain = row["ours"], row["plain"]
        verdict = "reached" if row["reached"] else "**missed**"
        lines.append(
            f"| {row['name']} ({row['seeds']} seeds) | {figure(ours)} | {figure(plain)} | "
            f"{row['apart']:+.2f} | −{row['allowed']}: {verdict} | "
            f"{ours['cpu']:.0f} s | {plain['cpu']:.0f} s |"
        )
    return "\n".join(
        [
            *lines,
            "",
            "± is the 95 % interval of the mean over seeds. Our seconds count start-up, reading "
            "and judging too; those of the plain script learning alone.",
            "",
        ]
    )


def transfers(result: Mapping[str, Any]) -> str:
    encoder = result["encoder"]
    lines = head(result, "seeds")
    lines += [
        f"{result['pictures']} training pictures of ten classes, other ones for each seed; the run begun with "
        f"was learned from {encoder['data']} ({encoder['learned']}; {encoder['accuracy']:.1f} % there).",
        "",
        "| how | accuracy | over scratch |",
        "|---|---|---|",
    ]
    for row in result["rows"]:
        gain = f"{row['over scratch']:+.1f} ± {row['interval over scratch']:.1f} points" if row["over scratch"] else ""
        lines.append(f"| {row['name']} | {row['accuracy']:.1f} ± {row['interval']:.1f} % | {gain} |")
    return "\n".join(
        [*lines, "", "± is the 95 % interval of the mean over seeds; differences are taken seed by seed.", ""]
    )


def borders(result: Mapping[str, Any]) -> str:
    lines = head(result, "seeds")
    lines += [
        f"`shapes`, {result['epochs']} epochs; at borders: within {result['near']} pixels of one.",
        "",
        "| where | without skips | with skips | better by |",
        "|---|---|---|---|",
    ]
    for row in result["rows"]:
        means = [sum(row["each"][name]) / len(row["each"][name]) for name in ("encoder-decoder", "unet")]
        lines.append(
            f"| {row['place']} | {means[0]:.1f} % | {means[1]:.1f} % | {row['better']:+.1f} ± "
            f"{row['interval']:.1f} points |"
        )
    return "\n".join(
        [*lines, "", "± is the 95 % interval of the mean over seeds; differences are taken seed by seed.", ""]
    )


def pooled(result: Mapping[str, Any]) -> str:
    lines = head(result, "seeds")
    lines += [
        f"`{result['data']}`, {result['epochs']} epochs, pictures of {result['shorter']} pixels a side.",
        "",
        "| figure | RoIAlign | RoIPool |",
        "|---|---|---|",
    ]
    for name in ("mask AP", "mask AP50", "mask AP75", "box AP", "box AP50", "box AP75"):
        means = [
            100 * sum(seed[name] for seed in result["metrics"][how]) / result["rounds"]
            for how in ("roi-align", "roi-pool")
        ]
        lines.append(f"| {name} | {means[0]:.1f} % | {means[1]:.1f} % |")
    return "\n".join(
        [
            *lines,
            "",
            f"{result['headline']}: RoIAlign is {100 * result['difference']:.1f} ± "
            f"{100 * result['half_width']:.1f} points above (95 % over seeds, differences seed by seed).",
            "",
        ]
    )


def verdicts(result: Mapping[str, Any]) -> str:
    lines = head(result, "pairs of each kind")
    lines += [
        '| headline | "better" of equal learners | at most | of the better by 3 standard errors | at least | '
        "of the worse |",
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
            f"{result['samples']:,} samples a pair; at most: 5 % and two standard errors of a share of so many pairs.",
            "",
        ]
    )


def figure(row: Mapping[str, Any]) -> str:
    interval = f" ± {row['interval']:.2f}" if row["interval"] is not None else ""
    return f"{row['accuracy']:.2f}{interval} %"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
    print(Path("docs", "benchmarks.md"))
