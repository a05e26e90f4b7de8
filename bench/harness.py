"""Benchmark harness: one process per peer, interleaved rounds (A B A B), output check, result table, JSON file.

A benchmark is a script that defines a `Bench` and calls `main`. The script starts itself as the process of each peer
with `--work PEER`; that process prepares (imports, data, one warm-up round), then runs one round for each line on its
standard input. Only one process computes at a time. No ratio is printed for a peer whose output differs.

    python bench/NAME.py [--rounds 7] [--device cpu|cuda] [--peers a,b] [--threads 1]

Other libraries are installed in a separate virtual environment (bench/requirements.txt), whose Python is given by
SNELLEN_BENCH_PYTHON; without it, peers that cannot be imported are reported as not run.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"

Output = Mapping[str, float]
Round = Callable[[], Callable[[], Output]]
"""Runs the timed work once. It returns a function that computes, untimed, values of the output (accuracy, loss); these
may include `seconds`, `cpu` and `peak` if the round measures them itself."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a worker process."""

    device: str = "cpu"
    threads: int = 1

    def wait(self) -> None:
        """Wait until the device has finished: GPU kernels run asynchronously."""
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A target: at most `max_value` for the median of ours divided by the peer's, ours minus the peer's, or ours."""

    ours: str
    peer: str = ""
    max_value: float
    kind: Literal["ratio", "difference", "value"] = "ratio"
    of: Literal["seconds", "cpu"] = "seconds"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One benchmark.

    Args:
        name: of the script and of its results.
        work: what is measured, one sentence.
        ours, peers: name -> function that makes a round, called in a separate process.
        bars: the targets.
        same: the outputs of one of ours and of a peer (means over the rounds) -> how they differ, or None.
        unit: of the times.
        threads: default number of threads of each process.

    A name may begin with a group ("lenet: torch eager"); only entries of the same group are compared. An entry of
    `peers` named "limit" measures the hardware limit of its group.
    """

    name: str
    work: str
    ours: Mapping[str, Callable[[Options], Round]]
    peers: Mapping[str, Callable[[Options], Round]]
    bars: Sequence[Bar]
    same: Callable[[Output, Output], str | None]
    unit: str = "s"
    threads: int = 1


@dataclass
class PeerResult:
    """Results of a peer's process, one entry per round."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    outputs: list[dict[str, float]] = field(default_factory=list)
    peak: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    error: str | None = None

    def output(self) -> dict[str, float]:
        return {k: statistics.fmean(o[k] for o in self.outputs) for k in self.outputs[0]} if self.outputs else {}


# -- the worker ------------------------------------------------------------------------------------------------------


def work(make: Callable[[Options], Round], options: Options) -> None:
    """Run one round for each line of standard input and write its result as a line of JSON to standard output."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries goes to standard error

    def send(**what: Any) -> None:
        out.write(json.dumps(what) + "\n")
        out.flush()

    try:
        run_round = make(options)
        run_round()()  # warm-up
    except Exception as error:  # a peer may raise any exception; the table shows it
        send(error=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200])
        return
    send(ready=True, versions=versions())
    for _ in sys.stdin:
        started, cpu_started = time.perf_counter(), time.process_time()
        round_outputs = run_round()
        options.wait()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
        output = dict(round_outputs())
        send(
            seconds=output.pop("seconds", seconds),
            cpu=output.pop("cpu", cpu),
            output=output,
            peak=int(output.pop("peak", 0)) or peak(options),
        )


def peak(options: Options) -> int:
    """Peak memory in bytes: of this process, or of the GPU if it is used."""
    if options.device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def versions() -> dict[str, str]:
    """Versions of the imported libraries."""
    known = ("torch", "numpy", "sklearn", "lightning", "fastai", "keras", "jax")
    imported = {name: getattr(sys.modules[name], "__version__", "?") for name in known if name in sys.modules}
    return {name: str(version) for name, version in imported.items()}


