// Charts of the view as files, as they are seen: the drawing of each, with the colours and letters that the page's style
// gives it, over it what it is and of which run, under it the legend that stands beside it. The heat map of a text is saved
// as the picture it is. Nothing is asked of the server. Maps of points and the grid of all heads have arrows of their own.
const CHARTS = ".st-key-view [data-testid=stVegaLiteChart] svg.marks", SHARP = 2;

function chartsButton() {
  const menu = element("div", {class: "charts", role: "group", "aria-label": "Charts of this view", hidden: true});
  const button = element("button", {type: "button", class: "save-charts", title: "Save the charts of this view as SVG or PNG", "aria-label": "Save charts", "aria-expanded": "false"}, "Save");
  const open = (isOpen) => { menu.hidden = !isOpen; button.setAttribute("aria-expanded", String(isOpen)); };
  button.addEventListener("click", () => { menu.replaceChildren(...entries()); open(menu.hidden); });
  const root = element("span", {class: "of-charts"}, button, menu);
  root.addEventListener("keydown", (event) => { if (event.key === "Escape" && !menu.hidden) { open(false); button.focus(); } });
  document.addEventListener("pointerdown", (event) => { if (!event.composedPath().includes(root)) open(false); });
  return root;
}

function entries() {
  const own = [...document.querySelectorAll(".st-key-view *")].filter((each) => each.shadowRoot).flatMap((each) => [...each.shadowRoot.querySelectorAll("canvas[role=img]")]);
  const found = [...document.querySelectorAll(CHARTS), ...own].filter((each) => each.getClientRects().length);
  if (!found.length) return [element("p", {class: "quiet"}, "No chart stands in this view now. The map of a head and the grid of all heads have ↓ beside them.")];
  return found.map((chart, at) => {
    const name = nameOf(chart, at), button = (form) => element("button", {type: "button", "aria-label": `Save ${name} as ${form.toUpperCase()}`, onclick: () => saveChart(chart, at, form)}, form.toUpperCase());
    return element("div", {class: "entry"}, element("span", {title: name}, name), chart.localName === "svg" ? button("svg") : null, button("png"));
  });
}

// What the chart says of itself, for a screen reader; else what stands beside it.
function nameOf(chart, at) {
  const said = chart.closest("[aria-label]")?.getAttribute("aria-label") || chart.querySelector(".role-title-text text, .role-axis-title text")?.textContent;
  return said ? said.split(/[.;:]\s/)[0] : `Chart ${at + 1}`;
}

async function saveChart(chart, at, form) {
  const file = chart.localName === "canvas" ? await grounded(chart) : await drawn(chart, form);
  const view = location.pathname.split("/").pop() || "atlas", run = new URLSearchParams(location.search).get("run");
  const link = element("a", {href: URL.createObjectURL(file), download: `${[run, view, at + 1].filter(Boolean).join("-").replace(/[^\w.-]+/g, "-")}.${form}`});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function drawn(chart, form) {
  const drawing = standingAlone(chart), file = new Blob([new XMLSerializer().serializeToString(drawing)], {type: "image/svg+xml"});
  return form === "png" ? rastered(file, Number(drawing.getAttribute("width")), Number(drawing.getAttribute("height"))) : file;
}

// A picture of dots as it is, on the ground of the page.
function grounded(picture) {
  const canvas = element("canvas", {width: picture.width, height: picture.height}), pen = canvas.getContext("2d");
  pen.fillStyle = getComputedStyle(document.querySelector("[data-testid=stApp]")).backgroundColor;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

const SVG = "http://www.w3.org/2000/svg", HEAD = 26, FOOT = 24;

function shape(tag, properties, words) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value);
  if (words !== undefined) made.textContent = words;
  return made;
}

// A sheet with a copy of the chart that keeps what it owes to the page: colours and letters of its words, its gradients.
function standingAlone(chart) {
  const copy = chart.cloneNode(true), page = getComputedStyle(document.querySelector("[data-testid=stApp]")), box = chart.getBoundingClientRect();
  const words = [...chart.querySelectorAll("text")], copies = copy.querySelectorAll("text");
  words.forEach((text, place) => {
    const style = getComputedStyle(text);
    for (const [name, value] of Object.entries({fill: style.fill, "font-family": style.fontFamily, "font-size": style.fontSize})) copies[place].setAttribute(name, value);
  });
  for (const each of copy.querySelectorAll("[fill*='url('], [stroke*='url(']")) for (const name of ["fill", "stroke"]) each.setAttribute(name, (each.getAttribute(name) ?? "none").replace(/url\([^#)]*#/, "url(#"));
  if (!copy.getAttribute("viewBox")) copy.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
  const run = new URLSearchParams(location.search).get("run"), said = [nameOf(chart, 0), run && `run ${run}`].filter(Boolean).join(" · ");
  const legend = legendOf(chart, page), wide = Math.ceil(Math.max(box.width, 8 + lengthOf(said, page), legend.length ? Number(legend.at(-1).getAttribute("x")) + lengthOf(legend.at(-1).textContent, page) + 8 : 0)), high = Math.ceil(box.height) + HEAD + (legend.length ? FOOT : 0);
  copy.removeAttribute("style");
  for (const [name, value] of Object.entries({x: 0, y: HEAD, width: Math.round(box.width), height: Math.round(box.height)})) copy.setAttribute(name, value);
  const sheet = shape("svg", {width: wide, height: high, viewBox: `0 0 ${wide} ${high}`});
  const title = shape("text", {x: 4, y: 16, "font-family": page.fontFamily, "font-size": 12, fill: page.color}, said);
  const foot = shape("g", {transform: `translate(4 ${high - 8})`});
  foot.append(...legend);
  sheet.append(shape("rect", {x: 0, y: 0, width: wide, height: high, fill: page.backgroundColor}), title, copy, foot);
  return sheet;
}

function lengthOf(words, page) {
  const ruler = element("canvas").getContext("2d");
  ruler.font = `12px ${page.fontFamily}`;
  return ruler.measureText(words).width;
}

// What the legend beside a chart says of its colours: a stroke and a word each.
function legendOf(chart, page) {
  const block = chart.closest("[data-testid=stVerticalBlock]");
  let x = 0;
  return [...(block?.querySelector(".qk-legend")?.querySelectorAll(".qk-swatch") ?? [])].flatMap((each) => {
    const line = getComputedStyle(each.querySelector("i")), words = each.textContent.trim(), at = x;
    x += 26 + lengthOf(words, page) + 14;
    return [shape("line", {x1: at, x2: at + 20, y1: -4, y2: -4, stroke: line.borderTopColor, "stroke-width": 3, ...(line.borderTopStyle === "dashed" ? {"stroke-dasharray": "5 3"} : {})}),
      shape("text", {x: at + 26, y: 0, "font-family": page.fontFamily, "font-size": 12, fill: page.color}, words)];
  });
}

async function rastered(file, width, height) {
  const image = new Image(), address = URL.createObjectURL(file);
  await new Promise((done, fail) => { image.onload = done; image.onerror = () => fail(new Error("The chart cannot be drawn as PNG.")); image.src = address; });
  URL.revokeObjectURL(address);
  const canvas = element("canvas", {width: Math.round(width * SHARP), height: Math.round(height * SHARP)});
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}
