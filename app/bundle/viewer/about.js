// About: what made the run, how exactly it was captured, all heads as a table, and how to bring the run back.
function makeAbout(about, {main}, go) {
  const rows = (pairs) => element("table", {}, element("tbody", {}, pairs.map(([name, value]) => element("tr", {}, element("th", {scope: "row"}, name), element("td", {}, String(value))))));
  const list = (sentences) => element("ul", {}, sentences.map((sentence) => element("li", {}, sentence)));
  const held = about.inputs.filter((each) => each.held), heads = element("table", {class: "wide"});
  main.replaceChildren(
    element("h1", {}, about.run), rows(about.made),
    ...(about.notes.length ? [element("h2", {}, "Notes"), list(about.notes)] : []),
    element("h2", {}, "How exactly"), list(about.exactly.length ? about.exactly : ["This run has no certificate: it was not captured from a model."]),
    element("h2", {}, "What is here"), list([
      `All ${about.heads.length} heads, ${count(about.maps.length, "one map of each", "maps of each")}: ${about.maps.map((each) => each.name).join(", ") || "none"}.`,
      `The attention of ${held.length} of ${about.inputs.length} inputs: ${listed(held.map((each) => each.id)) || "none"}.`,
      "Pages that compute — Heads, Sinks, Runs, new texts — are in QK Atlas itself."]),
    element("h2", {}, "Into another QK Atlas"), element("p", {}, "The run is in this folder as it is; ", element("code", {}, "python -m analysis import FOLDER"), " brings it in and checks every byte."),
    element("h2", {}, "Whose it is"), element("p", {}, "The model and the data have licences of their own, and this folder holds the texts or images themselves: before you pass it on, see that both licences allow it and that nothing in the data is private."),
    element("h2", {}, "Scores of all heads"), element("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "Scores of all heads"}, heads));
  heads.append(element("thead", {}, element("tr", {}, element("th", {scope: "col"}, "head"), element("th", {scope: "col"}, "site"), about.scores.map((each) => element("th", {scope: "col", title: `${each.unit}. ${each.meaning}`}, each.title)))),
    element("tbody", {}, about.heads.map((each) => element("tr", {}, element("th", {scope: "row"}, element("a", {href: linkOf("head", {site: each.site, head: each.head})}, each.name)), element("td", {class: "quiet"}, each.site), each.scores.map((value) => element("td", {class: "figure"}, short(value)))))));
  return {show: async () => {}, leave: () => {}};
}
