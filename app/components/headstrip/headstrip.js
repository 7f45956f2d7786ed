const HELD = "#D55E00", LABEL = 34, GAP = 4, LARGEST = 74, SMALLEST = 30;

export default function (component) {
  const {header, sections} = unpack(component.data);
  const place = mount(component.parentElement, build);
  place.pick = (index) => component.setTriggerValue("pick", index);
  if (place.digest === header.digest) return press(place, header.picked);
  if (place.url) URL.revokeObjectURL(place.url);
  const url = URL.createObjectURL(new Blob([sections.sprite], {type: "image/png"}));
  Object.assign(place, {digest: header.digest, header, url});
  fill(place);
}

function build(host) {
  const strip = element("div", {class: "strip", role: "group", "aria-label": "All heads on this input, rows are layers"});
  const says = element("div", {class: "says quiet figure", "aria-live": "polite"});
  host.append(strip, says);
  const place = {host, strip, says};
  const which = (event) => event.target.closest?.("button")?.dataset.index;
  const tell = (event) => { const at = which(event); says.textContent = at === undefined ? rest(place) : place.header.notes[at]; };
  for (const name of ["pointerover", "focusin"]) strip.addEventListener(name, tell);
  strip.addEventListener("pointerleave", () => { says.textContent = rest(place); });
  strip.addEventListener("click", (event) => { const at = which(event); if (at !== undefined) { press(place, [Number(at)]); place.pick(Number(at)); } });
  strip.addEventListener("keydown", (event) => walk(place, event));
  new ResizeObserver(() => size(place)).observe(host);
  return place;
}

function rest({header}) {
  return header.picked.map((index) => header.notes[index]).join(", ");
}

function fill(place) {
  const {header, strip} = place, {columns, ranked} = header;
  place.buttons = header.names.map((name, index) => element("button", {type: "button", "data-index": index,
    "aria-label": header.notes[index], title: header.notes[index]}));
  place.order = ranked ?? header.names.map((_, index) => index);
  strip.style.setProperty("--held", HELD);
  const drawn = place.order.map((index) => place.buttons[index]);
  strip.classList.toggle("ranked", ranked !== null);
  if (ranked) strip.replaceChildren(...place.order.map((index) => element("div", {class: "named"}, place.buttons[index], element("div", {class: "quiet figure"}, header.names[index]))));
  else strip.replaceChildren(...header.labels.flatMap((label, row) => [element("div", {class: "label quiet figure"}, label), ...drawn.slice(row * columns, (row + 1) * columns)]));
  for (const button of place.buttons) button.style.backgroundImage = `url(${place.url})`;
  press(place, header.picked);
  place.width = 0;
  size(place);
}

function press(place, picked) {
  place.buttons.forEach((button, index) => {
    button.setAttribute("aria-pressed", String(picked.includes(index)));
    button.tabIndex = index === (picked[0] ?? 0) ? 0 : -1;
  });
  place.says.textContent = rest(place);
}

function size(place) {
  if (!place.header || place.width === place.host.clientWidth) return;
  place.width = place.host.clientWidth;
  const {columns, shape, labels, ranked} = place.header;
  const room = (place.width - LABEL - 6) / columns - GAP;
  const wide = Math.max(SMALLEST, Math.min(LARGEST, Math.floor(room))), high = Math.round(wide * shape[0] / shape[1]);
  place.strip.style.gridTemplateColumns = ranked ? `repeat(auto-fill, ${wide}px)` : `${LABEL}px repeat(${columns}, ${wide}px)`;
  place.across = ranked ? Math.max(1, Math.floor((place.width - 6 + GAP) / (wide + GAP))) : columns;
  place.buttons.forEach((button, index) => Object.assign(button.style, {
    width: `${wide}px`, height: `${high}px`, backgroundSize: `${wide * columns}px ${high * labels.length}px`,
    backgroundPosition: `${-(index % columns) * wide}px ${-Math.floor(index / columns) * high}px`,
  }));
}

function walk(place, event) {
  const at = Number(event.target.closest?.("button")?.dataset.index ?? -1);
  const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: place.across, ArrowUp: -place.across}[event.key];
  if (at < 0 || !step) return;
  const next = place.buttons[place.order[place.order.indexOf(at) + step]];
  if (next) { place.buttons[at].tabIndex = -1; next.tabIndex = 0; next.focus(); }
  event.preventDefault();
}
