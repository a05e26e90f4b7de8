// Plays motions: each `.player` holds the description and the quantised positions of its skeletons (report/motion.py).
(() => {
  const DEGREE = Math.PI / 180, FRAMES_PER_SECOND = 25;  // where the duration of a frame is unknown

  function decode(text) {  // base64 of little-endian int16
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)), view = new DataView(bytes.buffer);
    return Int16Array.from({ length: bytes.length / 2 }, (_, k) => view.getInt16(2 * k, true));
  }

  // Radius in the horizontal plane and half height of all frames: with them one scale fits every frame and angle.
  function extent(values, missing) {
    let radius = 1, height = 1;
    for (let k = 0; k < values.length; k += 3) {
      if (values[k] === missing) continue;
      radius = Math.max(radius, Math.hypot(values[k], values[k + 2]));
      height = Math.max(height, Math.abs(values[k + 1]));
    }
    return { radius, height };
  }

  function player(element) {
    const D = JSON.parse(element.dataset.motion), values = decode(element.dataset.positions);
    const find = (selector) => element.querySelector(selector);
    const [canvas, button, frame, angle] = [".stage canvas", "button", ".frame", ".angle"].map(find);
    const size = extent(values, D.missing), context = canvas.getContext("2d");
    const starts = D.tracks.map((_, k) => D.tracks.slice(0, k).reduce((sum, track) => sum + track[1], 0));
    const seconds = D.seconds || 1 / FRAMES_PER_SECOND;
    let playing = null, colours = [];

    function joint(track, position, j) {  // [x, y, z], or null
      const at = 3 * (D.joints * (starts[track] + position - D.tracks[track][0]) + j);
      return values[at] === D.missing ? null : [values[at], values[at + 1], values[at + 2]];
    }

    function text(position) {
      const index = D.frames[position], steps = index - (D.present === null ? 0 : D.present);
      const sign = D.present === null || !steps ? "" : steps > 0 ? "+" : "−";
      const time = D.seconds === null ? "" : `${sign}${Math.round(Math.abs(steps) * D.seconds * 1000)} ms`;
      const part = D.present === null ? "" : steps > 0 ? "forecast" : "observed";
      const place = [part, time || (part && `${sign}${Math.abs(steps)}`)].filter((word) => word).join(" ");
      return `frame ${index + 1} of ${D.count}${place ? `, ${place}` : ""}`;
    }

    function draw() {
      const width = canvas.clientWidth, height = canvas.clientHeight, ratio = window.devicePixelRatio || 1;
      if (!width) return;
      if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
        [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
      }
      const yaw = angle.valueAsNumber * DEGREE, pitch = D.pitch * DEGREE;
      const tall = size.height * Math.cos(pitch) + size.radius * Math.sin(pitch);
      const scale = 0.47 * Math.min(width / size.radius, height / tall);
      const place = ([x, y, z]) => {
        const depth = z * Math.cos(yaw) - x * Math.sin(yaw), across = x * Math.cos(yaw) + z * Math.sin(yaw);
        return [width / 2 + scale * across, height / 2 - scale * (y * Math.cos(pitch) - depth * Math.sin(pitch))];
      };
      const line = (a, b) => { context.moveTo(...place(a)); context.lineTo(...place(b)); };
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, width, height);
      // the floor, which turns with the view
      const side = size.radius / Math.SQRT2;
      context.setLineDash([]);
      [context.lineWidth, context.globalAlpha, context.strokeStyle] = [1, 0.4, colours.floor];
      context.beginPath();
      for (let k = -3; k <= 3; k++) {
        const at = (side * k) / 3;
        line([at, -size.height, -side], [at, -size.height, side]);
        line([-side, -size.height, at], [side, -size.height, at]);
      }
      context.stroke();
      context.globalAlpha = 1;
      const position = frame.valueAsNumber;
      D.tracks.forEach(([first, count], track) => {
        if (position < first || position >= first + count) return;
        const joints = Array.from({ length: D.joints }, (_, j) => joint(track, position, j));
        context.strokeStyle = context.fillStyle = colours[track % colours.length];
        context.lineWidth = 2.4;
        context.setLineDash(D.dashes[track % D.dashes.length]);
        context.beginPath();
        for (const [a, b] of D.bones) if (joints[a] && joints[b]) line(joints[a], joints[b]);
        context.stroke();
        const radius = D.bones.length ? 1.8 : 3;
        for (const at of joints) {
          if (!at) continue;
          context.beginPath();
          context.arc(...place(at), radius, 0, 2 * Math.PI);
          context.fill();
        }
      });
      find("output").textContent = text(position);
      frame.setAttribute("aria-valuetext", text(position));
      find(".turn span").textContent = `${angle.value}°`.replace("-", "−");
    }

    function readColours() {
      const style = getComputedStyle(element), colour = (name) => style.getPropertyValue(name).trim();
      colours = [1, 2, 3, 4, 5, 6].map((k) => colour(`--c${k}`));
      colours.floor = colour("--quiet");
      draw();
    }

    function stop() {
      cancelAnimationFrame(playing);
      playing = null;
      button.textContent = "Play";
    }

    function play() {
      const last = D.frames.length - 1;
      if (frame.valueAsNumber >= last) frame.value = 0;
      const from = frame.valueAsNumber, step = 1000 * seconds * (D.frames.length > 1 ? D.frames[1] - D.frames[0] : 1);
      let begun = null;
      const tick = (now) => {
        begun ??= now;
        frame.value = Math.min(last, from + Math.floor((now - begun) / step));
        draw();
        if (frame.valueAsNumber >= last) stop(); else playing = requestAnimationFrame(tick);
      };
      button.textContent = "Pause";
      playing = requestAnimationFrame(tick);
    }

    button.addEventListener("click", () => (playing === null ? play() : stop()));
    frame.addEventListener("input", () => { if (playing !== null) stop(); draw(); });
    angle.addEventListener("input", draw);
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      const turned = angle.valueAsNumber + (180 * event.movementX) / canvas.clientWidth;
      angle.value = turned > 180 ? turned - 360 : turned < -180 ? turned + 360 : turned;
      draw();
    });
    find(".stills").hidden = true;
    find(".stage").hidden = false;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColours);
    new ResizeObserver(draw).observe(canvas);
    readColours();
  }

  document.querySelectorAll(".player").forEach(player);
})();
