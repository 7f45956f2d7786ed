const LEFT = 92, TOP = 74, RIGHT = 34, SIDE = 164, NARROW = 640, HELD = "#D55E00", QUIET = "#8A9099";

export default function (component) {
  const {header, sections} = unpack(component.data);
  const place = mount(component.parentElement, build);
  place.pick = (query, key) => component.setTriggerValue("pick", [query, key]);
  place.move = (query, key) => component.setTriggerValue("move", [query, key]);
  if (place.digest === header.digest) return frame(place, header.first);  // a frame dragged here, and since undone
  if (place.url) URL.revokeObjectURL(place.url);
  place.url = sections.overview.length ? URL.createObjectURL(new Blob([sections.overview], {type: "image/png"})) : null;
  place.whole.hidden = place.range.hidden = !place.url;
  if (place.url) place.image.src = place.url;
  Object.assign(place, {digest: header.digest, header, sections, cells: sections.window, ramp: ramp(header.ramp)});
  if (place.at && !inside(header, place.at)) place.at = null;
  place.strip.style.background = `linear-gradient(0deg, ${header.ramp.join(", ")})`;
  place.ends.replaceChildren(...header.ticks.map((tick) => element("span", {}, tick)));
  place.title.textContent = header.title;
  place.range.textContent = stretch(header);
  draw(place);
  tell(place);
}

function build(host) {
  const canvas = element("canvas", {class: "cells", tabindex: 0, role: "img"});
  const image = element("img", {alt: "", draggable: "false"}), box = element("div", {class: "frame"});
  const whole = element("div", {class: "whole", title: "The whole matrix, the largest weight of each block of cells: drag the frame"}, image, box);
  const says = element("div", {class: "says", "aria-live": "polite"}), range = element("div", {class: "quiet"});
  const strip = element("div", {class: "ramp"}), ends = element("div", {class: "ends quiet figure"}), title = element("div", {class: "quiet"});
  const bar = element("div", {}, title, element("div", {class: "bar"}, strip, ends));
  const map = element("div", {class: "map"}, element("div", {class: "roll"}, canvas), element("div", {class: "side"}, bar, whole, range, says));
  host.append(map);
  const place = {canvas, image, box, whole, says, range, strip, ends, title, at: null, width: host.clientWidth};
  new ResizeObserver(() => {
    if (place.width === host.clientWidth) return;
    place.width = host.clientWidth;
    map.classList.toggle("narrow", place.width < NARROW);
    if (place.header) draw(place);
  }).observe(host);
  map.classList.toggle("narrow", place.width < NARROW);
  canvas.addEventListener("pointermove", (event) => look(place, cellAt(place, event)));
  canvas.addEventListener("pointerleave", () => look(place, null));
  canvas.addEventListener("click", (event) => choose(place, cellAt(place, event)));
  canvas.addEventListener("keydown", (event) => walk(place, event));
  for (const name of ["pointerdown", "pointermove", "pointerup"]) whole.addEventListener(name, (event) => drag(place, event));
  return place;
}

function stretch({first, rows, columns, n, begin}) {
  const part = (from, length) => `${from}–${from + length - 1}`, queries = `queries ${part(first[0], rows.length)}`, keys = `keys ${part(first[1], columns.length)}`;
  if (begin[0] === begin[1] && n[0] === n[1]) return `${queries}, ${keys} of ${n[0]}`;
  return `${queries} of ${n[0]}, ${keys} of ${n[1]}`;
}

// Pixels of a cell: few tokens get large cells, and all of it is seen on a screen 800 pixels high.
function sizes({header, width}) {
  const {rows, columns} = header, beside = width >= NARROW ? SIDE : 0;
  const room = Math.max(160, (width || 800) - beside - LEFT - RIGHT), down = Math.max(372, window.innerHeight - 440);
  const most = Math.max(7, room / columns.length), high = Math.max(7, Math.min(30, 1.5 * most, down / rows.length));
  return [Math.floor(high), Math.floor(Math.min(1.8 * high, most))];
}

function draw(place) {
  const {canvas, header, cells} = place, {rows, columns} = header, zoom = window.devicePixelRatio || 1, [high, wide] = sizes(place);
  const width = LEFT + columns.length * wide + RIGHT, height = TOP + rows.length * high + 2;
  Object.assign(canvas, {width: width * zoom, height: height * zoom});
  Object.assign(canvas.style, {width: `${width}px`, height: `${height}px`});
  Object.assign(canvas.dataset, {left: LEFT, top: TOP, wide, high});
  canvas.setAttribute("aria-label", `Heat map of ${header.title}: ${stretch(header)}, queries down, keys across. Arrow keys move over the cells, Enter picks.`);
  const pen = canvas.getContext("2d");
  pen.scale(zoom, zoom);
  for (let row = 0; row < rows.length; row++) {
    for (let column = 0; column < columns.length; column++) {
      const weight = cells[row * columns.length + column];
      if (Number.isNaN(weight)) continue;
      pen.fillStyle = place.ramp(share(header.knots, weight));
      pen.fillRect(LEFT + column * wide, TOP + row * high, wide - 0.5, high - 0.5);
    }
  }
  hatch(header, pen, rows.length * high, wide);
  labels(place, pen, high, wide);
  marks(place, pen, high, wide);
  frame(place, header.first);
}

