// The picked token in its context, and the ranked lists of what it looks at and who looks at it.
export default function (component) {
  const panel = mount(component.parentElement, makePanel);
  panel.send = component.setTriggerValue;
  panel.show(component.data);
  return panel.leave;
}

function makePanel(host) {
  const panel = {data: null, tab: null, send: null};
  const root = host.appendChild(element("div", {class: "panel"}));
  panel.leave = () => board().post("head.listed", null);

  panel.show = (data) => {
    const before = panel.data?.picked, now = data.picked;
    if (!before || !now || before.point !== now.point) panel.tab = now?.kind === "key" ? "seen" : "sees";
    panel.data = data;
    draw();
  };

  function draw() {
    const {picked, view} = panel.data;
    board().post("head.listed", null);
    if (!picked) {
      board().post("head.picked", {view, point: null, links: []});
      root.replaceChildren(...panel.data.hint.map((words) => element("p", {class: "quiet"}, words)));
      return;
    }
    const shown = picked[panel.tab];
    board().post("head.picked", {view, point: picked.point, start: shown.start, links: shown.rows.map(({point, weight}) => ({point, weight}))});
    const clear = element("button", {type: "button", class: "plain", title: "Let go (Escape)", onclick: () => panel.send("pick", null)}, "✕");
    root.replaceChildren(
      element("div", {class: "headline"}, element("b", {}, visibleToken(picked.text)), " ",
        element("span", {class: "kind", style: {color: picked.colour}}, picked.kind), clear),
      element("div", {class: "quiet"}, picked.place),
      picked.image ? image(picked) : context(picked),
      tabs(picked), element("p", {class: "note quiet"}, shown.note), rows(shown));
  }

  function context({before, text, after}) {
    return element("div", {class: "context"}, before, element("mark", {}, text), after);
  }

  // The picture the model saw, the picked patch framed, and the patch under the pointer in the list.
  function image(picked) {
    panel.listed = element("span", {class: "patch listed", hidden: true});
    const frame = element("span", {class: "patch"});
    lay(frame, picked.patch);
    return element("div", {class: "input"}, element("img", {src: picked.image, alt: picked.image_alt}), frame, panel.listed);
  }

  function lay(frame, patch) {
    frame.hidden = !patch;
    if (patch) ["left", "top", "width", "height"].forEach((side, at) => { frame.style[side] = `${100 * patch[at]}%`; });
  }

  function list(row) {
    board().post("head.listed", row ? row.point : null);
    if (panel.data.picked?.image && panel.listed) lay(panel.listed, row?.patch);
  }

  function tabs(picked) {
    const tab = (name, words) => element("button", {type: "button", role: "tab", "aria-selected": String(panel.tab === name), onclick: () => { panel.tab = name; draw(); }}, words);
    return element("div", {class: "tabs", role: "tablist"}, tab("sees", "It looks at"), tab("seen", "Looks at it"));
  }

  function rows(shown) {
    const most = Math.max(...shown.rows.map((row) => row.weight), 1e-9);
    const made = shown.rows.map((row) => {
      const line = element("button", {type: "button", class: "row", title: `${row.place}; click to pick it`},
        element("span", {class: "token"}, visibleToken(row.text)), element("span", {class: "figure quiet"}, row.at), element("span", {class: "figure"}, row.weight.toFixed(3)),
        element("span", {class: "bar", style: {width: `${100 * row.weight / most}%`, background: shown.colour}}));
      for (const event of ["pointerenter", "focus"]) line.addEventListener(event, () => list(row));
      for (const event of ["pointerleave", "blur"]) line.addEventListener(event, () => list(null));
      line.addEventListener("click", () => panel.send("pick", row.pick));
      return line;
    });
    return element("div", {class: "rows"}, made);
  }

  return panel;
}
