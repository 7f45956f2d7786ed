// The bar on the picture: the head's name with its neighbours, what size and lines say, labels and patches; the tools.
function makeBar(scatter) {
  const root = element("div", {class: "top"}), tools = element("div", {class: "tools"}), warning = element("div", {class: "warning", role: "note"});

  const draw = () => keepFocus(root, () => keepFocus(tools, build));

  function build() {
    const {name, walk: ways, caution, size_choices: sizes, has_patches: hasPatches, line_choices: lines} = scatter.header, {options} = scatter;
    const step = (way, sign, words) => element("button", {type: "button", "aria-label": words, "data-focus": way, title: ways[way] ? `${words}: ${ways[way].name}` : "", disabled: !ways[way], onclick: () => scatter.walk(way)}, sign);
    root.replaceChildren(
      element("span", {class: "walk"}, step("left", "‹", "Previous head"), element("b", {class: "figure"}, name), step("right", "›", "Next head")),
      menu("Size", "size", sizes, scatter.header.size?.name ?? "none", "What the size of a point says"),
      menu("Lines", "lines", lines, options.lines, "Which lines a picked point draws"),
      toggle("Labels", "labels", options.labels === "on", ["on", "off"], "Words at the points: marked ones first, then keys by the attention they receive and queries by how sharply they attend, as many as fit"),
      ...(hasPatches ? [toggle("Patches", "draw", options.draw === "patches", ["patches", "points"], "Draw every point as its patch, queries framed green, keys magenta")] : []));
    warning.textContent = caution;
    warning.hidden = !caution;
    const button = (sign, title, act, pressed) => element("button", {type: "button", title, "aria-label": title, "data-focus": title, "aria-pressed": pressed, onclick: act}, sign);
    const {camera} = scatter;
    tools.replaceChildren(button("+", "Zoom in (+)", () => camera.zoomAt(1.6, 0, 0)), button("−", "Zoom out (-)", () => camera.zoomAt(1 / 1.6, 0, 0)),
      button("⤢", "Show everything (0)", () => { camera.fit(true); scatter.redraw(); }),
      ...(scatter.hasLasso() ? [button("⬠", "Lasso: draw round points (L)", () => scatter.arm(!scatter.armed), String(scatter.armed))] : []),
      button("↓", "Save the picture (PNG)", () => savePicture(scatter, "png")),
      button("⇩", "Save the picture (SVG)", () => savePicture(scatter, "svg")));
  }

  function menu(title, word, choices, chosen, help) {
    const select = element("select", {"aria-label": title, "data-focus": word, title: help, onchange: (event) => scatter.choose(word, event.target.value)},
      choices.map(([value, words]) => element("option", {value, selected: value === chosen}, words)));
    return element("label", {class: "menu"}, element("span", {class: "quiet"}, title), select);
  }

  function toggle(words, word, on, [yes, no], help) {
    return element("button", {type: "button", class: "toggle", "data-focus": word, "aria-pressed": String(on), title: help, onclick: () => scatter.choose(word, on ? no : yes)}, words);
  }

  return {root, tools, warning, draw};
}