// A key that is hidden as a sink has no weights to draw: its column is hatched.
function hatch({sinks}, pen, down, wide) {
  Object.assign(pen, {strokeStyle: QUIET, lineWidth: 1});
  sinks.forEach((isHidden, column) => {
    if (!isHidden) return;
    const left = LEFT + column * wide;
    pen.save();
    pen.beginPath();
    pen.rect(left, TOP, wide - 0.5, down - 0.5);
    pen.clip();
    pen.globalAlpha = 0.45;
    pen.beginPath();
    for (let up = -wide; up < down; up += 6) { pen.moveTo(left, TOP + up + wide); pen.lineTo(left + wide, TOP + up); }
    pen.stroke();
    pen.restore();
  });
}

function frame({box, header}, first) {
  const part = (count, axis) => `${(100 * count) / header.n[axis]}%`, {begin} = header;
  Object.assign(box.style, {left: part(first[1] - begin[1], 1), top: part(first[0] - begin[0], 0), width: part(header.columns.length, 1), height: part(header.rows.length, 0)});
}

function labels(place, pen, high, wide) {
  const {header, at, canvas} = place, style = getComputedStyle(canvas), family = style.getPropertyValue("--st-font") || "sans-serif";
  const quiet = style.getPropertyValue("--quiet") || style.color;
  const write = (list, axis) => list.forEach((label, index) => {
    const unit = header.first[axis] + index, size = axis ? wide : high, step = Math.ceil(12 / size);
    const pointed = at !== null && at[axis] === unit, held = header.picked === unit && (header.kind === "key") === Boolean(axis);
    const marked = header.marked?.[axis][index];
    const near = [held ? unit : null, header.picked].some((other) => other !== null && other !== unit && Math.abs(other - unit) < step);
    if (!pointed && !held && !marked && (unit % step !== 0 || near)) return;
    pen.font = `${marked ? "700 " : ""}12px ${family}`;
    pen.globalAlpha = marked === false && !held && !pointed ? 0.5 : 1;
    pen.fillStyle = held ? style.getPropertyValue("--selected-words") || HELD : pointed || marked ? style.color : quiet;
    pen.save();
    if (axis) { pen.translate(LEFT + (index + 0.5) * wide, TOP - 5); pen.rotate(wide < 18 ? -Math.PI / 2 : -Math.PI / 3); pen.textAlign = "left"; }
    else { pen.translate(LEFT - 6, TOP + (index + 0.5) * high); pen.textAlign = "right"; }
    pen.textBaseline = "middle";
    pen.fillText((marked ? "• " : "") + (label.length > 11 ? label.slice(0, 10) + "…" : label), 0, 0);
    pen.restore();
  });
  write(header.rows, 0);
  write(header.columns, 1);
  pen.globalAlpha = 1;
}

function marks({header, at}, pen, high, wide) {
  const {first, rows, columns, picked, kind} = header, across = columns.length * wide, down = rows.length * high;
  const held = picked === null ? -1 : picked - first[kind === "query" ? 0 : 1];
  Object.assign(pen, {strokeStyle: HELD, lineWidth: 2});
  if (kind === "query" && held >= 0 && held < rows.length) pen.strokeRect(LEFT - 1, TOP + held * high - 1, across + 1, high + 1);
  if (kind === "key" && held >= 0 && held < columns.length) pen.strokeRect(LEFT + held * wide - 1, TOP - 1, wide + 1, down + 1);
  if (!at) return;
  Object.assign(pen, {strokeStyle: QUIET, lineWidth: 1});
  if (at[0] !== null) pen.strokeRect(LEFT, TOP + (at[0] - first[0]) * high - 0.5, across, high);
  if (at[1] !== null) pen.strokeRect(LEFT + (at[1] - first[1]) * wide - 0.5, TOP, wide, down);
}

// The cell under the pointer as [query, key]; null for one of them over a label, which stands for its whole row or column.
function cellAt(place, event) {
  const {canvas, header} = place, box = canvas.getBoundingClientRect(), [high, wide] = sizes(place);
  const column = Math.floor((event.clientX - box.left - LEFT) / wide), row = Math.floor((event.clientY - box.top - TOP) / high);
  const query = row >= 0 && row < header.rows.length ? header.first[0] + row : null;
  const key = column >= 0 && column < header.columns.length ? header.first[1] + column : null;
  if (query === null && key === null) return null;
  return (query === null && row >= 0) || (key === null && column >= 0) ? null : [query, key];
}

