const CELL = 12, LEFT = 92, TOP = 76, RIGHT = 30, HELD = "#D55E00";
const STOPS = ["440154", "482878", "3E4989", "31688E", "26828E", "1F9E89", "35B779", "6ECE58", "B5DE2B", "FDE725"]
  .map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));

export default function (component) {
  const {header, sections} = unpack(component.data);
  const place = mount(component.parentElement, build);
  place.pick = (query, key) => component.setTriggerValue("pick", [query, key]);
  place.move = (query, key) => component.setTriggerValue("move", [query, key]);
  if (place.digest === header.digest) return;
  if (place.url) URL.revokeObjectURL(place.url);
  place.url = URL.createObjectURL(new Blob([sections.overview], {type: "image/png"}));
  place.image.src = place.url;
  Object.assign(place, {digest: header.digest, header, cells: sections.window, at: place.at ?? null, dragged: null});
  place.most.textContent = header.most.toFixed(3);
  place.range.textContent = stretch(header);
  draw(place);
}

function build(host) {
  const canvas = element("canvas", {class: "cells", tabindex: 0, role: "img"});
  const image = element("img", {alt: "", draggable: "false"}), frame = element("div", {class: "frame"});
  const whole = element("div", {class: "whole", title: "The whole matrix: drag the frame"}, image, frame);
  const most = element("span"), says = element("div", {class: "says", "aria-live": "polite"});
  const range = element("div", {class: "quiet"});
  const ends = element("div", {class: "ends quiet figure"}, element("span", {}, "0"), element("span", {}, "weight"), most);
  const side = element("div", {class: "side"}, says, whole, range, element("div", {class: "ramp"}), ends);
  host.append(element("div", {class: "map"}, canvas, side));
  const place = {canvas, image, frame, whole, most, says, range};
  canvas.addEventListener("pointermove", (event) => look(place, cellAt(place, event)));
  canvas.addEventListener("pointerleave", () => look(place, null));
  canvas.addEventListener("click", (event) => { const at = cellAt(place, event); if (at) place.pick(...at); });
  canvas.addEventListener("keydown", (event) => walk(place, event));
  for (const name of ["pointerdown", "pointermove", "pointerup"]) whole.addEventListener(name, (event) => drag(place, event));
  return place;
}

function stretch({first, rows, columns, n}) {
  const part = (from, length) => `${from}–${from + length - 1}`;
  return `queries ${part(first[0], rows.length)}, keys ${part(first[1], columns.length)} of ${n} tokens`;
}

function draw(place) {
  const {canvas, header, cells} = place, {rows, columns} = header, zoom = window.devicePixelRatio || 1;
  const wide = LEFT + columns.length * CELL + RIGHT, high = TOP + rows.length * CELL + 2;
  Object.assign(canvas, {width: wide * zoom, height: high * zoom});
  Object.assign(canvas.style, {width: `${wide}px`, height: `${high}px`});
  canvas.setAttribute("aria-label", `Heat map window, ${stretch(header)}; arrow keys move over the cells`);
  const pen = canvas.getContext("2d");
  pen.scale(zoom, zoom);
  for (let row = 0; row < rows.length; row++) {
    for (let column = 0; column < columns.length; column++) {
      const weight = cells[row * columns.length + column];
      if (Number.isNaN(weight)) continue;
      pen.fillStyle = viridis(header.most > 0 ? weight / header.most : 0);
      pen.fillRect(LEFT + column * CELL, TOP + row * CELL, CELL - 0.5, CELL - 0.5);
    }
  }
  labels(place, pen);
  marks(place, pen);
  const {frame} = place, share = (count) => `${(100 * count) / header.n}%`;
  Object.assign(frame.style, {left: share(header.first[1]), top: share(header.first[0]), width: share(columns.length), height: share(rows.length)});
}