class Process:
    """The worker process of a peer."""

    def __init__(self, script: Path, peer: str, python: str, options: Options) -> None:
        threads = str(options.threads)
        path = [str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "KERAS_BACKEND": peer.split("/")[1] if "/" in peer else "torch",
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
        }
        if options.device == "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = ""
        if options.threads == 1:
            environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        command = [python, str(script), "--work", peer, "--device", options.device, "--threads", str(options.threads)]
        self.measured = PeerResult()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self._listen()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"ended with status {self.process.wait()}"}
        self.measured.error = answer.get("error")
        self.measured.versions.update(answer.get("versions", {}))
        if "seconds" in answer:
            self.measured.seconds.append(answer["seconds"])
            self.measured.cpu.append(answer["cpu"])
            self.measured.outputs.append(answer["output"])
            self.measured.peak = answer["peak"]

    def run_round(self) -> None:
        if self.measured.error is None:
            assert self.process.stdin is not None
            self.process.stdin.write("once\n")
            self.process.stdin.flush()
            self._listen()

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def measure(bench: Bench, script: Path, names: Sequence[str], rounds: int, options: Options) -> dict[str, PeerResult]:
    """Run the rounds of all entries, interleaved."""
    peer_python = os.environ.get("SNELLEN_BENCH_PYTHON", sys.executable)
    processes = {}
    for name in names:
        print(f"  preparing {name}", file=sys.stderr, flush=True)
        processes[name] = Process(script, name, sys.executable if name in bench.ours else peer_python, options)
    try:
        for number in range(rounds):
            print(f"  round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            for process in processes.values():
                process.run_round()
    finally:
        for process in processes.values():
            process.end()
    return {name: process.measured for name, process in processes.items()}


class OtherLoad:
    """Processor time of other processes since it was made, from the counters of the system (Linux).

    A benchmark that follows another one starts with a high load average although the machine is idle.
    """

    def __init__(self) -> None:
        self.started, self.busy, self.own = time.monotonic(), self._busy(), self._own()

    def cores(self) -> float | None:
        """Mean number of cores that other processes kept busy; None where the system does not count them.

        Processes that the benchmark has started must have ended.
        """
        busy = self._busy()
        if self.busy is None or busy is None:
            return None
        seconds = busy - self.busy - (self._own() - self.own)
        return max(0.0, seconds / (time.monotonic() - self.started))

    @staticmethod
    def _busy() -> float | None:
        """Seconds of all cores, but for idling and waiting."""
        try:
            counters = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        except OSError:
            return None
        user, nice, system, _idle, _wait, interrupts, soft_interrupts, steal = counters
        return (user + nice + system + interrupts + soft_interrupts + steal) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def _own() -> float:
        usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)


# -- the result ------------------------------------------------------------------------------------------------------


def round_ratios(ours: PeerResult, peer: PeerResult, what: str = "seconds") -> list[float]:
    """Ratio of ours to the peer, round by round: adjacent in time, so that other load affects both."""
    return [a / b for a, b in zip(getattr(ours, what), getattr(peer, what), strict=True)]


def compare(bench: Bench, measured: Mapping[str, PeerResult]) -> list[dict[str, Any]]:
    """Rows of ratios: each of ours against each peer, with a ratio only if the output is the same."""
    rows = []
    for name in bench.ours:
        ours = measured.get(name)
        if ours is None or ours.error is not None:
            continue
        for other, peer in measured.items():
            if other in bench.ours or group(other) != group(name) or is_limit(other):
                continue
            row: dict[str, Any] = {"ours": name, "peer": other}
            reason = peer.error or bench.same(ours.output(), peer.output())
            if reason is not None:
                rows.append({**row, "no_ratio": reason})
                continue
            values = round_ratios(ours, peer)
            row |= {
                "ratio": statistics.median(values),
                "low": min(values),
                "high": max(values),
                "cpu_ratio": statistics.median(round_ratios(ours, peer, "cpu")) if all(peer.cpu) else None,
            }
            rows.append(row)
    return rows


