"""Recordings of sound as HTML: waveform and spectrogram as SVG, and a WAV in the page that the browser plays."""

from __future__ import annotations

import base64
import io
import math
import wave
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from snellen.core.views import Sound, SoundClip
from snellen.report import palette
from snellen.report.html_text import clean, escape, escape_name

MAX_CLIPS = 8  # of a view: with 5 s at 16 kHz each, two views stay below 4 MB
MAX_SECONDS = 5.0  # of a clip, from its start
MAX_RATE = 16_000  # samples per second in the page; the drawing shows the samples at their own rate
MIN_RATE, LOW_RATE = 8_000, 3_000  # samples below LOW_RATE per second are played at MIN_RATE, which browsers support
MAX_COLUMNS = 500  # of a spectrogram; more are averaged
RANGE_DB = 80.0  # of the colours, below the maximum of a clip
WIDTH, LEFT, RIGHT = 320, 34, 6  # units of the SVG
WAVE, GAP, SPECTRUM, BOTTOM = 48, 22, 96, 32  # heights: waveform, between, spectrogram, axis of time
PEAKS = 280  # columns of the waveform, each from its lowest to its highest sample


def sound_html(view: Sound) -> str:
    """The recordings of a view, at most MAX_CLIPS of them."""
    items = "".join(_clip(item) for item in view.items[:MAX_CLIPS])
    more = ""
    if len(view.items) > MAX_CLIPS:
        more = f'<p class="small">The first {MAX_CLIPS} of {len(view.items):,} recordings.</p>'
    return f'<ul class="sounds">{items}</ul>{more}'


def _clip(item: SoundClip) -> str:
    """One recording: drawing, player and caption."""
    first, *others = [clean(line) for line in item.caption.split("\n")]
    mono, seconds, notes = first_seconds(item)
    others += [" ".join(notes)] if notes else []
    mark = {True: " right", False: " wrong", None: ""}[item.good]
    caption = f"<b>{escape_name(first)}</b>" + "".join(f"<span>{escape_name(line)}</span>" for line in others)
    if not len(mono):
        return f'<li class="sound{mark}"><p>{caption}<span>no samples</span></p></li>'
    source = base64.b64encode(wav_bytes(mono, item.rate)).decode()
    return (
        f'<li class="sound{mark}">{_drawing(item, mono, seconds, first)}'
        f'<audio controls preload="metadata" aria-label="{escape(first or "recording")}" '
        f'src="data:audio/wav;base64,{source}"></audio><p>{caption}</p></li>'
    )


def first_seconds(item: SoundClip) -> tuple[Tensor, float, list[str]]:
    """(T,) float64 mean of the channels of the first seconds, their duration, and sentences on what is left out."""
    total = item.samples.shape[1] / item.rate
    samples = item.samples[:, : math.ceil(MAX_SECONDS * item.rate)].detach().cpu().double()
    notes = []
    if total > MAX_SECONDS:
        notes.append(f"First {MAX_SECONDS:.0f} s of {total:.1f} s.")
    if len(item.samples) > 1:
        notes.append(f"Mean of {len(item.samples)} channels.")
    if item.rate > MAX_RATE:
        notes.append(f"Played at {MAX_RATE // 1000} kHz instead of {item.rate / 1000:g} kHz.")
    if not bool(samples.isfinite().all()):
        notes.append("Samples that are no numbers are drawn as 0.")
    mono = samples.nan_to_num(0.0, 0.0, 0.0).mean(0) if len(samples) else samples.new_zeros(0)
    return mono, len(mono) / item.rate, notes


def wav_bytes(mono: Tensor, rate: float) -> bytes:
    """A 16-bit WAV of (T,) samples in -1 … 1, at MAX_RATE at most."""
    played = float(MAX_RATE) if rate > MAX_RATE else float(MIN_RATE) if rate < LOW_RATE else rate
    pcm = (resampled(mono, rate, played).clamp(-1, 1) * 32767).round().to(torch.int16).numpy()
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(round(played))
        file.writeframes(pcm.astype("<i2").tobytes())
    return buffer.getvalue()


