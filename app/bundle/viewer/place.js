// A component of the app in a shadow root of its own, as Streamlit mounts it; `said` hears what it triggers.
function mountComponent(name, parent, said) {
  const host = parent.appendChild(element("div", {class: `part ${name}`})), root = host.attachShadow({mode: "open"});
  const inner = element("div");
  root.append(element("style", {}, QKATLAS.styles[name]), inner);
  let leave = null;
  return {
    host,
    show: (data) => { leave = QKATLAS.components[name]({data, parentElement: inner, setTriggerValue: (what, value) => said[what]?.(value)}); },
    leave: () => { leave?.(); host.remove(); },
  };
}

function menu(title, choices, chosen, then, help) {
  const select = element("select", {"aria-label": title, title: help, onchange: (event) => then(event.target.value)},
    choices.map(([value, words]) => element("option", {value, selected: value === chosen}, words)));
  return element("label", {class: "menu"}, element("span", {class: "quiet"}, title), select);
}

function check(title, isOn, then) {
  return element("label", {class: "check"}, element("input", {type: "checkbox", checked: isOn, onchange: (event) => then(event.target.checked)}), title);
}

// A number that no message before it had: components draw only what they have not drawn yet.
let messages = 0;
const another = () => `bundle ${++messages}`;

// Flags as text, eight to a byte, the first in the highest bit.
function asBits(flags) {
  const bytes = new Uint8Array(Math.ceil(flags.length / 8));
  flags.forEach((flag, at) => { if (flag) bytes[at >> 3] |= 128 >> (at & 7); });
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

async function pngOf(canvas) {
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  return new Uint8Array(await blob.arrayBuffer());
}