def evaluate_bars(bench: Bench, measured: Mapping[str, PeerResult]) -> list[dict[str, Any]]:
    """Rows of targets with their measured values; targets without a measurement are skipped."""
    rows = []
    for bar in bench.bars:
        ours, peer = measured.get(bar.ours), measured.get(bar.peer)
        row = {"ours": bar.ours, "peer": bar.peer, "kind": bar.kind, "of": bar.of, "most": bar.max_value}
        if ours is None or ours.error or (bar.peer and (peer is None or peer.error)):
            continue
        our_times = getattr(ours, bar.of)
        peer_times = getattr(peer, bar.of) if peer is not None else [0.0] * len(our_times)
        if peer is not None and bench.same(ours.output(), peer.output()) is not None:
            continue
        values = [a / b if bar.kind == "ratio" else a - b for a, b in zip(our_times, peer_times, strict=True)]
        value = statistics.median(values)
        rows.append({**row, "value": value, "reached": value <= bar.max_value})
    return rows


def group(name: str) -> str:
    return name.split(": ")[0] if ": " in name else ""


def is_limit(name: str) -> bool:
    return name.split(": ")[-1] == "limit"


def entry_rows(bench: Bench, measured: Mapping[str, PeerResult]) -> list[dict[str, Any]]:
    """Rows of entries: time, memory and output of each."""
    limits = {group(n): statistics.median(m.seconds) for n, m in measured.items() if is_limit(n) and m.seconds}
    rows = []
    for name, m in measured.items():
        limit = limits.get(group(name))
        if m.error is not None or not m.seconds:
            rows.append({"name": name, "not_run": m.error or "no rounds"})
            continue
        median = statistics.median(m.seconds)
        rows.append(
            {
                "name": name,
                "median": median,
                "min": min(m.seconds),
                "max": max(m.seconds),
                "cpu": statistics.median(m.cpu),
                "peak_bytes": m.peak,
                "output": m.output(),
                "share_of_limit": None if limit is None else limit / median,
                "versions": m.versions,
            }
        )
    return rows


def hardware(device: str = "cpu") -> dict[str, Any]:
    """Hardware of this machine, without its host name."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    flags = ""
    if info.exists():
        lines = info.read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
        flags = next((line for line in lines if line.startswith("flags")), "")
    instructions = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    parts = {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "instructions": instructions,
        "memory_bytes": memory,
        "load_average": os.getloadavg()[0],
    }
    if device == "cuda":
        import torch

        parts["gpu"] = torch.cuda.get_device_name()
    return parts


def write_result(bench: Bench, result: Mapping[str, Any]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{bench.name}{'_gpu' if 'gpu' in result['hardware'] else ''}.json"
    path.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    return path


def commit() -> str:
    """Git commit of this checkout, with a + if files in src or bench differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=HERE.parent).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "src", "bench/*.py")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("+" if changed else "")


def _portable(word: str) -> str:
    """An argument of the command line with the data folder of this machine replaced by $SNELLEN_DATA."""
    folder = os.environ.get("SNELLEN_DATA")
    return word.replace(folder, "$SNELLEN_DATA") if folder else shlex.quote(word)


def result_header(name: str, work: str, rounds: int, threads: int, device: str = "cpu") -> dict[str, Any]:
    """Header of a result: benchmark, commit, date, command, hardware."""
    return {
        "bench": name,
        "work": work,
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["python", f"bench/{name}.py", *map(_portable, sys.argv[1:])]),
        "hardware": hardware(device),
        "python": platform.python_version(),
        "rounds": rounds,
        "threads": threads,
    }


