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

// A picture to be saved: a canvas with words, in the colours and letters of the page; `dot` pixels of it are one of the
// page's. `save` gives it to the reader as a PNG and tells its bytes.
function makeSheet(host, wide, tall, dot) {
  const style = getComputedStyle(host), ink = style.getPropertyValue("--st-text-color"), context = element("canvas", {width: wide, height: tall}).getContext("2d");
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
    const link = element("a", {href: URL.createObjectURL(blob), download: `${words.map((word) => word.replace(/[^\w.-]+/g, "-")).join("-")}.png`});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    done(blob.size);
  }, "image/png"));
  return {context, font, write, box, ramp, save};
}
