// The legend under the picture: what colours and sizes say. Chips and the colour bar filter.
function makeLegend(scatter) {
  const root = element("div", {class: "legend"});

  const draw = () => keepFocus(root, build);

  function build() {
    const {colour, palette, n, size} = scatter.header, parts = [];
    if (colour.kind !== "kind") {
      parts.push(element("span", {class: "legend-title", title: colour.meaning}, colour.title));
      if (colour.categories) parts.push(...colour.categories.map((each, code) => chip(each.name, each.colour, scatter.filters.codes, code, each.count)));
      else parts.push(...ramp(colour));
    }
    const plain = colour.kind === "kind";
    parts.push(chip("query", plain ? palette.query : null, scatter.filters.kinds, "query", n, "●"), chip("key", plain ? palette.key : null, scatter.filters.kinds, "key", n, "◆"));
    if (size) parts.push(sizes(size));
    const sheet = scatter.options.draw === "patches" ? board().read("head.patches")?.header : null;
    if (sheet && sheet.shown < sheet.n) parts.push(element("span", {class: "quiet"}, `patches of ${sheet.shown.toLocaleString("en")} of ${sheet.n.toLocaleString("en")}, the rest are points`));
    if (scatter.said) parts.push(element("span", {class: "said"}, scatter.said));
    root.replaceChildren(...parts);
  }

  function chip(name, tone, set, code, count, sign) {
    const swatch = sign ? element("span", {class: "sign", style: tone ? {color: tone} : {}}, sign) : element("span", {class: "swatch", style: {background: tone}});
    return element("button", {type: "button", class: "chip", "data-focus": name, "aria-pressed": String(!set.has(code)), title: `${count.toLocaleString("en")} points; click to hide or show`,
      onclick: () => { if (set.has(code)) set.delete(code); else set.add(code); tell(); }}, swatch, cut(name, 24));
  }

  function tell() {
    draw();
    scatter.mark();
    scatter.send("choose", scatter.filters.words(scatter.header.colour));
  }

  // Dragging along the bar keeps only that range; a click, or Delete, lets go. Arrow keys move the ends.
  function ramp(colour) {
    const {filters} = scatter, span = colour.high - colour.low || 1;
    const window_ = element("span", {class: "window"});
    const bar = element("span", {class: "bar", "data-focus": "range", tabindex: "0", role: "group", title: "Drag to keep a range, click to show everything",
      "aria-label": `Range of ${colour.title}: drag, or arrow keys for the lower end, with shift for the upper; Delete shows everything`,
      style: {background: `linear-gradient(90deg, ${colour.stops.join(", ")})`}}, window_);
    const ends = element("span", {class: "figure"});
    const at = (event) => { const box = bar.getBoundingClientRect(); return colour.low + span * Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1); };
    let start = null;
    const show = () => {
      const [low, high] = filters.range ?? [colour.low, colour.high];
      Object.assign(window_.style, {left: `${100 * (low - colour.low) / span}%`, width: `${100 * (high - low) / span}%`});
      window_.hidden = !filters.range;
      ends.textContent = filters.range ? `${short(low)} to ${short(high)} kept` : "";
    };
    const keep = (from, to) => { filters.range = [Math.min(from, to), Math.max(from, to)]; show(); scatter.mark(); };
    bar.addEventListener("pointerdown", (event) => { start = at(event); bar.setPointerCapture(event.pointerId); });
    bar.addEventListener("pointermove", (event) => { if (start !== null) keep(start, at(event)); });
    bar.addEventListener("pointerup", (event) => {
      if (start !== null && Math.abs(at(event) - start) < 0.03 * span) filters.range = null;
      start = null;
      tell();
    });
    bar.addEventListener("keydown", (event) => {
      const step = {ArrowLeft: -0.05, ArrowRight: 0.05}[event.key] * span, [low, high] = filters.range ?? [colour.low, colour.high];
      if (event.key === "Delete" || event.key === "Backspace") { filters.range = null; tell(); }
      else if (step && event.shiftKey) keep(low, Math.min(Math.max(high + step, low), colour.high));
      else if (step) keep(Math.max(Math.min(low + step, high), colour.low), high);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    bar.addEventListener("keyup", (event) => { if (event.key.startsWith("Arrow")) scatter.send("choose", filters.words(colour)); });
    show();
    return [element("span", {class: "figure"}, short(colour.low)), bar, element("span", {class: "figure"}, short(colour.high)), element("span", {class: "quiet"}, colour.unit ?? ""), ends];
  }

  function sizes({title, low, high, unit}) {
    const dot = (factor) => element("span", {class: "dot", style: {width: `${5 * factor}px`, height: `${5 * factor}px`}});
    return element("span", {class: "sizes", title: "What the size of a point says"}, element("span", {class: "legend-title"}, title), dot(SMALL), element("span", {class: "figure"}, short(low)),
      dot(LARGE), element("span", {class: "figure"}, short(high)), element("span", {class: "quiet"}, unit));
  }

  return {root, draw};
}

// Size factors of the ends of a size scale; the area, not the width, follows the number.
const SMALL = 0.6, LARGE = 2.6;

function sizeFactors(values, {low, high}) {
  const span = high - low || 1;
  return Float32Array.from(values, (value) => (Number.isNaN(value) ? SMALL : Math.sqrt(SMALL ** 2 + (LARGE ** 2 - SMALL ** 2) * Math.min(Math.max((value - low) / span, 0), 1))));
}
