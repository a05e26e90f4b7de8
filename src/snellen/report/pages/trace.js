// Shows one state of the trace: numbers of the drawing and of the tables, and the formula of what is pointed at.
// D holds flat lists of numbers; those of units have one row for each sample.
const $ = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const view = { state: 0, sample: 0, mode: "forward", chosen: null };

const size = (layer) => D.shapes[layer].reduce((a, b) => a * b, 1);
const unitKey = (layer) => (layer ? `${layer - 1}.z` : "x");
const now = () => D.states[view.state];
const preActivations = (layer) => (layer ? now().z[layer - 1] : D.inputs);
const values = (layer) => (layer ? now().a[layer - 1] || now().z[layer - 1] : D.inputs);
const at = (list, layer, i, s) => list[s * size(layer) + i];
const delta = (layer, i, s) => at(now().g[unitKey(layer)], layer, i, s);

function tidy(text) {
  return text.replace(/e([+-])0*(\d)/, (m, sign, d) => `e${sign === "-" ? "-" : ""}${d}`).replaceAll("-", "−");
}
function full(v) {  // seven significant digits, as in the terminal
  if (v === null || v === undefined) return "–";
  if (typeof v === "string") return v;
  if (v === 0) return "0";
  return tidy(Math.abs(v) < 1e-3 || Math.abs(v) >= 1e7 ? v.toExponential(3) : String(Number(v.toPrecision(7))));
}
function short(v) {
  if (v === 0) return "0";
  return tidy(Math.abs(v) < 0.01 || Math.abs(v) >= 1e5 ? v.toExponential(1) : String(Number(v.toPrecision(3))));
}
function sum(terms) {  // "a · b + c · d", at most six terms
  const rest = terms.length > 6 ? ` + … (${terms.length} terms)` : "";
  return (terms.slice(0, 6).join(" + ") || "0") + rest;
}

// Formula of a parameter: its gradient and its next value.
function parameterLines(key, i) {
  const [layer, name] = [Number(key.split(".")[0]), key.split(".")[1]];
  const own = D.parameters[key].names[i], g = now().g[key][i];
  const terms = gradientTerms(layer, name, key, i);
  const symbols = name === "weight" ? "Σ δ · input" : name === "scale" ? "Σ δ · x̂" : "Σ δ";
  const shown = terms.symbol && D.samples === 1 ? terms.symbol : symbols;
  const written = terms.list.length ? ` = ${sum(terms.list)}` : "";
  return [
    `${own} = ${full(now().p[key][i])}`,
    `∂E/∂${own} = ${shown}${written} = ${full(g)}`,
    `next ${own} = ${own} − lr · ∂E/∂${own} = ${full(now().p[key][i])} − ${full(D.lr)} · ${full(g)} = ` +
      full(now().next[key][i]),
  ];
}
function gradientTerms(layer, name, key, i) {
  const out = layer + 1, list = [];
  let symbol = "";
  for (let s = 0; s < D.samples; s++) {
    if (D.layers[layer].kind === "linear") {
      const inputs = size(layer);
      const j = name === "weight" ? Math.floor(i / inputs) : i;
      const d = delta(out, j, s);
      list.push(name === "weight" ? `${full(d)} · ${full(at(values(layer), layer, i % inputs, s))}` : full(d));
      symbol = `δ(${D.names[out][j]})` + (name === "weight" ? ` · ${D.names[layer][i % inputs]}` : "");
    } else if (D.layers[layer].kind === "conv2d") {
      for (let o = 0; o < size(out); o++) {
        const d = delta(out, o, s);
        if (!d) continue;
        if (name === "bias" && Math.floor(o / (D.shapes[out][1] * D.shapes[out][2])) === i) list.push(full(d));
        for (const [w, source] of name === "weight" ? readBy(layer, o) : [])
          if (w === i) list.push(`${full(d)} · ${full(at(values(layer), layer, source, s))}`);
      }
    }
  }
  return { list, symbol };
}