function labels(place, pen) {
  const {header, at, canvas} = place, style = getComputedStyle(canvas);
  const quiet = style.getPropertyValue("--quiet") || style.color;
  pen.font = `11.5px ${style.getPropertyValue("--st-font") || "sans-serif"}`;
  const write = (list, first, isRow) => list.forEach((label, place_) => {
    const position = first + place_, pointed = at !== null && at[isRow ? 0 : 1] === position;
    const held = header.picked === position && (header.kind === "query") === isRow;
    pen.fillStyle = held ? HELD : pointed ? style.color : quiet;
    pen.save();
    if (isRow) { pen.translate(LEFT - 6, TOP + (place_ + 0.5) * CELL); pen.textAlign = "right"; }
    else { pen.translate(LEFT + (place_ + 0.5) * CELL, TOP - 5); pen.rotate(-Math.PI / 3); pen.textAlign = "left"; }
    pen.textBaseline = "middle";
    pen.fillText(label.length > 13 ? label.slice(0, 12) + "…" : label, 0, 0);
    pen.restore();
  });
  write(header.rows, header.first[0], true);
  write(header.columns, header.first[1], false);
}

function marks({header, at}, pen) {
  const {first, rows, columns, picked, kind} = header;
  pen.strokeStyle = HELD;
  pen.lineWidth = 2;
  const held = picked === null ? -1 : picked - first[kind === "query" ? 0 : 1];
  if (kind === "query" && held >= 0 && held < rows.length) pen.strokeRect(LEFT - 1, TOP + held * CELL - 1, columns.length * CELL + 1, CELL + 1);
  if (kind === "key" && held >= 0 && held < columns.length) pen.strokeRect(LEFT + held * CELL - 1, TOP - 1, CELL + 1, rows.length * CELL + 1);
  if (!at) return;
  pen.strokeStyle = "#8A9099";
  pen.lineWidth = 1;
  pen.strokeRect(LEFT, TOP + (at[0] - first[0]) * CELL - 0.5, columns.length * CELL, CELL);
  pen.strokeRect(LEFT + (at[1] - first[1]) * CELL - 0.5, TOP, CELL, rows.length * CELL);
}

function cellAt({canvas, header}, event) {
  const box = canvas.getBoundingClientRect();
  const column = Math.floor((event.clientX - box.left - LEFT) / CELL), row = Math.floor((event.clientY - box.top - TOP) / CELL);
  const inside = row >= 0 && column >= 0 && row < header.rows.length && column < header.columns.length;
  return inside ? [header.first[0] + row, header.first[1] + column] : null;
}

function look(place, at) {
  if (String(at) === String(place.at)) return;
  place.at = at;
  draw(place);
  if (!at) { place.says.textContent = ""; return; }
  const {header, cells} = place, row = at[0] - header.first[0], column = at[1] - header.first[1];
  const weight = cells[row * header.columns.length + column];
  const value = Number.isNaN(weight) ? "may not attend" : weight.toFixed(4);
  place.says.textContent = `query “${header.rows[row]}” (${at[0]}) → key “${header.columns[column]}” (${at[1]}): ${value}`;
}

function walk(place, event) {
  const step = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]}[event.key];
  const {header} = place, [query, key] = place.at ?? header.first;
  if (event.key === "Enter" && place.at) place.pick(query, key);
  else if (step) {
    const next = [Math.min(header.n - 1, Math.max(0, query + step[0])), Math.min(header.n - 1, Math.max(0, key + step[1]))];
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
  const near = (share, length) => Math.round(Math.min(header.n - length, Math.max(0, share * header.n - length / 2)));
  const first = [near((event.clientY - box.top) / box.height, header.rows.length), near((event.clientX - box.left) / box.width, header.columns.length)];
  Object.assign(place.frame.style, {top: `${(100 * first[0]) / header.n}%`, left: `${(100 * first[1]) / header.n}%`});
  if (event.type === "pointerup") place.move(...first);
}

function viridis(share) {
  const at = Math.min(1, Math.max(0, share)) * (STOPS.length - 1), low = Math.min(STOPS.length - 2, Math.floor(at));
  return `rgb(${STOPS[low].map((from, part) => Math.round(from + (STOPS[low + 1][part] - from) * (at - low))).join(",")})`;
}
