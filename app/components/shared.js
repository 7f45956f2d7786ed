// Put before every component: reading packed messages, and the board by which parts of one page talk.
const TYPES = {float32: Float32Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, int32: Int32Array};

// The inverse of `pack` in __init__.py: {header, sections: {name: typed array, ...}}. A page without a server puts such
// messages together itself.
function unpack(data) {
  if (data.header) return data;
  const bytes = data.byteOffset % 4 === 0 ? data : new Uint8Array(data);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const sections = {};
  for (const part of header.sections) {
    const Type = TYPES[part.type];
    sections[part.name] = new Type(bytes.buffer, bytes.byteOffset + 4 + length + part.offset, part.bytes / Type.BYTES_PER_ELEMENT);
  }
  return {header, sections};
}

// A board keeps the last message of each subject, so that whoever mounts second hears it too; of messages that name
// their view the last of a few views, the newest last.
function board() {
  if (!window.__qkAtlas) {
    const last = new Map(), listeners = new Map();
    window.__qkAtlas = {
      post(subject, message) {
        const kept = last.get(subject) ?? last.set(subject, new Map()).get(subject), view = message?.view;
        kept.delete(view);
        kept.set(view, message);
        if (kept.size > 4) kept.delete(kept.keys().next().value);
        for (const listener of listeners.get(subject) ?? []) listener(message);
      },
      read: (subject) => [...(last.get(subject)?.values() ?? [])].at(-1),
      listen(subject, listener) {
        if (!listeners.has(subject)) listeners.set(subject, new Set());
        listeners.get(subject).add(listener);
        for (const message of [...(last.get(subject)?.values() ?? [])]) listener(message);
        return () => listeners.get(subject).delete(listener);
      },
    };
  }
  return window.__qkAtlas;
}

// Elements without innerHTML: whatever a token says, it stays text.
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(made.style, value);
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) made.append(child);
  return made;
}

// The place of a component in its host, made once; kept over reruns.
function mount(parent, build) {
  const host = [...parent.children].find((child) => child.classList.contains("qk-host")) ?? parent.appendChild(element("div", {class: "qk-host"}));
  if (!host.made) host.made = build(host);
  return host.made;
}

function visibleToken(text) {
  if (text === "") return "∅";
  const shown = text.replace(/\n/g, "⏎").replace(/\t/g, "⇥");
  return shown.trim() === "" ? shown.replace(/ /g, "␣") : shown;
}

function short(number, digits = 2) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  const size = Math.abs(number);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return number.toExponential(1);
  if (Number.isInteger(number)) return String(number);
  return size >= 100 ? number.toFixed(0) : size >= 10 ? number.toFixed(1) : number.toFixed(digits);
}

// A title within a sentence; names such as CLS stay as they are.
function within(title) {
  return /^\p{Lu}{2}/u.test(title) ? title : title.slice(0, 1).toLowerCase() + title.slice(1);
}

function percent(share) {
  return share === null || share === undefined ? "–" : `${Math.round(share * 100)} %`;
}

// A picture to be saved: words and shapes in the colours and letters of the page; `dot` pixels of it are one of the
// page's. `save` gives it to the reader as a ``png`` or, its words and lines as such, an ``svg``, and tells its bytes.
function makeSheet(host, wide, tall, dot, form = "png") {
  const style = getComputedStyle(host), ink = style.getPropertyValue("--st-text-color"), context = form === "svg" ? makeVectorPen(wide, tall) : element("canvas", {width: wide, height: tall}).getContext("2d");
  context.fillStyle = style.getPropertyValue("--st-background-color");
  context.fillRect(0, 0, wide, tall);
  const font = (weight, size) => { context.font = `${weight} ${size * dot}px ${style.fontFamily}`; };
  const write = (words, x, y, tone = ink) => { context.fillStyle = tone; context.fillText(words, x, y); return x + context.measureText(words).width; };
  const box = (tone, x, y, width, height) => { context.fillStyle = tone; context.fillRect(x, y, width, height); return x + width; };
  const ramp = (stops, x, y, width, height) => {
    const tones = context.createLinearGradient(x, 0, x + width, 0);
    stops.forEach((stop, at) => tones.addColorStop(at / Math.max(stops.length - 1, 1), stop));
    return box(tones, x, y, width, height);
  };
  const save = (words) => new Promise((done) => context.canvas.toBlob((blob) => {
    const link = element("a", {href: URL.createObjectURL(blob), download: `${words.map((word) => word.replace(/[^\w.-]+/g, "-")).join("-")}.${form}`});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    done(blob.size);
  }, "image/png"));
  return {context, font, write, box, ramp, save};
}

