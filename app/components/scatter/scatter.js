// One head: all its queries and keys. Pan, zoom (and turn, in 3-D), tooltip, pick, lines of attention, legend.
const NEAR = 9, STILL = 4;

export default function (component) {
  const scatter = mount(component.parentElement, makeScatter);
  scatter.send = component.setTriggerValue;
  scatter.show(component.data);
  return scatter.leave;
}

function makeScatter(host) {
  const scatter = {header: null, picked: null, hovered: null, listed: null, links: [], off: new Set(), send: null};
  const camera = {x: 0, y: 0, zoom: 1, fitted: 1, yaw: 0.6, pitch: 0.4, turn: FLAT, middle: new Float32Array(3)};
  const canvas = element("canvas", {class: "points"});
  const overlay = element("canvas", {class: "overlay"});
  const tip = element("div", {class: "tip", "aria-hidden": "true"});
  const tools = element("div", {class: "tools"});
  const stage = element("div", {class: "stage", tabindex: "0", role: "application"}, canvas, overlay, tip, tools);
  const title = element("div", {class: "walk"}), warning = element("div", {class: "warning", role: "note"});
  stage.append(title, warning);
  const legend = element("div", {class: "legend"});
  const spoken = element("div", {class: "unseen", "aria-live": "polite"});
  host.append(stage, legend, spoken);
  let drawer, data, waiting = false, drag = null;
  const ratio = () => window.devicePixelRatio || 1;
  const forget = [
    board().listen("head.picked", (message) => { if (message?.view === scatter.header?.view) link(message); else scatter.pending = message; }),
    board().listen("head.listed", (point) => { scatter.listed = point; decorate(); }),
  ];
  const resized = new ResizeObserver(() => { fit(false); redraw(); });
  resized.observe(stage);
  document.addEventListener("keydown", pressed);
  scatter.leave = () => { forget.forEach((stop) => stop()); resized.disconnect(); document.removeEventListener("keydown", pressed); drawer?.leave(); };

  // Where a point is on the screen: for whoever drives the page from outside (tests, a tour).
  board().where = (point) => {
    const box = stage.getBoundingClientRect(), [x, y] = seen(camera, data.points, point);
    return [box.left + box.width / 2 + x / ratio(), box.top + box.height / 2 + y / ratio()];
  };

  scatter.show = (message) => {
    stage.classList.remove("waiting");
    const {header, sections} = unpack(message);
    if (scatter.header?.digest === header.digest) return;
    const samePlace = scatter.header?.frame === header.frame;
    scatter.header = header;
    data = {...sections, n: header.n, texts: header.texts, steps: rampSteps(sections.values, header.colour), pixels: rampPixels(header.colour)};
    data.points = spread(sections.places, header.dims);
    data.kinds = new Float32Array(2 * header.n).fill(1, header.n);
    data.states = new Float32Array(2 * header.n).fill(1);
    scatter.off.clear();
    if (!samePlace) Object.assign(scatter, {picked: null, links: []});
    scatter.hovered = scatter.listed = null;
    stage.setAttribute("aria-label", header.alt);
    drawer ??= makeDrawer(canvas);
    host.dataset.drawer = drawer.kind;
    drawer.load(data.points, data.steps, data.kinds, data.pixels);
    buildLegend();
    buildTools();
    buildTitle();
    fit(!samePlace);
    if (scatter.pending?.view === header.view) link(scatter.pending);
    else mark();
  };

  function spread(places, dims) {
    if (dims === 3) return places;
    const points = new Float32Array(places.length / 2 * 3);
    for (let at = 0; at < places.length / 2; at++) { points[3 * at] = places[2 * at]; points[3 * at + 1] = places[2 * at + 1]; }
    return points;
  }

  // ---- camera

  function fit(anew) {
    const [wide, tall] = [stage.clientWidth * ratio(), stage.clientHeight * ratio()];
    if (!data || !wide || !tall) return;
    const resize = canvas.width !== wide || canvas.height !== tall;
    if (resize) for (const each of [canvas, overlay]) { each.width = wide; each.height = tall; }
    if (!anew && camera.view === scatter.header.frame) {
      const before = camera.fitted;
      camera.fitted = fitted(wide, tall);
      camera.zoom *= camera.fitted / before;
      return;
    }
    const {low, high} = scatter.header;
    camera.middle = new Float32Array([0, 1, 2].map((axis) => ((low[axis] ?? 0) + (high[axis] ?? 0)) / 2));
    camera.turn = scatter.header.dims === 3 ? turned(camera.yaw, camera.pitch) : FLAT;
    Object.assign(camera, {x: 0, y: scatter.header.dims === 3 ? 0 : 13 * ratio(), view: scatter.header.frame, fitted: fitted(wide, tall)});
    camera.zoom = camera.fitted;
  }

  function fitted(wide, tall) {
    const {low, high, dims} = scatter.header;
    const spans = low.map((value, axis) => Math.max(high[axis] - value, 1e-6));
    if (dims === 3) return 0.94 * Math.min(wide, tall) / Math.hypot(...spans) * 1.25;
    return 0.92 * Math.min(wide / spans[0], (tall - 30 * ratio()) / spans[1]);
  }

  function zoomAt(factor, x, y) {
    const next = Math.min(Math.max(camera.zoom * factor, camera.fitted * 0.5), camera.fitted * 400);
    const real = next / camera.zoom;
    camera.x = x + (camera.x - x) * real;
    camera.y = y + (camera.y - y) * real;
    camera.zoom = next;
    redraw();
  }

  function pointSize() {
    const base = data.n <= 1000 ? 5.5 : data.n <= 5000 ? 4 : data.n <= 20000 ? 3 : 2.2;
    return Math.min(base * (camera.zoom / camera.fitted) ** 0.4, 13) * ratio();
  }

  function redraw() {
    if (waiting || !data) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      const start = performance.now();
      drawer.frame(camera, pointSize(), scatter.header.colour.kind === "kind" ? 0.62 : 0.8);
      decorate();
      window.__qkAtlas.drawn = {at: performance.now(), ms: performance.now() - start, view: scatter.header.view};
    });
  }

  // ---- what is marked

  function link(message) {
    scatter.pending = message;
    scatter.picked = message?.point ?? null;
    scatter.links = message?.links ?? [];
    scatter.start = message?.start ?? scatter.picked;
    mark();
  }

  function mark() {
    if (!data) return;
    const {n, inputs, states, values} = data;
    const mine = scatter.picked === null ? null : inputs[scatter.picked % n];
    for (let at = 0; at < 2 * n; at++) {
      const token = at % n;
      const hidden = scatter.off.size && scatter.off.has(bucket(at, values));
      states[at] = hidden ? 0 : mine === null ? 1 : inputs[token] === mine ? 1 : 0.4;
    }
    drawer.marks(states);
    redraw();
    if (scatter.links.length) window.__qkAtlas.linked = performance.now();
    host.dataset.picked = scatter.picked ?? "";
    host.dataset.links = JSON.stringify(scatter.links.map((each) => [each.point, each.weight]));
  }

  function bucket(at, values) {
    const {colour} = scatter.header;
    if (colour.kind === "kind") return at < data.n ? 0 : 1;
    return Number.isNaN(values[at]) ? -1 : values[at];
  }

  function decorate() {
    const context = overlay.getContext("2d"), dot = ratio();
    context.clearRect(0, 0, overlay.width, overlay.height);
    if (!data) return;
    const on = (at) => { const [x, y] = seen(camera, data.points, at); return [overlay.width / 2 + x, overlay.height / 2 + y]; };
    const style = getComputedStyle(host), ink = style.getPropertyValue("--st-text-color"), ground = style.getPropertyValue("--st-background-color");
    const {selected, query, key} = scatter.header.palette;
    const taken = [];
    if (scatter.picked !== null && scatter.links.length) {
      const [x, y] = on(scatter.start);
      const most = Math.max(...scatter.links.map((each) => each.weight));
      context.strokeStyle = selected;
      for (const {point, weight} of scatter.links) {
        const [endX, endY] = on(point);
        context.globalAlpha = 0.25 + 0.65 * weight / most;
        context.lineWidth = (0.8 + 3.6 * weight / most) * dot;
        context.beginPath();
        context.moveTo(x, y);
        context.lineTo(endX, endY);
        context.stroke();
      }
      context.globalAlpha = 1;
      for (const {point} of scatter.links) ring(on(point), 4, point < data.n ? query : key, true);
    }
    if (scatter.picked !== null && scatter.start !== scatter.picked) ring(on(scatter.start), 6, selected, false);
    if (scatter.listed !== null) ring(on(scatter.listed), 9, ink, false);
    if (scatter.hovered !== null) ring(on(scatter.hovered), 7, ink, false);
    if (scatter.picked !== null) { ring(on(scatter.picked), 7.5, selected, false); label(scatter.start, true); }
    for (const {point} of scatter.links.slice(0, 5)) label(point, false);

    function ring([x, y], radius, colour, filled) {
      context.beginPath();
      context.arc(x, y, radius * dot, 0, 7);
      context.lineWidth = 2.2 * dot;
      if (filled) { context.fillStyle = colour; context.fill(); context.strokeStyle = ground; context.lineWidth = 1.2 * dot; }
      else context.strokeStyle = colour;
      context.stroke();
    }

    function label(point, strong) {
      const text = cut(visibleToken(data.texts[data.words[point % data.n]]), 18);
      context.font = `${strong ? 600 : 400} ${12.5 * dot}px ${style.fontFamily}`;
      const wide = context.measureText(text).width, [x, y] = on(point);
      const box = {left: x + 9 * dot, top: y - 9 * dot, right: x + 9 * dot + wide, bottom: y + 9 * dot};
      if (taken.some((other) => box.left < other.right && other.left < box.right && box.top < other.bottom && other.top < box.bottom)) return;
      taken.push(box);
      context.lineWidth = 3.5 * dot;
      context.strokeStyle = ground;
      context.fillStyle = ink;
      context.strokeText(text, box.left, y + 4.2 * dot);
      context.fillText(text, box.left, y + 4.2 * dot);
    }
  }

  // ---- pointer

  const spot = (event) => {
    const box = stage.getBoundingClientRect();
    return [(event.clientX - box.left - box.width / 2) * ratio(), (event.clientY - box.top - box.height / 2) * ratio()];
  };

  function nearest(x, y) {
    const {points, states, n} = data, m = camera.turn, {zoom} = camera;
    let best = null, closest = (NEAR * ratio()) ** 2;
    for (let at = 0; at < 2 * n; at++) {
      if (states[at] === 0) continue;
      const px = points[3 * at] - camera.middle[0], py = points[3 * at + 1] - camera.middle[1], pz = points[3 * at + 2] - camera.middle[2];
      const dx = (m[0] * px + m[3] * py + m[6] * pz) * zoom + camera.x - x, dy = -(m[1] * px + m[4] * py + m[7] * pz) * zoom + camera.y - y;
      const far = (dx * dx + dy * dy) / (states[at] > 0.9 ? 1 : 0.5);
      if (far < closest) { closest = far; best = at; }
    }
    return best;
  }

  stage.addEventListener("pointerdown", (event) => {
    if (event.target.closest(".tools, .walk")) return;
    const [x, y] = spot(event);
    drag = {x, y, startX: x, startY: y, moved: false, turning: scatter.header?.dims === 3 && !event.shiftKey && event.button === 0};
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!data) return;
    const [x, y] = spot(event);
    if (!drag) return hover(nearest(x, y), x, y);
    if (!drag.moved && Math.hypot(x - drag.startX, y - drag.startY) < STILL * ratio()) return;
    drag.moved = true;
    tip.classList.remove("on");
    stage.classList.add("dragging");
    if (drag.turning) {
      camera.yaw += (x - drag.x) / 200 / ratio();
      camera.pitch = Math.min(Math.max(camera.pitch + (y - drag.y) / 200 / ratio(), -1.5), 1.5);
      camera.turn = turned(camera.yaw, camera.pitch);
    } else { camera.x += x - drag.x; camera.y += y - drag.y; }
    Object.assign(drag, {x, y});
    redraw();
  });
  stage.addEventListener("pointerup", (event) => {
    const clicked = drag && !drag.moved;
    drag = null;
    stage.classList.remove("dragging");
    if (!clicked || !data) return;
    const point = nearest(...spot(event));
    if (point !== null) pick(point);
  });
  stage.addEventListener("pointercancel", () => { drag = null; });
  stage.addEventListener("pointerleave", () => hover(null));
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...spot(event));
  }, {passive: false});

  function pick(point) {
    const token = point % data.n;
    scatter.picked = scatter.start = point;
    scatter.links = [];
    mark();
    scatter.send("pick", {input: data.inputs[token], token: data.positions[token], kind: point < data.n ? "query" : "key"});
  }

  function hover(point, x, y) {
    if (point !== scatter.hovered) {
      scatter.hovered = point;
      decorate();
      if (point !== null) describe(point);
    }
    tip.classList.toggle("on", point !== null);
    stage.classList.toggle("over", point !== null);
    if (point === null) return;
    const left = x / ratio() + stage.clientWidth / 2, top = y / ratio() + stage.clientHeight / 2;
    const flipX = left > stage.clientWidth - tip.offsetWidth - 24, flipY = top > stage.clientHeight - tip.offsetHeight - 24;
    tip.style.transform = `translate(${left + (flipX ? -tip.offsetWidth - 14 : 14)}px, ${top + (flipY ? -tip.offsetHeight - 14 : 14)}px)`;
  }

  function describe(point) {
    const token = point % data.n, isQuery = point < data.n, {header} = scatter;
    const {palette, colour} = header;
    const rows = [element("div", {}, element("b", {}, cut(visibleToken(data.texts[data.words[token]]), 40)), " ",
      element("span", {class: "kind", style: {color: isQuery ? palette.query : palette.key}}, isQuery ? "query" : "key"))];
    const around = context(token);
    if (around) rows.push(around);
    const place = header.grid ? `row ${data.rows[token] >>> 16}, column ${data.rows[token] & 65535}` : `position ${data.positions[token]}`;
    rows.push(element("div", {class: "dim"}, `${place} · ${header.input_word} ${data.inputs[token]}`));
    if (colour.kind !== "kind") rows.push(element("div", {class: "dim"}, `${colour.title}: ${valueWords(point)}`));
    tip.replaceChildren(...rows);
  }

  function valueWords(point) {
    const {colour} = scatter.header, value = data.values[point];
    if (Number.isNaN(value)) return "no value";
    return colour.categories ? colour.categories[value]?.name ?? "other" : `${short(value)}${colour.unit && colour.unit.length < 12 ? ` ${colour.unit}` : ""}`;
  }

  // The words round a token, from the text of its input. Offsets count code points, as in Python.
  function context(token) {
    const text = scatter.header.input_texts?.[data.inputs[token]];
    if (!text || !data.starts || data.ends[token] <= data.starts[token]) return null;
    const letters = [...text], [start, end] = [data.starts[token], data.ends[token]];
    const left = letters.slice(Math.max(start - 42, 0), start).join(""), right = letters.slice(end, end + 42).join("");
    return element("div", {class: "context"}, start > 42 ? "…" : "", left, element("mark", {}, letters.slice(start, end).join("")), right, end + 42 < letters.length ? "…" : "");
  }

  const cut = (text, most) => ([...text].length > most ? `${[...text].slice(0, most - 1).join("")}…` : text);

  // ---- keys: walk the heads, zoom, let go

  function pressed(event) {
    const on = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey || !scatter.header) return;
    if (on.closest?.("input, textarea, select, [contenteditable], [role=listbox], [role=combobox], [role=grid], [role=slider], [role=tablist]")) return;
    const steps = {ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down", "<": "left", ">": "right"};
    if (event.key in steps) walk(steps[event.key]);
    else if (event.key === "Escape" && scatter.picked !== null) letGo();
    else if (event.key === "+" || event.key === "=") zoomAt(1.4, 0, 0);
    else if (event.key === "-") zoomAt(1 / 1.4, 0, 0);
    else if (event.key === "0") { fit(true); redraw(); }
    else return;
    event.preventDefault();
  }

  function walk(way) {
    if (!scatter.header.walk[way]) return;
    stage.classList.add("waiting");
    spoken.textContent = scatter.header.walk[way].name;
    scatter.send("walk", scatter.header.walk[way]);
  }

  function letGo() {
    Object.assign(scatter, {picked: null, links: []});
    mark();
    scatter.send("pick", null);
  }

  // ---- legend and tools

  function buildTools() {
    const button = (words, title, act) => element("button", {type: "button", title, "aria-label": title, onclick: act}, words);
    tools.replaceChildren(button("+", "Zoom in (+)", () => zoomAt(1.6, 0, 0)), button("−", "Zoom out (-)", () => zoomAt(1 / 1.6, 0, 0)),
      button("⤢", "Show everything (0)", () => { fit(true); redraw(); }));
  }

  function buildTitle() {
    const {name, walk: ways, caution} = scatter.header;
    const step = (way, sign, words) => element("button", {type: "button", "aria-label": words, title: ways[way] ? `${words}: ${ways[way].name}` : "", disabled: !ways[way], onclick: () => walk(way)}, sign);
    title.replaceChildren(step("left", "‹", "Previous head"), element("b", {class: "figure"}, name), step("right", "›", "Next head"));
    warning.textContent = caution;
    warning.hidden = !caution;
  }

  function buildLegend() {
    const {colour, palette, n} = scatter.header;
    const shapes = element("span", {class: "shapes quiet"}, "● query ◆ key");
    if (colour.kind === "kind") {
      legend.replaceChildren(...[["query", palette.query, 0], ["key", palette.key, 1]].map(([name, tone, code]) => chip(name, tone, code, n)), hint());
      return;
    }
    const title = element("span", {class: "legend-title", title: colour.meaning}, colour.title);
    if (colour.categories) {
      legend.replaceChildren(title, ...colour.categories.map((each, code) => chip(each.name, each.colour, code, each.count)), shapes);
      return;
    }
    const bar = element("span", {class: "bar", style: {background: `linear-gradient(90deg, ${colour.stops.join(", ")})`}});
    legend.replaceChildren(title, element("span", {class: "figure"}, short(colour.low)), bar, element("span", {class: "figure"}, short(colour.high)),
      element("span", {class: "quiet"}, colour.unit ?? ""), shapes);
  }

  const hint = () => element("span", {class: "quiet shapes"}, scatter.header.dims === 3 ? "drag turns, shift + drag moves, wheel zooms" : "drag moves, wheel zooms, arrow keys change the head");

  function chip(name, tone, code, count) {
    const made = element("button", {type: "button", class: "chip", "aria-pressed": "true", title: `${count.toLocaleString("en")} points; click to dim or show`},
      element("span", {class: "swatch", style: {background: tone}}), cut(name, 24));
    made.addEventListener("click", () => {
      if (scatter.off.has(code)) scatter.off.delete(code); else scatter.off.add(code);
      made.setAttribute("aria-pressed", !scatter.off.has(code));
      mark();
    });
    return made;
  }

  return scatter;
}
