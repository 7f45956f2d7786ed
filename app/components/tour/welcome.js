// The strip of three sentences. Whether somebody has read it is remembered here in the browser, not by the server.
const MARK = "qk-atlas-welcome";

export default function (component) {
  const strip = mount(component.parentElement, makeStrip);
  strip.start = () => component.setTriggerValue("start", true);
  strip.show(component.data);
  return strip.leave;
}

function makeStrip(host) {
  const strip = {data: null, start: null};
  const root = host.appendChild(element("section", {class: "welcome", "aria-label": "How to read this page", hidden: true}));
  const state = (window.__qkWelcome ??= {open: null});
  const asked = () => { set(!state.open); if (state.open) root.querySelector("button").focus(); };
  const keys = (event) => { if (event.key === "Escape") close(); };
  root.addEventListener("keydown", keys);

  strip.show = (data) => {
    window.addEventListener("qk-tour", asked);
    if (state.open === null) state.open = data.first && !isRead();
    if (JSON.stringify(data) !== JSON.stringify(strip.data)) {
      strip.data = data;
      build(data);
    }
    set(state.open);
  };
  strip.leave = () => window.removeEventListener("qk-tour", asked);

  function build({sentences, colours, path}) {
    const [first, second] = colours.map((colour) => element("i", {class: "dot", style: {background: colour}, "aria-hidden": "true"}));
    const words = sentences.map(([lead, rest]) => element("span", {}, element("b", {}, lead), " ", ...dotted(rest, first, second), " "));
    const go = path ? [element("button", {type: "button", class: "go", onclick: () => { close(); strip.start(); }}, `${path}`)] : [];
    root.replaceChildren(element("p", {}, words), element("div", {class: "doors"}, go,
      element("button", {type: "button", class: "away", onclick: close, title: "Close; the button Tour brings it back"}, "Got it")));
  }

  // "queries and keys" with a dot of its colour before each.
  function dotted(rest, first, second) {
    const at = rest.indexOf("queries and keys");
    return at < 0 ? [rest] : [rest.slice(0, at), whole(first, "queries"), " and ", whole(second, "keys"), rest.slice(at + 16)];
  }

  const whole = (dot, word) => element("span", {class: "whole"}, dot, word);

  function close() {
    set(false);
    try { localStorage.setItem(MARK, "seen"); } catch { /* a browser that keeps nothing shows it again */ }
  }

  function set(open) {
    state.open = open;
    root.hidden = !open;
    document.documentElement.toggleAttribute("data-qk-welcome", Boolean(open));
  }

  return strip;
}

function isRead() {
  try { return localStorage.getItem(MARK) !== null; } catch { return false; }
}
