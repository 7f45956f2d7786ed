// An image on the page Input: the picture the model saw, its patches shaded; CLS and registers as squares beside it.
const MOST_NAMED = 8;

function patchPicture(about, state, one, {shown, columns, isWeighed}, pick) {
  const {boxes, names, image} = one.header, weights = byToken(restingOf(state, shown), shown.unit_of), scale = makeScale(weights.filter((each) => !Number.isNaN(each)), state.words.scale), colour = rampColour(about.ramp);
  const patches = boxes.filter((box) => box[4]), wide = Math.max(...patches.map((box) => box[2])), high = Math.max(...patches.map((box) => box[3])), left = Math.min(...boxes.map((box) => box[0]), 0), low = Math.max(...boxes.map((box) => box[3]));
  const beside = [...boxes.keys()].filter((at) => !boxes[at][4] && boxes.length - patches.length <= MOST_NAMED), isSink = (at) => columns?.[at] === 1;
  const tip = element("p", {class: "quiet", "aria-live": "polite"}), rest = restWords(state, names, isSink);
  const told = (at) => `${names[at]}: ${!Number.isNaN(weights[at]) ? weightText(weights[at]) : isSink(at) ? "hidden, a sink" : shown.unit_of[at] < 0 ? "hidden" : "may not attend"}`;
  const shade = (at) => {
    const box = boxes[at], isMarked = state.marked?.[at], part = interpolate(scale.knots, weights[at]), opacity = box[4] ? (0.3 + 0.6 * part) * (state.marked && !isMarked ? 0.4 : 1) : 1;
    const rect = svg("rect", {x: box[0], y: box[1], width: box[2] - box[0], height: box[3] - box[1], fill: Number.isNaN(weights[at]) ? "none" : `rgb(${colour(part)})`, "fill-opacity": Number.isNaN(weights[at]) ? 0 : opacity, stroke: at === state.token ? "#D55E00" : isSink(at) ? "#8A9099" : "none", "stroke-width": at === state.token ? 0.14 : 0.06, "stroke-dasharray": isSink(at) && at !== state.token ? "0.12 0.12" : "none",
      "pointer-events": "all", tabindex: 0, role: "button", "aria-label": told(at), "aria-pressed": String(at === state.token), "data-position": at, ...(state.marked ? {"data-marked": String(isMarked)} : {}), ...(isSink(at) ? {"data-sink": "true"} : {})});
    const hear = () => { tip.textContent = told(at); };
    for (const event of ["pointerenter", "focus"]) rect.addEventListener(event, hear);
    rect.addEventListener("pointerleave", () => { tip.textContent = rest; });
    rect.addEventListener("click", () => pick(at === state.token ? null : at));
    rect.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pick(at === state.token ? null : at); } });
    return rect;
  };
  // White dashes over black: seen on any picture.
  const dashes = (at) => [["#000", 0.1, "none"], ["#FFF", 0.06, "0.16 0.12"]].map(([stroke, wide_, dash]) => svg("rect", {x: boxes[at][0], y: boxes[at][1], width: boxes[at][2] - boxes[at][0], height: boxes[at][3] - boxes[at][1], fill: "none", stroke, "stroke-width": wide_, "stroke-dasharray": dash, "pointer-events": "none", "aria-hidden": "true"}));
  const last = (at) => 2 * (at === state.token) + isSink(at), marked = state.marked ? [...boxes.keys()].filter((at) => state.marked[at]) : [];
  const draw = (shades) => svg("svg", {viewBox: `${left - 0.1} -0.1 ${wide - left + 0.2} ${Math.max(high, low) + 0.4}`, role: "group", "aria-label": shades ? "The picture, shaded by attention" : "The picture as the model saw it"},
    ...(shades ? [greyFilter()] : []), svg("image", {href: image, x: 0, y: 0, width: wide, height: high, preserveAspectRatio: "none", style: "image-rendering: pixelated", ...(shades ? {filter: "url(#grey)"} : {})}),
    ...(shades ? [...boxes.keys()].sort((a, b) => last(a) - last(b)).map(shade) : []), ...(shades ? marked : marked.filter((at) => boxes[at][4])).flatMap(dashes),
    ...(shades ? beside.map((at) => svg("text", {x: (boxes[at][0] + boxes[at][2]) / 2, y: boxes[at][3] + 0.3, "text-anchor": "middle", "font-size": 0.26, fill: "currentColor"}, names[at])) : []));
  tip.textContent = rest;
  const bar = element("div", {class: "bar"}, element("span", {class: "ramp", style: {background: `linear-gradient(90deg, ${about.ramp.join(", ")})`}}), element("span", {class: "ticks figure quiet"}, ticksOf(scale).map((tick) => element("span", {}, tick))), element("span", {class: "quiet"}, `${isWeighed ? "weight × value norm" : "weight"}, ${scale.name} scale`));
  return [element("div", {class: "pair"}, draw(false), draw(true)), tip, bar];
}

// Grey, so that the colours are those of the colour bar alone: the brightness of a pixel, 60 + 0.6 of it.
function greyFilter() {
  const row = [0.299, 0.587, 0.114].map((part) => 0.6 * part).join(" ");
  const matrix = svg("feColorMatrix", {type: "matrix", values: [row, row, row].map((each) => `${each} 0 ${60 / 255}`).join(" ") + " 0 0 0 1 0"});
  return svg("filter", {id: "grey", "color-interpolation-filters": "sRGB", x: 0, y: 0, width: 1, height: 1}, matrix);
}

function restWords({token, kind, unit}, names, isSink) {
  if (token === null || unit === null) return "Mean weight of every token over all queries. Click a patch or a square to see its own.";
  if (kind === "query") return `Where ${names[token]} (outlined) looks.`;
  return isSink(token) ? `The key of ${names[token]} (outlined) is a sink and hidden: no weight on it is drawn.` : `How much each token looks at ${names[token]} (outlined); these weights need not add up to 1.`;
}

function svg(tag, properties, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value);
  made.append(...children.flat());
  return made;
}
