// The heads of the layer shown, as small pictures: one click to another head, or back to all heads.
export default function (component) {
  const strip = mount(component.parentElement, makeStrip);
  strip.send = component.setTriggerValue;
  strip.show(component.data);
  return strip.leave;
}

function makeStrip(host) {
  const root = host.appendChild(element("div", {class: "strip", role: "group", "aria-label": "Heads of this layer"}));
  const strip = {header: null, url: null, shown: null, send: null};
  const forget = board().listen("head.shown", (shown) => { strip.shown = shown; frame(); });
  strip.leave = forget;

  strip.show = (message) => {
    const {header, sections} = unpack(message);
    if (strip.header?.digest === header.digest) return;
    strip.header = header;
    if (strip.url) URL.revokeObjectURL(strip.url);
    strip.url = sections.row.length ? URL.createObjectURL(new Blob([sections.row], {type: "image/png"})) : null;
    const {layers: [above, below], names, layer, site, n_columns: across} = header;
    const step = (other, sign, words) => element("button", {type: "button", class: "layer", disabled: !other, title: other ? `${words}: ${other.name}` : "", "aria-label": words,
      onclick: () => strip.send("go", {site: other.site, head: Math.min(strip.shown?.head ?? 0, other.n_heads - 1)})}, sign);
    root.replaceChildren(
      element("button", {type: "button", class: "all", title: "Back to all heads", onclick: () => strip.send("all", true)}, "‹ All heads"),
      element("span", {class: "steps"}, step(above, "▴", "Layer above"), element("b", {class: "figure"}, layer), step(below, "▾", "Layer below")),
      element("span", {class: "heads"}, names.map((name, head) => element("button", {type: "button", class: "head", "data-head": head, title: name, "aria-label": name,
        style: strip.url ? {backgroundImage: `url(${strip.url})`, backgroundSize: `${across * 36}px 36px`, backgroundPosition: `${-head * 36}px 0`} : {},
        onclick: () => strip.send("go", {site, head})}, strip.url ? "" : `H${head}`))));
    frame();
  };

  function frame() {
    for (const button of root.querySelectorAll(".head")) {
      const here = strip.shown?.site === strip.header?.site && Number(button.dataset.head) === strip.shown?.head;
      button.setAttribute("aria-current", String(here));
      if (here) button.scrollIntoView({block: "nearest", inline: "nearest"});
    }
  }

  return strip;
}