def resampled(x: Tensor, rate: float, new_rate: float) -> Tensor:
    """(T,) samples at another rate: the Fourier coefficients below both Nyquist frequencies are kept."""
    count = max(1, round(len(x) * new_rate / rate))
    if count == len(x) or not len(x):
        return x
    spectrum = torch.fft.rfft(x)
    below = min(len(x), count) // 2 + 1 if min(len(x), count) % 2 else min(len(x), count) // 2
    result = torch.zeros(count // 2 + 1, dtype=spectrum.dtype)
    result[:below] = spectrum[:below]
    y: Tensor = torch.fft.irfft(result, count) * (count / len(x))
    return y


def _drawing(item: SoundClip, mono: Tensor, seconds: float, name: str) -> str:
    """Waveform above the spectrogram, on one axis of time."""
    has_spectrum = item.spectrogram is not None and item.spectrogram.numel() > 0
    bottom = WAVE + (GAP + SPECTRUM if has_spectrum else 0)
    what = "waveform and spectrogram" if has_spectrum else "waveform"
    parts = [_waveform(mono), _spectrum(item, seconds) if has_spectrum else "", _time_axis(seconds, bottom)]
    return (
        f'<svg viewBox="0 -6 {WIDTH} {bottom + BOTTOM + 6}" role="img" '
        f'aria-label="{escape(f"{name}: {what}, {seconds:.3g} s")}" font-size="11" '
        f'font-family="var(--sans, sans-serif)" fill="currentColor">{"".join(parts)}</svg>'
    )


def _waveform(mono: Tensor) -> str:
    """The envelope of the samples; the axis ends at their largest magnitude."""
    peak = float(mono.abs().max())
    columns = min(PEAKS, len(mono))
    bounds = np.linspace(0, len(mono), columns + 1).round().astype(int)
    values = mono.numpy()
    low = np.minimum.reduceat(values, bounds[:-1])
    high = np.maximum.reduceat(values, bounds[:-1])
    across = LEFT + (np.arange(columns) + 0.5) * (WIDTH - LEFT - RIGHT) / columns
    scale = WAVE / 2 / peak if peak else 0.0
    middle = WAVE / 2
    d = "".join(
        f"M{x:.1f} {middle - scale * b:.1f}V{middle - scale * a + 0.3:.1f}"
        for x, a, b in zip(across, low, high, strict=True)
    )
    label = f"{peak:.2g}" if peak else "0"
    return (
        f'<path d="M{LEFT} {middle}H{WIDTH - RIGHT}" stroke="var(--quiet)" stroke-width=".5"/>'
        f'<path d="{d}" stroke="{palette.CSS[palette.SERIES[0]]}" stroke-width="1" fill="none"/>'
        + "".join(
            f'<text x="{LEFT - 5}" y="{y}" text-anchor="end" dominant-baseline="middle">{text}</text>'
            for y, text in ((2, label), (WAVE - 2, f"−{label}"))
            if peak
        )
    )


def _spectrum(item: SoundClip, seconds: float) -> str:
    """The spectrogram as a PNG with ticks in kHz."""
    assert item.spectrogram is not None
    levels = item.spectrogram.detach().cpu().double()
    columns = levels.shape[1]
    if item.hop_seconds:
        columns = max(1, min(columns, math.ceil(seconds / item.hop_seconds)))
    width = (WIDTH - LEFT - RIGHT) * (min(1.0, columns * item.hop_seconds / seconds) if item.hop_seconds else 1.0)
    top = WAVE + GAP
    image = base64.b64encode(spectrogram_png(levels[:, :columns])).decode()
    ticks = "".join(
        f'<path d="M{LEFT} {y:.1f}h-3" stroke="currentColor" stroke-width=".6"/>'
        f'<text x="{LEFT - 5}" y="{y:.1f}" text-anchor="end" dominant-baseline="middle">{khz:g}</text>'
        for khz, y in _frequency_ticks(item.frequencies, len(levels))
    )
    unit = f'<text x="{LEFT - 5}" y="{top - 4}" text-anchor="end" fill="var(--quiet)">kHz</text>' if ticks else ""
    return (
        f'<image x="{LEFT}" y="{top}" width="{width:.1f}" height="{SPECTRUM}" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{image}"/>{ticks}{unit}'
    )


def spectrogram_png(levels: Tensor) -> bytes:
    """PNG of (M, F) decibels, the lowest frequency at the bottom: 80 dB below the maximum are dark, the maximum light.

    The colours are those of matplotlib's "magma", legible on a light and on a dark page.
    """
    from PIL import Image

    from snellen.report.plots import import_matplotlib

    finite = levels[levels.isfinite()]
    top = float(finite.max()) if len(finite) else 0.0
    if not len(finite) or float(finite.min()) == top:  # silence is dark
        top += RANGE_DB
    levels = levels.nan_to_num(top - RANGE_DB, top, top - RANGE_DB)
    if levels.shape[1] > MAX_COLUMNS:
        levels = functional.adaptive_avg_pool1d(levels[None], MAX_COLUMNS)[0]
    index = ((levels - (top - RANGE_DB)) / RANGE_DB).clamp(0, 1).mul(63).round().mul(4).to(torch.uint8)
    import_matplotlib()
    import matplotlib

    colours = (matplotlib.colormaps["magma"](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(index.flip(0).numpy()))
    image.putpalette(colours.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _frequency_ticks(frequencies: object, rows: int) -> Iterator[tuple[float, float]]:
    """Frequencies in kHz and their heights, far enough from one another; the rows have any spacing, such as mel."""
    known = np.asarray(frequencies, float)
    if len(known) != rows or rows < 2 or not bool((np.diff(known) > 0).all()):
        return
    last = math.inf
    top = WAVE + GAP
    for khz in (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0):
        if not known[0] <= 1000 * khz <= known[-1] + (known[-1] - known[-2]) / 2:
            continue
        row = float(np.interp(1000 * khz, known, np.arange(rows)))
        y = top + SPECTRUM * (1 - (row + 0.5) / rows)
        if last - y >= 13 and (y >= top + 9 or last == math.inf):
            last = y
            yield khz, y


def _time_axis(seconds: float, y: float) -> str:
    """Ticks in seconds below the drawing."""
    rough = seconds / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough)
    inside = WIDTH - LEFT - RIGHT
    ticks = "".join(
        f'<path d="M{x:.1f} {y}v3" stroke="currentColor" stroke-width=".6"/>'
        f'<text x="{x:.1f}" y="{y + 13}" text-anchor="middle">{k * step:.6g}</text>'
        for k, x in ((k, LEFT + inside * k * step / seconds) for k in range(int(seconds / step + 1e-9) + 1))
    )
    label = f'<text x="{LEFT + inside / 2:.0f}" y="{y + 27}" text-anchor="middle" fill="var(--quiet)">time [s]</text>'
    return ticks + label