def print_result(result: Mapping[str, Any], unit: str) -> None:
    """Print the tables of entries and ratios, the targets and the worst ratio."""
    print(
        f"{result['bench']}: {result['work']}\n{result['rounds']} rounds, {result['threads']} threads, "
        f"{result['hardware'].get('gpu', result['hardware']['processor'])}, {result['hardware']['cores']} cores\n"
    )
    print(f"{'entry':28s}{'median':>10s}{'min':>10s}{'max':>10s}{'CPU':>10s}{'peak MB':>9s}{'limit':>7s}  output")
    for row in result["entries"]:
        if "not_run" in row:
            print(f"{row['name']:28s}  not run: {row['not_run']}")
            continue
        share = "" if row["share_of_limit"] is None else f"{row['share_of_limit']:.0%}"
        output = " ".join(f"{k} {v:.4g}" for k, v in row["output"].items())
        times = "".join(f"{row[k]:10.4g}" for k in ("median", "min", "max", "cpu"))
        print(f"{row['name']:28s}{times}{row['peak_bytes'] / 1e6:9.0f}{share:>7s}  {output}")
    print(f"(times in {unit}; limit: fraction of the hardware limit measured in the same run)\n")
    print(f"{'ours':28s}{'peer':28s}{'ratio':>7s}{'from':>7s}{'to':>7s}{'CPU':>7s}")
    for row in result["ratios"]:
        if "no_ratio" in row:
            print(f"{row['ours']:28s}{row['peer']:28s}  no ratio: {row['no_ratio']}")
            continue
        cpu = f"{row['cpu_ratio']:7.2f}" if row["cpu_ratio"] is not None else " " * 7
        print(f"{row['ours']:28s}{row['peer']:28s}{row['ratio']:7.2f}{row['low']:7.2f}{row['high']:7.2f}{cpu}")
    for row in result["bars"]:
        against = {"ratio": " / ", "difference": " − ", "value": ""}[row["kind"]] + row["peer"]
        verdict = "reached" if row["reached"] else "MISSED"
        print(f"target: {row['ours']}{against} ({row['of']}) {row['value']:.3g}, at most {row['most']:g}: {verdict}")
    worst = max((row for row in result["ratios"] if "ratio" in row), key=lambda row: row["ratio"], default=None)
    if worst is not None:
        print(f"worst ratio: {worst['ratio']:.2f} ({worst['ours']} / {worst['peer']})")


def main(bench: Bench, script: str) -> None:
    """Command line of a benchmark."""
    parser = argparse.ArgumentParser(description=bench.work)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--peers", default="", help="names separated by commas; default all: " + ", ".join(bench.peers))
    parser.add_argument("--threads", type=int, default=bench.threads)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    options = Options(device=args.device, threads=args.threads)
    if args.work:
        work({**bench.ours, **bench.peers}[args.work], options)
        return
    peers = [name for name in args.peers.split(",") if name] or list(bench.peers)
    unknown = [name for name in peers if name not in bench.peers]
    if unknown:
        parser.error(f"no peer is called {unknown[0]!r}: {', '.join(bench.peers)}")
    peers += [name for name in bench.peers if is_limit(name) and name not in peers]
    head = result_header(bench.name, bench.work, args.rounds, args.threads, args.device)
    other = OtherLoad()
    measured = measure(bench, Path(script).resolve(), [*bench.ours, *peers], args.rounds, options)
    result = {
        **head,
        "hardware": {**head["hardware"], "other_load": other.cores()},
        "unit": bench.unit,
        "entries": entry_rows(bench, measured),
        "ratios": compare(bench, measured),
        "bars": evaluate_bars(bench, measured),
    }
    write_result(bench, result)
    print_result(result, bench.unit)


class LossFunction:
    """An objective without a score, for `fit_by_gradient`: a loss as a function of the batch."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def loss(self, model: Any, batch: Any) -> Any:
        return self.function(batch)

    def score(self, model: Any, validation: Any) -> float:
        raise NotImplementedError
