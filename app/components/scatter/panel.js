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
    const list = picked[panel.tab];
    board().post("head.picked", {view, point: picked.point, start: list.start, links: list.rows.map(({point, weight}) => ({point, weight}))});
    const clear = element("button", {type: "button", class: "plain", title: "Let go (Escape)", onclick: () => panel.send("pick", null)}, "✕");
    root.replaceChildren(
      element("div", {class: "headline"}, element("b", {}, visibleToken(picked.text)), " ",
        element("span", {class: "kind", style: {color: picked.colour}}, picked.kind), clear),
      element("div", {class: "quiet"}, picked.place),
      picked.image ? element("img", {src: picked.image, alt: picked.image_alt, class: "input"}) : context(picked),
      tabs(picked), element("p", {class: "note quiet"}, list.note), rows(list));
  }

  function context({before, text, after}) {
    return element("div", {class: "context"}, before, element("mark", {}, text), after);
  }

  function tabs(picked) {
    const tab = (name, words) => element("button", {type: "button", role: "tab", "aria-selected": String(panel.tab === name), onclick: () => { panel.tab = name; draw(); }}, words);
    return element("div", {class: "tabs", role: "tablist"}, tab("sees", "It looks at"), tab("seen", "Looks at it"));
  }

  function rows(list) {
    const most = Math.max(...list.rows.map((row) => row.weight), 1e-9);
    const made = list.rows.map((row) => {
      const line = element("button", {type: "button", class: "row", title: `${row.place}; click to pick it`},
        element("span", {class: "token"}, visibleToken(row.text)), element("span", {class: "figure quiet"}, row.at), element("span", {class: "figure"}, row.weight.toFixed(3)),
        element("span", {class: "bar", style: {width: `${100 * row.weight / most}%`, background: list.colour}}));
      for (const event of ["pointerenter", "focus"]) line.addEventListener(event, () => board().post("head.listed", row.point));
      for (const event of ["pointerleave", "blur"]) line.addEventListener(event, () => board().post("head.listed", null));
      line.addEventListener("click", () => panel.send("pick", row.pick));
      return line;
    });
    return element("div", {class: "rows"}, made);
  }

  return panel;
}