// The inputs that output o of a layer reads: pairs of (index of the weight or null, index of the input).
function readBy(layer, o) {
  const own = D.layers[layer], [C, H, W] = D.shapes[layer];
  if (own.kind === "flatten") return [[null, o]];
  if (own.kind === "linear") return Array.from({ length: size(layer) }, (_, n) => [o * size(layer) + n, n]);
  if (own.kind === "batch-norm") return [[null, o]];
  const [, rows, columns] = D.shapes[layer + 1];
  const c = Math.floor(o / (rows * columns)), y = Math.floor(o / columns) % rows, x = o % columns, pairs = [];
  const isPool = own.kind !== "conv2d";
  const [kh, kw] = isPool ? [own.size, own.size] : D.parameters[`${layer}.weight`].shape.slice(2);
  for (const channel of isPool ? [c] : Array.from({ length: C }, (_, n) => n))
    for (let i = 0; i < kh; i++)
      for (let j = 0; j < kw; j++) {
        const row = y * own.stride + i - (own.padding || 0), column = x * own.stride + j - (own.padding || 0);
        if (row < 0 || column < 0 || row >= H || column >= W) continue;
        pairs.push([isPool ? null : ((c * C + channel) * kh + i) * kw + j, (channel * H + row) * W + column]);
      }
  return pairs;
}
function winner(layer, o, s) {  // the first largest value of a window of max pooling
  let best = null;
  for (const [, n] of readBy(layer, o)) {
    const v = at(values(layer), layer, n, s);
    if (best === null || v > at(values(layer), layer, best, s)) best = n;
  }
  return best;
}
function statistics(layer, i, s) {  // mean and variance of the feature or channel of unit i
  const places = D.shapes[layer].length > 1 ? D.shapes[layer][1] * D.shapes[layer][2] : 1;
  const c = Math.floor(i / places), units = [];
  for (let b = 0; b < D.samples; b++) for (let n = c * places; n < (c + 1) * places; n++) units.push([n, b]);
  const list = units.map(([n, b]) => at(values(layer), layer, n, b));
  const mean = list.reduce((a, b) => a + b, 0) / list.length;
  return { c, units, mean, variance: list.reduce((a, b) => a + (b - mean) ** 2, 0) / list.length };
}