function look(place, at) {
  if (String(at) === String(place.at)) return;
  place.at = at;
  draw(place);
  tell(place);
}

function tell(place) {
  const {header, cells, says, sections, at} = place;
  if (!at) return says.replaceChildren(element("span", {class: "quiet"}, "Point at a cell, or at a token for its row or column."));
  const [row, column] = at.map((unit, axis) => (unit === null ? null : unit - header.first[axis]));
  const name = (axis, index) => `${axis ? "key" : "query"} “${(axis ? header.columns : header.rows)[index]}” (${header.places[axis][index]})`;
  const parts = [];
  const isHidden = column !== null && header.sinks[column];
  if (row !== null && column !== null) {
    const value = isHidden ? "hidden, a sink" : exact(cells[row * header.columns.length + column]);
    parts.push(element("div", {class: "value"}, `${name(0, row)} → ${name(1, column)}: ${value}`));
  }
  const list = (title, names, weights, index) => {
    const width = weights.length / names.length;
    parts.push(element("div", {class: "quiet"}, title), element("ol", {}, names[index].map((one, at_) =>
      element("li", {}, element("span", {}, one), element("span", {class: "figure"}, exact(weights[index * width + at_]))))));
  };
  if (row !== null) list(column === null ? `${name(0, row)} looks most at` : "row: looks most at", header.keys, sections.keys_weights, row);
  if (isHidden) parts.push(element("div", {class: "quiet"}, `column: ${row === null ? name(1, column) : "the key"} is a sink and hidden`));
  else if (column !== null) list(row === null ? `${name(1, column)} is looked at most by` : "column: looked at most by", header.queries, sections.queries_weights, column);
  says.replaceChildren(...parts);
}

function choose(place, at) {
  if (!at) return;
  place.pick(at[0] ?? at[1], at[1] ?? at[0]);
}

function inside({first, rows, columns}, at) {
  return at.every((unit, axis) => unit === null || (unit >= first[axis] && unit < first[axis] + (axis ? columns : rows).length));
}

function walk(place, event) {
  const step = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]}[event.key];
  const {header} = place, at = (place.at ?? header.first).map((unit, axis) => unit ?? header.first[axis]);
  if (event.key === "Enter" && place.at) choose(place, at);
  else if (step) {
    const next = at.map((unit, axis) => Math.min(header.begin[axis] + header.n[axis] - 1, Math.max(header.begin[axis], unit + step[axis])));
    const out = [0, 1].map((axis) => next[axis] - header.first[axis] - (axis ? header.columns : header.rows).length + 1);
    const first = header.first.map((from, axis) => (next[axis] < from ? next[axis] : out[axis] > 0 ? from + out[axis] : from));
    if (String(first) !== String(header.first)) { place.at = next; place.move(...first); } else look(place, next);
  } else return;
  event.preventDefault();
}

function drag(place, event) {
  if (event.type === "pointerdown") place.whole.setPointerCapture(event.pointerId);
  else if (!place.whole.hasPointerCapture(event.pointerId)) return;
  const {header} = place, box = place.whole.getBoundingClientRect();
  const near = (part, length, axis) => header.begin[axis] + Math.round(Math.min(header.n[axis] - length, Math.max(0, part * header.n[axis] - length / 2)));
  const first = [near((event.clientY - box.top) / box.height, header.rows.length, 0), near((event.clientX - box.left) / box.width, header.columns.length, 1)];
  frame(place, first);
  if (event.type === "pointerup") place.move(...first);
}

function exact(weight) {
  if (Number.isNaN(weight)) return "may not attend";
  return weight === 0 ? "0" : Math.abs(weight) >= 1e-4 ? weight.toPrecision(4) : weight.toExponential(3);
}

// Straight lines between knots, as `ColourScale.share` of charts/scales.py.
function share([weights, shares], weight) {
  let high = weights.findIndex((knot) => knot >= weight);
  if (high <= 0) return high === 0 ? shares[0] : 1;
  const part = (weight - weights[high - 1]) / (weights[high] - weights[high - 1]);
  return shares[high - 1] + part * (shares[high] - shares[high - 1]);
}

function ramp(colours) {
  const stops = colours.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return (part) => {
    const at = Math.min(1, Math.max(0, part)) * (stops.length - 1), low = Math.min(stops.length - 2, Math.floor(at));
    return `rgb(${stops[low].map((from, channel) => Math.round(from + (stops[low + 1][channel] - from) * (at - low))).join(",")})`;
  };
}