// The pen of a canvas, as far as pictures here are drawn with it, that writes SVG.
function makeVectorPen(wide, tall) {
  const SVG = "http://www.w3.org/2000/svg", ruler = element("canvas").getContext("2d"), root = document.createElementNS(SVG, "svg");
  const n = (value) => String(Math.round(value * 100) / 100);
  let path = "", group = root, gradients = 0;
  const add = (tag, properties, words) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(properties)) if (value !== null) made.setAttribute(name, value);
    if (words !== undefined) made.textContent = words;
    return group.appendChild(made);
  };
  const fill = () => ({fill: pen.fillStyle, "fill-opacity": pen.globalAlpha < 1 ? n(pen.globalAlpha) : null});
  const stroke = () => ({fill: "none", stroke: pen.strokeStyle, "stroke-width": n(pen.lineWidth), "stroke-opacity": pen.globalAlpha < 1 ? n(pen.globalAlpha) : null, "stroke-dasharray": pen.dash.length ? pen.dash.map(n).join(" ") : null});
  const letters = (x, y) => {
    const [, weight, size, family] = pen.font.match(/^(\d+) ([\d.]+)px (.*)$/);
    return {x: n(x), y: n(y), "font-weight": weight, "font-size": size, "font-family": family, "xml:space": "preserve"};
  };
  const pen = {
    fillStyle: "#000", strokeStyle: "#000", lineWidth: 1, globalAlpha: 1, font: "400 12px sans-serif", dash: [],
    clearRect() {},
    // What follows is drawn (x, y) away and cut off at the frame, until `leave`.
    enter(x, y, width, height) {
      const id = `frame${++gradients}`;
      add("clipPath", {id}).append(add("rect", {x: 0, y: 0, width: n(width), height: n(height)}));
      group = add("g", {transform: `translate(${n(x)} ${n(y)})`, "clip-path": `url(#${id})`});
    },
    leave() { group = root; },
    fillRect(x, y, width, height) { add("rect", {x: n(x), y: n(y), width: n(width), height: n(height), ...fill()}); },
    strokeRect(x, y, width, height) { add("rect", {x: n(x), y: n(y), width: n(width), height: n(height), ...stroke()}); },
    beginPath() { path = ""; },
    moveTo(x, y) { path += `M${n(x)} ${n(y)}`; },
    lineTo(x, y) { path += `${path ? "L" : "M"}${n(x)} ${n(y)}`; },
    closePath() { path += "Z"; },
    // Whole circles are all that is asked for.
    arc(x, y, radius) { path += `M${n(x - radius)} ${n(y)}a${n(radius)} ${n(radius)} 0 1 0 ${n(2 * radius)} 0a${n(radius)} ${n(radius)} 0 1 0 ${n(-2 * radius)} 0Z`; },
    fill() { add("path", {d: path, ...fill()}); },
    stroke() { add("path", {d: path, ...stroke()}); },
    setLineDash(dash) { pen.dash = dash; },
    measureText(words) { ruler.font = pen.font; return ruler.measureText(words); },
    fillText(words, x, y) { add("text", {...letters(x, y), ...fill()}, words); },
    strokeText(words, x, y) { add("text", {...letters(x, y), ...stroke(), "stroke-linejoin": "round"}, words); },
    drawImage(picture, x, y, width = picture.width, height = picture.height) { add("image", {x: n(x), y: n(y), width: n(width), height: n(height), href: picture.toDataURL("image/png")}); },
    createLinearGradient(from, _, to) {
      const id = `ramp${++gradients}`, made = add("linearGradient", {id, x1: n(from), x2: n(to), gradientUnits: "userSpaceOnUse"});
      return {addColorStop: (at, colour) => { const stop = document.createElementNS(SVG, "stop"); stop.setAttribute("offset", n(at)); stop.setAttribute("stop-color", colour); made.append(stop); }, toString: () => `url(#${id})`};
    },
    canvas: {width: wide, height: tall, toBlob(then) { then(new Blob([new XMLSerializer().serializeToString(root)], {type: "image/svg+xml"})); }},
  };
  for (const [name, value] of Object.entries({width: n(wide), height: n(tall), viewBox: `0 0 ${n(wide)} ${n(tall)}`})) root.setAttribute(name, value);
  return pen;
}
