// Shows the window, the products and their sum of the output pixel under the pointer, or chosen by keys or sliders.
// Each stage carries its input values (with the border already applied), so that every number here is exact.
"use strict";
const minus = (text) => text.replace(/-/g, "−");
function format(v) {
  if (Number.isInteger(v) && Math.abs(v) < 1e15) return minus(String(v));
  const size = Math.abs(v);
  if (size < 1e-4 || size >= 1e6) return minus(v.toExponential(5).replace(/\.?0+e/, "e").replace("e+", "e"));
  return minus(String(Number(v.toPrecision(6))));
}
function numbers(text, kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new { uint8: Uint8Array, uint16: Uint16Array, float64: Float64Array }[kind](bytes.buffer);
}
function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function start(root, stage) {
  const values = numbers(stage.values, stage.dtype);
  const [width, height] = [stage.region.w, stage.region.h];
  const select = root.querySelector("select");
  const sliders = { x: root.querySelector("input.x"), y: root.querySelector("input.y") };
  const result = root.querySelector(".result svg");
  const place = (x, y) => minus(stage.signal ? String(x) : `${x},${y}`);
  let at = { x: stage.at[0], y: stage.at[1] };

  function terms(channel) {
    const found = [];
    for (let i = 0; i < stage.y.taps; i++) {
      for (let j = 0; j < stage.x.taps; j++) {
        const y = at.y * stage.y.stride - stage.y.before + i * stage.y.dilation;
        const x = at.x * stage.x.stride - stage.x.before + j * stage.x.dilation;
        const value = values[(channel * height + y - stage.region.y) * width + x - stage.region.x];
        const out = x < 0 || y < 0 || x >= stage.x.inputs || y >= stage.y.inputs;
        found.push({ x, y, value, out, weight: stage.weights ? stage.weights[i * stage.x.taps + j] : 0, product: 0 });
      }
    }
    if (stage.kind === "max") found.reduce((best, term) => (term.value > best.value ? term : best)).weight = 1;
    for (const term of found) term.product = term.value * term.weight;
    return found;
  }

  function sumOf(found) {
    if (stage.kind === "mean") return found.reduce((sum, term) => sum + term.value, 0) / found.length;
    return found.reduce((sum, term) => sum + term.product, 0);
  }

  function words(term) {
    if (stage.kind) return format(term.value);
    return `${format(term.value)} × ${format(term.weight)}`;
  }

  function draw() {
    const channel = select ? Number(select.value) : 0;
    const found = terms(channel);
    const total = sumOf(found);
    const outside = found.filter((term) => term.out).length;
    const beyond = outside ? `, ${outside} of them beyond the border` : "";
    const what = { max: `largest of ${found.length} values`, mean: `mean of ${found.length} values` };
    root.querySelector(".sum").textContent =
      `Output ${place(at.x, at.y)} = ${format(total)}: ${what[stage.kind] || `sum of ${found.length} products`}${beyond}`;
    const holder = root.querySelector(".arithmetic");
    if (stage.x.taps <= 5 && stage.y.taps <= 7) {
      const body = element("tbody", "");
      for (let i = 0; i < stage.y.taps; i++) {
        body.append(element("tr", "", ...found.slice(i * stage.x.taps, (i + 1) * stage.x.taps).map((term) => {
          const chosen = stage.kind === "max" && term.weight === 1;
          const cell = element("td", term.out ? "out" : chosen ? "chosen" : "", words(term));
          if (!stage.kind) cell.append(element("b", "", `= ${format(term.product)}`));
          cell.append(element("span", "", `${place(term.x, term.y)}${term.out ? " border" : ""}`));
          return cell;
        })));
      }
      holder.replaceChildren(element("table", "terms", body));
    } else {
      const largest = stage.kind === "max" ? (a, b) => b.value - a.value : (a, b) => Math.abs(b.product) - Math.abs(a.product);
      const shown = [...found].sort(largest).slice(0, 12);
      const items = shown.map((term) => {
        const product = stage.kind === "max" ? "" : ` = ${format(term.product)}`;
        const factor = stage.kind === "max" ? format(term.value) : `${format(term.value)} × ${format(term.weight)}`;
        const where = `${place(term.x, term.y)}${term.out ? " border" : ""}`;
        return element("li", term.out ? "out" : "", `${factor}${product} at ${where}`);
      });
      if (found.length > shown.length) {
        const rest = total - shown.reduce((sum, term) => sum + term.product, 0);
        const together = stage.kind === "max" ? "" : `, together ${format(rest)}`;
        items.push(element("li", "", `${found.length - shown.length} smaller ones${together}`));
      }
      holder.replaceChildren(element("ul", "listed", ...items));
    }
    const [unitX, unitY] = stage.cell;
    for (const rectangle of root.querySelectorAll(".window, .window-halo")) {
      const x = at.x * stage.x.stride - stage.x.before, y = at.y * stage.y.stride - stage.y.before;
      rectangle.setAttribute("x", (x - stage.region.x) * unitX);
      rectangle.setAttribute("y", (y - stage.region.y) * unitY);
    }
    for (const rectangle of root.querySelectorAll(".pixel, .pixel-halo")) {
      rectangle.setAttribute("x", (at.x - stage.crop.x + stage.offset[0]) * unitX);
      rectangle.setAttribute("y", (at.y - stage.crop.y + stage.offset[1]) * unitY);
    }
    for (const axis of ["x", "y"]) {
      if (!sliders[axis]) continue;
      sliders[axis].value = at[axis];
      sliders[axis].parentElement.querySelector("output").value = at[axis];
    }
  }

  function move(x, y) {
    const clip = (value, low, count) => Math.min(Math.max(value, low), low + count - 1);
    at = { x: clip(x, stage.crop.x, stage.crop.w), y: clip(y, stage.crop.y, stage.crop.h) };
    draw();
  }

  function point(event) {
    const box = result.createSVGPoint();
    [box.x, box.y] = [event.clientX, event.clientY];
    const inside = box.matrixTransform(result.getScreenCTM().inverse());
    const [x, y] = [Math.floor(inside.x / stage.cell[0]), Math.floor(inside.y / stage.cell[1])];
    move(stage.crop.x + x - stage.offset[0], stage.crop.y + y - stage.offset[1]);
  }

  for (const kind of ["pointermove", "pointerdown"]) result.addEventListener(kind, point);
  result.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
      Home: [stage.crop.x - at.x, 0], End: [stage.crop.x + stage.crop.w - 1 - at.x, 0] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    move(at.x + step[0], at.y + step[1]);
  });
  if (sliders.x) sliders.x.addEventListener("input", () => move(Number(sliders.x.value), at.y));
  if (sliders.y) sliders.y.addEventListener("input", () => move(at.x, Number(sliders.y.value)));
  if (select) select.addEventListener("change", draw);
  root.querySelector(".places").classList.remove("still");
  draw();
}

const roots = document.querySelectorAll(".stage");
STAGES.forEach((stage, k) => start(roots[k], stage));