// Formula of a unit: how it is made, and its gradient.
function unitLines(layer, i, s) {
  const name = D.names[layer][i], lines = [], g = delta(layer, i, s);
  const a = at(values(layer), layer, i, s), z = at(preActivations(layer), layer, i, s);
  if (layer === 0) lines.push(`${name} = ${full(a)}, an input`);
  else lines.push(...forwardLines(layer, i, s, name, a, z));
  const own = layer ? D.layers[layer - 1] : { activation: "linear" }, isLast = layer === D.layers.length;
  const from = isLast ? outputGradient(layer, i, s, a) : upstream(layer, i, s);
  const written = from.numbers ? `${from.symbols} = ${from.numbers}` : from.symbols;
  if (own.activation === "linear" || (isLast && D.fused)) {
    lines.push(`${layer ? `δ(${name})` : `∂E/∂${name}`} = ${written} = ${full(g)}`);
    return lines;
  }
  lines.push(`∂E/∂${name} = ${written} = ${full(from.value)}`);
  const slope = slopeAt(own.activation, z, a);
  if (slope === null) lines.push(`δ(${name}) = Σⱼ ∂E/∂aⱼ · ∂aⱼ/∂z, ∂aⱼ/∂z = ${own.derivative}`, `δ(${name}) = ${full(g)}`);
  else {
    lines.push(`f'(z) = ${own.derivative} = ${full(slope)}`);
    lines.push(`δ(${name}) = ∂E/∂${name} · f'(z) = ${full(from.value)} · ${full(slope)} = ${full(g)}`);
  }
  return lines;
}
function slopeAt(activation, z, a) {
  if (activation === "sigmoid") return a * (1 - a);
  if (activation === "tanh") return 1 - a * a;
  if (activation === "relu") return z > 0 ? 1 : 0;
  return activation === "leaky-relu" ? (z > 0 ? 1 : 0.1) : null;  // softmax mixes all units
}
function forwardLines(layer, i, s, name, a, z) {
  const own = D.layers[layer - 1], before = layer - 1, pairs = readBy(before, i), lines = [];
  const put = (n) => full(at(values(before), before, n, s));
  const left = own.activation === "linear" ? name : `z(${name})`;
  const weights = D.parameters[`${before}.weight`], bias = D.parameters[`${before}.bias`];
  if (own.kind === "linear" || own.kind === "conv2d") {
    const channel = own.kind === "linear" ? i : Math.floor(i / (D.shapes[layer][1] * D.shapes[layer][2]));
    const used = own.kind === "linear" ? pairs : pairs.filter(([w]) => now().p[`${before}.weight`][w] !== 0);
    const symbols = used.map(([w, n]) => `${weights.names[w]} · ${D.names[before][n]}`);
    const numbers = used.map(([w, n]) => `${full(now().p[`${before}.weight`][w])} · ${put(n)}`);
    if (bias) symbols.push(bias.names[channel]), numbers.push(full(now().p[`${before}.bias`][channel]));
    lines.push(`${left} = ${sum(symbols)}`, `= ${sum(numbers)} = ${full(z)}`);
  } else if (own.kind === "batch-norm") {
    const { c, mean, variance } = statistics(before, i, s), x = at(values(before), before, i, s);
    const scale = now().p[`${before}.scale`][c], shift = now().p[`${before}.shift`][c];
    lines.push(
      `x̂ = (x − mean) / √(var + ε) = (${full(x)} − ${full(mean)}) / √(${full(variance)} + ${full(own.eps)}) = ` +
        full((x - mean) / Math.sqrt(variance + own.eps)),
      `${left} = γ x̂ + β = ${full(scale)} · ${full((x - mean) / Math.sqrt(variance + own.eps))} + ${full(shift)} = ` +
        full(z),
    );
  } else {
    const call = { "max-pool": "max", "mean-pool": "mean", flatten: "" }[own.kind];
    lines.push(`${left} = ${call}(${pairs.map(([, n]) => put(n)).join(", ")}) = ${full(z)}`);
    if (own.kind === "max-pool") {
      const first = winner(before, i, s);
      const ties = pairs.filter(([, n]) => at(values(before), before, n, s) === z).length;
      lines.push(`largest: ${D.names[before][first]}${ties > 1 ? `, the first of ${ties} equal values in row order` : ""}`);
    }
  }
  if (own.activation !== "linear") lines.push(`${name} = ${own.activation}(z) = ${own.formula} = ${full(a)}`);
  return lines;
}
function outputGradient(layer, i, s, a) {  // gradient of the loss by an output
  const t = at(D.targets, layer, i, s), difference = `${full(a)} − ${full(t)}`;
  const numbers = D.factor === 2 ? `2 · (${difference})` : difference;
  return { symbols: D.lossGradient, numbers, value: D.factor * (a - t) };
}
function upstream(layer, i, s) {  // gradient by an activation, from the next layer
  const own = D.layers[layer], next = layer + 1, symbols = [], numbers = [];
  if (own.kind === "batch-norm") return throughNormalisation(layer, i, s);
  let value = 0;
  for (let o = 0; o < size(next); o++) {
    for (const [w, n] of readBy(layer, o)) {
      if (n !== i) continue;
      const d = delta(next, o, s), symbol = `δ(${D.names[next][o]})`;
      if (w !== null) {
        const weight = now().p[`${layer}.weight`][w];
        if (own.kind === "conv2d" && !(d && weight)) continue;
        symbols.push(`${symbol} · ${D.parameters[`${layer}.weight`].names[w]}`);
        numbers.push(`${full(d)} · ${full(weight)}`);
        value += d * weight;
      } else if (own.kind === "mean-pool") {
        symbols.push(`${symbol} / ${own.size ** 2}`), numbers.push(`${full(d)} / ${own.size ** 2}`);
        value += d / own.size ** 2;
      } else if (own.kind === "flatten" || winner(layer, o, s) === i) {
        symbols.push(symbol), numbers.push(full(d));
        value += d;
      }
    }
  }
  if (symbols.length) return { symbols: sum(symbols), numbers: sum(numbers), value };
  return { symbols: own.kind === "max-pool" ? "no window has it as its first largest value" : "no term", value: 0 };
}
function throughNormalisation(layer, i, s) {
  const { c, mean, variance, units } = statistics(layer, i, s), root = Math.sqrt(variance + D.layers[layer].eps);
  const normal = (n, b) => (at(values(layer), layer, n, b) - mean) / root, d = (n, b) => delta(layer + 1, n, b);
  const meanD = units.reduce((total, [n, b]) => total + d(n, b), 0) / units.length;
  const meanDX = units.reduce((total, [n, b]) => total + d(n, b) * normal(n, b), 0) / units.length;
  const scale = now().p[`${layer}.scale`][c];
  return {
    symbols: "γ / √(var + ε) · (δ − mean δ − x̂ · mean δ x̂)",
    numbers: `${full(scale)} / ${full(root)} · (${full(d(i, s))} − ${full(meanD)} − ${full(normal(i, s))} · ` +
      `${full(meanDX)})`,
    value: (scale / root) * (d(i, s) - meanD - normal(i, s) * meanDX),
  };
}

function explain() {
  const box = $("#formula"), chosen = view.chosen;
  all(".chosen, .source").forEach((e) => e.classList.remove("chosen", "source"));
  if (!chosen) return;
  const { key, i } = chosen, layer = Number(chosen.layer);
  const s = chosen.s === undefined ? view.sample : Number(chosen.s);
  const lines = key ? parameterLines(key, Number(i)) : unitLines(layer, Number(i), s);
  box.replaceChildren(...lines.map((text) => Object.assign(document.createElement("p"), { textContent: text })));
  all(key ? `[data-key="${key}"][data-i="${i}"]` : `[data-layer="${layer}"][data-i="${i}"]`).forEach((e) => {
    if (chosen.s === undefined || e.dataset.s === undefined || e.dataset.s === chosen.s) e.classList.add("chosen");
  });
  if (key || !layer) return;
  const sources = D.layers[layer - 1].kind === "max-pool" && view.mode === "backward"
    ? [winner(layer - 1, Number(i), s)] : readBy(layer - 1, Number(i)).map(([, n]) => n);
  for (const n of sources)
    all(`td[data-layer="${layer - 1}"][data-i="${n}"]`).forEach((e) => {
      if (e.dataset.s === undefined || Number(e.dataset.s) === s) e.classList.add("source");
    });
}

