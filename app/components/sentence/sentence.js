const HELD = "#D55E00", STRONGEST = 78, DECADES = 4;

export default function (component) {
  const {header, sections} = unpack(component.data);
  const place = mount(component.parentElement, build);
  place.pick = (position) => component.setTriggerValue("pick", position);
  if (place.digest === header.digest) {  // only a choice made here, and since undone, may differ
    if (place.held !== header.picked) hold(place, header.picked);
    return;
  }
  const same = place.header && JSON.stringify(place.header.pieces) === JSON.stringify(header.pieces);
  Object.assign(place, {digest: header.digest, header, sections, held: header.picked});
  if (!same) fill(place);
  hold(place, header.picked);
}

function build(host) {
  const text = element("div", {class: "text", role: "group", "aria-label": "The text, token by token"});
  const first = element("div", {}), second = element("div", {class: "quiet"});
  const says = element("div", {class: "says", "aria-live": "polite"}, first, second);
  const ramp = element("div", {class: "ramp"}), ticks = element("div", {class: "ticks figure"});
  const scale = element("div", {class: "scale quiet"}, ramp, ticks);
  host.append(text, element("div", {class: "foot"}, says, scale));
  text.style.setProperty("--held", HELD);
  const place = {text, first, second, ramp, ticks, made: [], byUnit: [], pointed: null, held: null};
  const which = (event) => { const at = event.target.closest?.(".token")?.dataset.unit; return at === undefined || at === "-1" ? null : Number(at); };
  text.addEventListener("pointerover", (event) => point(place, which(event)));
  text.addEventListener("pointerleave", () => point(place, null));
  text.addEventListener("focusin", (event) => point(place, which(event)));
  text.addEventListener("focusout", () => point(place, null));
  text.addEventListener("click", (event) => { const at = which(event); if (at !== null) choose(place, at); });
  text.addEventListener("keydown", (event) => walk(place, event));
  return place;
}

// A token as it is read: the spaces some tokenizers keep at its ends stand outside it.
function shown(text) {
  return text.trim() === "" ? visibleToken(text) : visibleToken(text).trim();
}

// A weight in four digits, however small.
function exact(weight) {
  if (Number.isNaN(weight)) return "may not attend";
  return weight === 0 ? "0" : Math.abs(weight) >= 1e-4 ? weight.toPrecision(4) : weight.toExponential(3);
}

// Shading is of keys, but for a picked key: then it is of the queries that look at it, and of them none is hidden.
function isHidden({header, from}, unit) {
  return header.sinks[unit] && (header.kind === "query" || (from ?? null) === null);
}

function told(place, unit) {
  return isHidden(place, unit) ? "hidden, a sink" : exact(place.weights[unit]);
}

function fill(place) {
  const {header} = place;
  place.byUnit = [];
  place.made = header.pieces.map(([text, , position, unit, special, marked, ahead]) => {
    const kinds = ["token", special && "special", text.trim() === "" && "blank", unit < 0 && (ahead || "hidden"), marked === true && "marked", marked === false && "dim"];
    const made = element("span", {class: kinds.filter(Boolean).join(" "), role: "button", tabindex: -1, "data-position": position, "data-unit": unit,
      "aria-disabled": unit < 0}, shown(text));
    if (ahead) made.title = ahead === "next" ? "written at this step" : "not written yet";
    if (unit >= 0) place.byUnit[unit] = {made, text, position};
    return made;
  });
  const parts = place.made.flatMap((made, index) => {
    const [text, gap] = header.pieces[index];
    if (header.pieces[index][7] === false) return [];  // told by its name, drawn elsewhere
    const blank = text.trim() === "";
    const before = gap + (blank ? "" : text.match(/^ */)[0]), after = text.includes("\n") ? "\n" : blank ? "" : text.match(/ *$/)[0];
    return [before, made, after].filter((part) => part !== "");
  });
  place.text.replaceChildren(...parts);
}

// Show a unit as held, or none: at once, before the server has heard of it.
function hold(place, unit) {
  place.held = unit;
  place.byUnit.forEach(({made}, at) => { made.setAttribute("aria-pressed", String(at === unit)); made.tabIndex = at === (unit ?? 0) ? 0 : -1; });
  if (unit !== null) place.byUnit[unit]?.made.scrollIntoView({block: "nearest"});
  shade(place);
}

function point(place, unit) {
  if (unit === place.pointed) return;
  place.pointed = unit;
  if (place.held === null && place.header.whole) shade(place); else tell(place);
}

function weightsOf(place, unit) {
  const {header, sections} = place, {n} = header;
  if (unit === header.picked) return sections.resting;
  if (unit === null || !header.whole) return null;
  if (header.kind === "query") return sections.matrix.subarray(unit * n, (unit + 1) * n);
  return Float32Array.from({length: n}, (_, query) => sections.matrix[query * n + unit]);
}

