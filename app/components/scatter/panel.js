// The picked token in its context, the ranked lists of what it looks at and who looks at it, and what a lasso holds.
export default function (component) {
  const panel = mount(component.parentElement, makePanel);
  panel.send = component.setTriggerValue;
  panel.show(component.data);
  return panel.leave;
}

const cut = (text, most) => ([...text].length > most ? `${[...text].slice(0, most - 1).join("")}…` : text);

function makePanel(host) {
  const panel = {data: null, tab: null, send: null};
  const root = host.appendChild(element("div", {class: "panel"}));
  panel.leave = () => board().post("head.listed", null);

  panel.show = (data) => {
    const before = panel.data, now = data.picked;
    if (data.lasso && data.lasso.key !== before?.lasso?.key) panel.tab = "lasso";
    else if (now && now.point !== before?.picked?.point) panel.tab = now.kind === "key" ? "seen" : "sees";
    if (!data.lasso && panel.tab === "lasso") panel.tab = now?.kind === "key" ? "seen" : "sees";
    if (!now && data.lasso) panel.tab = "lasso";
    panel.data = data;
    draw();
    if (data.lasso) window.__qkAtlas.lassoed = {at: performance.now(), key: data.lasso.key};
  };

  function draw() {
    const {picked, lasso, view, options, marks, half, said, also, ramp} = panel.data;
    const shown = picked?.[panel.tab === "lasso" ? (picked.kind === "key" ? "seen" : "sees") : panel.tab];
    board().post("head.listed", null);
    board().post("head.picked", {view, options, marks, half, said, also: also ?? [], held: Boolean(lasso), lasso: lasso?.shape ?? null,
      point: picked?.point ?? null, start: shown?.start ?? null, links: shown?.rows.map(({point, weight}) => ({point, weight})) ?? []});
    const parts = [];
    if (picked || lasso) parts.push(tabs(picked, lasso));
    if (lasso && panel.tab === "lasso") parts.push(...lassoCard(lasso, ramp));
    else if (picked) parts.push(...pickCard(picked, shown, panel.data.further ?? []));
    else parts.push(...panel.data.hint.map((words) => element("p", {class: "quiet"}, words)));
    root.replaceChildren(...parts);
  }

  function pickCard(picked, shown, further) {
    return [
      element("div", {class: "headline"}, element("b", {}, visibleToken(picked.text)), " ", element("span", {class: `kind ${picked.kind}`}, picked.kind)),
      element("div", {class: "quiet"}, picked.place),
      ...(further.length ? [element("div", {class: "further"}, element("span", {class: "quiet"}, "Lines also of "), further.map((each) =>
        element("button", {type: "button", class: "plain", title: `Take ${each.kind} ${each.text} at position ${each.token} of input ${each.input} away`,
          onclick: () => panel.send("without", each.word)}, `${cut(visibleToken(each.text), 12)} ✕`)))] : []),
      picked.image ? image(picked) : context(picked), element("p", {class: "note quiet"}, shown.note), rows(shown)];
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

  function tabs(picked, lasso) {
    const tab = (name, words) => element("button", {type: "button", role: "tab", "aria-selected": String(panel.tab === name), onclick: () => { panel.tab = name; draw(); }}, words);
    return element("div", {class: "tabs"}, element("div", {role: "tablist"}, ...(lasso ? [tab("lasso", "Lasso")] : []), ...(picked ? [tab("sees", "It looks at"), tab("seen", "Looks at it")] : [])),
      element("button", {type: "button", class: "plain", title: "Clear (Escape)", "aria-label": "Clear what is picked", onclick: () => panel.send("pick", null)}, "✕"));
  }

  function rows(shown) {
    const most = Math.max(...shown.rows.map((row) => row.weight), 1e-9);
    const made = shown.rows.map((row) => {
      const line = element("button", {type: "button", class: "row", title: `${row.place}; click to pick it`},
        element("span", {class: "token"}, visibleToken(row.text)), element("span", {class: "figure quiet"}, row.at), element("span", {class: "figure"}, weightWords(row.weight)),
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