function update() {
  const backward = view.mode === "backward", state = now();
  for (const element of all(".unit, .edge, .network text:not(.name), td[tabindex]")) {
    const { key, layer, i } = element.dataset;
    const s = element.dataset.s === undefined ? view.sample : Number(element.dataset.s);
    let v;
    if (key) v = backward ? state.g[key][i] : state.p[key][i];
    else v = backward ? delta(Number(layer), Number(i), s) : at(values(Number(layer)), Number(layer), Number(i), s);
    if (element.tagName === "TD") {
      element.textContent = short(v);
      element.classList.toggle("path", backward && v !== 0);
      element.classList.toggle("minus", backward && v < 0);
      element.setAttribute("aria-label", `${key ? D.parameters[key].names[i] : D.names[layer][i]}: ${full(v)}`);
    } else if (element.matches(".below")) {
      const list = (backward ? state.g : state.p)[`${layer - 1}.bias`];
      element.textContent = `${backward ? "∂E/∂b" : "bias"} ${short(list[i])}`;
    } else if (element.tagName === "text") {
      element.textContent = short(v);
    } else if (key) {
      const list = (backward ? state.g : state.p)[key], largest = Math.max(...list.map(Math.abs)) || 1;
      element.classList.toggle("minus", v < 0);
      element.querySelector(".line").setAttribute("stroke-width", (1 + (D.widest * Math.abs(v)) / largest).toFixed(2));
      const from = parseInt(key), count = size(from);
      element.setAttribute("aria-label", `${D.parameters[key].names[i]}, from ${D.names[from][i % count]} to ` +
        `${D.names[from + 1][Math.floor(i / count)]}: ${full(v)}`);
    } else {
      element.setAttribute("aria-label", `${D.names[layer][i]} ${short(v)}`);
    }
  }
  for (const row of all(".numbers tbody tr")) {
    const { key, layer, i } = row.dataset, cells = row.querySelectorAll("td"), s = view.sample;
    const three = (name, n) => [state.g[name][n], state.auto[name][n], state.diff[name][n]];
    const list = key
      ? [state.p[key][i], ...three(key, i), state.next[key][i]]
      : [layer > 0 ? at(preActivations(Number(layer)), Number(layer), Number(i), s) : "",
         at(values(Number(layer)), Number(layer), Number(i), s),
         ...three(unitKey(Number(layer)), s * size(layer) + Number(i))];
    list.forEach((v, n) => { cells[n].textContent = full(v); });
  }
  const outputs = size(D.layers.length);
  const targets = D.targets.slice(view.sample * outputs, (view.sample + 1) * outputs);
  const sample = D.samples > 1 ? ` of all ${D.samples} samples` : "";
  const target = outputs > 4 ? "" : `; target${outputs > 1 ? "s" : ""} ${targets.map(full).join(", ")}`;
  $("#now").textContent =
    `After ${state.k.toLocaleString("en")} of ${D.steps.toLocaleString("en")} update${D.steps === 1 ? "" : "s"}: E = ${full(state.E)}${sample}${target}`;
  const mark = $("#mark"), slider = $("#step");
  if (mark) mark.setAttribute("cx", state.at[0]), mark.setAttribute("cy", state.at[1]);
  if (slider) {
    slider.value = view.state;
    slider.setAttribute("aria-valuetext", `after ${state.k} updates`);
    $("#back").disabled = view.state === 0;
    $("#forth").disabled = view.state === D.states.length - 1;
  }
  explain();
}

$("#controls").hidden = false;
const go = (state) => { view.state = Math.min(Math.max(state, 0), D.states.length - 1); update(); };
$("#step")?.addEventListener("input", (event) => go(Number(event.target.value)));
$("#back")?.addEventListener("click", () => go(view.state - 1));
$("#forth")?.addEventListener("click", () => go(view.state + 1));
$("#sample")?.addEventListener("change", (event) => { view.sample = Number(event.target.value); update(); });
all("input[name=mode]").forEach((e) => e.addEventListener("change", () => { view.mode = e.value; update(); }));
all(".unit, .edge, td[tabindex]").forEach((element) => {
  const choose = () => { view.chosen = { ...element.dataset }; explain(); };
  for (const kind of ["mouseenter", "focus", "click"]) element.addEventListener(kind, choose);
});
const last = D.layers.length;
view.chosen = D.graph ? { key: `${last - 1}.weight`, i: "0" } : { layer: String(last), i: String(size(last) - 1) };
update();