// A held token keeps its shading, and pointing tells exact weights; with none held, pointing shades.
function shade(place) {
  const {header, sections} = place;
  place.from = place.held ?? (header.whole ? place.pointed : null);
  place.weights = weightsOf(place, place.from) ?? (place.held === null && header.picked === null ? sections.resting : null);
  const weights = place.weights, colour = header.shades[header.kind];
  if (weights === null) return tell(place);  // chosen just now: the server brings the weights
  const {share, at} = scaleOf(weights, header.scale);
  place.byUnit.forEach(({made, text, position}, unit) => {
    const part = share(weights[unit]);
    made.style.backgroundColor = part < 0.004 ? "transparent" : `color-mix(in srgb, ${colour} ${(part * STRONGEST).toFixed(1)}%, transparent)`;
    made.dataset.weight = Number.isNaN(weights[unit]) ? "" : weights[unit];
    made.classList.toggle("sink", isHidden(place, unit));
    made.setAttribute("aria-label", `${shown(text)}, position ${position}, ${header.title} ${told(place, unit)}`);
  });
  place.ramp.style.background = `linear-gradient(90deg, transparent, color-mix(in srgb, ${colour} ${STRONGEST}%, transparent))`;
  place.ramp.title = `${header.title}, ${header.scale} scale`;
  place.ticks.replaceChildren(...[0, 0.5, 1].map((part) => element("span", {}, `${header.scale === "log" && part === 0 ? "≤ " : ""}${short3(at(part))}`)));
  tell(place);
}

// As `make_scale` of charts/scales.py, over one row or column.
function scaleOf(weights, name) {
  const known = Array.from(weights).filter((weight) => !Number.isNaN(weight)).sort((one, other) => one - other);
  const top = known[known.length - 1] || 1;
  if (name === "log") {
    const low = top / 10 ** DECADES;
    return {share: (weight) => (weight > low ? Math.min(1, Math.log(weight / low) / Math.log(top / low)) : 0), at: (part) => low * (top / low) ** part};
  }
  if (name === "rank" && known.length > 1 && known[0] < known[known.length - 1]) {
    const last = new Map(known.map((weight, place) => [weight, place / (known.length - 1)]));
    return {share: (weight) => last.get(weight) ?? 0, at: (part) => known[Math.round(part * (known.length - 1))]};
  }
  return {share: (weight) => (weight > 0 ? weight / top : 0), at: (part) => part * top};
}

function short3(weight) {
  return weight === 0 ? "0" : weight >= 1e-4 ? String(Number(weight.toPrecision(3))) : weight.toExponential(1);
}

function tell(place) {
  const {header, pointed, from, weights} = place;
  const name = (unit) => `“${shown(place.byUnit[unit].text)}” (${place.byUnit[unit].position})`;
  const about = pointed ?? place.held;
  place.second.textContent = about === null ? "" : bothWays(place, about, name);
  place.first.textContent = (() => {
    if (from === null || from === undefined) {
      if (pointed !== null && weights) return header.sinks[pointed] ? `${name(pointed)} is a sink and hidden.` : `${name(pointed)} receives ${exact(weights[pointed])} from a query on average.`;
      const rest = header.whole ? "Point at a token; click to hold it." : "Click a token to see its own weights.";
      return `Mean ${header.title} each ${header.what} receives. ${rest}`;
    }
    if (!weights) return `${name(from)} is picked.`;
    if (header.kind === "key" && header.sinks[from]) return `Key ${name(from)} is a sink and hidden: no weight on it is drawn.`;
    if (header.sinks.includes(true) && !weights.some((weight) => weight > 0)) return `Query ${name(from)} looks at hidden sinks only: no weight of it is left.`;
    if (pointed !== null && pointed !== from) {
      const [query, key] = header.kind === "query" ? [from, pointed] : [pointed, from];
      return `query ${name(query)} → key ${name(key)}: ${told(place, pointed)}`;
    }
    // Of cross-attention, say, where queries and keys are other tokens.
    if (weights.every((weight) => Number.isNaN(weight))) return `${name(from)} has no ${header.kind === "query" ? "weights of its own" : "weights on it"} in this head.`;
    let top = 0;
    weights.forEach((weight, unit) => { if (weight > weights[top] || Number.isNaN(weights[top])) top = unit; });
    return header.kind === "query" ? `Query ${name(from)} looks most at ${name(top)}: ${exact(weights[top])}` : `Key ${name(from)} is looked at most by ${name(top)}: ${exact(weights[top])}`;
  })();
}

// The row and the column of a unit: its strongest, exact, at any length of text.
function bothWays(place, unit, name) {
  const {sections, header} = place, width = sections.keys.length / header.n;
  const list = (others, weights) => Array.from({length: width}, (_, at) => unit * width + at)
    .filter((at) => others[at] >= 0).map((at) => `“${shown(place.byUnit[others[at]].text)}” ${exact(weights[at])}`).join(", ");
  return `${name(unit)} looks most at ${list(sections.keys, sections.key_weights) || "nothing"}; ${header.sinks[unit] ? "as a key it is a sink and hidden" : `is looked at most by ${list(sections.queries, sections.query_weights) || "none"}`}`;
}

function choose(place, unit) {
  const next = unit === place.held ? null : unit;
  hold(place, next);
  place.pick(next === null ? -1 : place.byUnit[next].position);
}

function walk(place, event) {
  const at = Number(event.target.closest?.(".token")?.dataset.unit ?? -1);
  if (at < 0) return;
  const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
  if (step) {
    const next = place.byUnit[Math.min(place.byUnit.length - 1, Math.max(0, at + step))].made;
    place.byUnit[at].made.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  } else if (event.key === "Enter" || event.key === " ") choose(place, at);
  else if (event.key === "Escape") { hold(place, null); place.pick(-1); }
  else return;
  event.preventDefault();
}
