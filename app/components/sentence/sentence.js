const HELD = "#D55E00", STRONGEST = 78;

export default function (component) {
  const {header, sections} = unpack(component.data);
  const place = mount(component.parentElement, build);
  place.pick = (position) => component.setTriggerValue("pick", position);
  if (place.digest === header.digest) return;
  Object.assign(place, {digest: header.digest, header, resting: sections.resting, matrix: sections.matrix, pointed: null});
  fill(place);
  shade(place);
}

function build(host) {
  const text = element("div", {class: "text", role: "group", "aria-label": "The text, token by token"});
  const says = element("div", {class: "says", "aria-live": "polite"});
  const ramp = element("span", {class: "ramp"}), most = element("span", {class: "figure"});
  const scale = element("div", {class: "scale quiet"}, element("span", {}, "weight 0"), ramp, most);
  host.append(text, element("div", {class: "foot"}, says, scale));
  const place = {text, says, ramp, most, tokens: []};
  const which = (event) => event.target.closest?.(".token")?.dataset.position;
  text.addEventListener("pointerover", (event) => point(place, which(event)));
  text.addEventListener("pointerleave", () => point(place, undefined));
  text.addEventListener("focusin", (event) => point(place, which(event)));
  text.addEventListener("focusout", () => point(place, undefined));
  text.addEventListener("click", (event) => { const at = which(event); if (at !== undefined) hold(place, Number(at)); });
  text.addEventListener("keydown", (event) => walk(place, event));
  return place;
}

// A token as it is read: the spaces some tokenizers keep at its ends stand outside it.
function shown(token) {
  return token.trim() === "" ? visibleToken(token) : visibleToken(token).trim();
}

function fill(place) {
  const {header} = place;
  place.text.style.setProperty("--held", HELD);
  place.tokens = header.tokens.map((token, position) => {
    const blank = token.trim() === "";
    const kind = `token${header.special[position] ? " special" : ""}${blank ? " blank" : ""}`;
    const made = element("span", {class: kind, role: "button", tabindex: position === (header.picked ?? 0) ? 0 : -1,
      "aria-pressed": String(position === header.picked), "data-position": position}, shown(token));
    return made;
  });
  const parts = place.tokens.flatMap((made, position) => {
    const token = header.tokens[position], blank = token.trim() === "";
    const before = header.gaps[position] + (blank ? "" : token.match(/^ */)[0]), after = token.includes("\n") ? "\n" : blank ? "" : token.match(/ *$/)[0];
    return [before, made, after].filter((part) => part !== "");
  });
  place.text.replaceChildren(...parts);
  if (header.picked !== null) place.tokens[header.picked]?.scrollIntoView({block: "nearest"});
}

function point(place, position) {
  const next = position === undefined ? null : Number(position);
  if (next === place.pointed) return;
  place.pointed = next;
  shade(place);
}

function weightsOf(place, position) {
  const {header, matrix} = place, n = header.tokens.length;
  if (position === header.picked || position === null || !header.whole) return place.resting;
  if (header.kind === "query") return matrix.subarray(position * n, (position + 1) * n);
  return Float32Array.from({length: n}, (_, query) => matrix[query * n + position]);
}

// A held token keeps its shading, and pointing tells exact weights; with none held, pointing shades.
function shade(place) {
  const {header, pointed} = place;
  const from = header.picked !== null ? header.picked : header.whole ? pointed : null;
  const weights = weightsOf(place, from);
  let most = 0;
  for (const weight of weights) most = Math.max(most, weight || 0);
  place.tokens.forEach((made, position) => {
    const share = most > 0 ? (weights[position] || 0) / most : 0;
    made.style.backgroundColor = share < 0.004 ? "transparent" : `color-mix(in srgb, ${header.shade} ${(share * STRONGEST).toFixed(1)}%, transparent)`;
    made.dataset.weight = weights[position];
    made.setAttribute("aria-label", `${shown(header.tokens[position])}, position ${position}, weight ${(weights[position] || 0).toFixed(4)}`);
  });
  place.ramp.style.background = `linear-gradient(90deg, transparent, color-mix(in srgb, ${header.shade} ${STRONGEST}%, transparent))`;
  place.most.textContent = most.toFixed(3);
  place.says.textContent = sentence(place, from, weights);
}

function sentence(place, from, weights) {
  const {header, pointed} = place;
  const name = (position) => `“${shown(header.tokens[position])}” (${position})`;
  if (from === null) {
    const rest = header.whole ? "Point at a token to see where it looks; click to hold it." : "Click a token to see where it looks.";
    if (pointed !== null) return `${name(pointed)} receives ${weights[pointed].toFixed(4)} from a query on average.`;
    return header.kind === "query" ? `Mean weight each token receives. ${rest}` : `Mean weight each token receives. ${rest.replace("where it looks", "who looks at it")}`;
  }
  const other = pointed !== null && from === header.picked ? pointed : null;
  if (other !== null) {
    const [query, key] = header.kind === "query" ? [from, other] : [other, from];
    return `query ${name(query)} → key ${name(key)}: ${weights[other].toFixed(4)}`;
  }
  const top = weights.reduce((best, weight, position) => (weight > weights[best] ? position : best), 0);
  return header.kind === "query"
    ? `Query ${name(from)} looks most at ${name(top)}: ${weights[top].toFixed(4)}`
    : `Key ${name(from)} is looked at most by ${name(top)}: ${weights[top].toFixed(4)}`;
}

function hold(place, position) {
  place.pick(position === place.header.picked ? -1 : position);
}

function walk(place, event) {
  const at = Number(event.target.closest?.(".token")?.dataset.position ?? -1);
  if (at < 0) return;
  const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
  if (step) {
    const next = place.tokens[Math.min(place.tokens.length - 1, Math.max(0, at + step))];
    place.tokens[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  } else if (event.key === "Enter" || event.key === " ") hold(place, at);
  else if (event.key === "Escape") place.pick(-1);
  else return;
  event.preventDefault();
}
