// The frame of every view: the pages, what is chosen in all of them, the link, light and dark.
const VIEWS = [["atlas", "Atlas"], ["head", "Head"], ["input", "Input"], ["about", "About"]];

function makeFrame(about, go) {
  const pages = element("nav", {"aria-label": "Pages"}), said = element("div", {class: "notes", role: "status"}), main = element("main", {"data-testid": "stMain", tabindex: "-1"});
  const column = element("aside", {"aria-label": "What is shown"}), search = element("input", {type: "search", placeholder: "search tokens …", "aria-label": "Search tokens", maxlength: 200,
    title: "Words anywhere in a text; /…/ is a regular expression; column=value looks in a column of the tokens.", onchange: () => go(null, {find: search.value.trim() || null, lasso: null})});
  const copy = element("button", {type: "button", onclick: () => copyLink(copy)}, "Copy link");
  const dark = element("button", {type: "button", "aria-label": "Light or dark", title: "Light or dark", onclick: () => turn(!isDark())}, "◐");
  document.body.append(element("header", {}, element("b", {class: "logo"}, "QK Atlas"), pages, element("span", {class: "tools"}, search, copy, dark)), element("div", {class: "body"}, column, element("div", {class: "view"}, said, main)));
  turn(isDark());

  function show(state) {
    document.title = `${VIEWS.find(([name]) => name === state.view)?.[1] ?? "QK Atlas"} · ${about.run} · QK Atlas`;
    pages.replaceChildren(...VIEWS.map(([name, title]) => element("a", {href: linkOf(name, state.words), "aria-current": name === state.view ? "page" : null}, title)));
    said.replaceChildren(...state.notes.map((note) => element("p", {}, note)));
    search.hidden = state.view === "about";
    if (document.activeElement !== search) search.value = state.words.find ?? "";
    document.documentElement.toggleAttribute("data-alone", state.words.embed === "true");
    const {maps, colours} = about, given = (word, first) => (value) => go(null, {[word]: value === first ? null : value});
    const {site} = state, sites = [...new Set(about.sites.map((each) => each.stack))];
    column.replaceChildren(
      element("div", {class: "run", title: about.run}, element("span", {class: "quiet"}, "Run"), element("b", {}, about.run)),
      ...(maps.length ? [menu("Map", maps.map((each) => [each.name, each.name]), maps[state.map].name, given("map", maps[0].name), "Which joint map of queries and keys is drawn")] : []),
      menu("Colour", cycleOf(state.colour) ? [...colours, [state.colour, `position mod ${cycleOf(state.colour)}`]] : colours, state.colour, given("colour", colours[0][0]), "What the colour of a point says"),
      check("Hide sinks", state.hides, () => go(null, switchSinks(state.words, about))),
      ...markedWords(state),
      ...(state.view === "head" || state.view === "input" ? [
        ...(sites.length > 1 ? [menu("Stack", sites.map((each) => [each, each]), site.stack, (stack) => go(null, {site: about.sites.find((each) => each.stack === stack).label, head: 0}))] : []),
        menu("Layer", about.sites.filter((each) => each.stack === site.stack).map((each) => [each.label, `L${each.depth}`]), site.label, (label) => go(null, {site: label, head: Math.min(state.head, about.sites.find((each) => each.label === label).n_heads - 1)})),
        menu("Head", Array.from({length: site.n_heads}, (_, head) => [String(head), `H${head}`]), String(state.head), (head) => go(null, {site: site.label, head: Number(head)}))] : []),
      element("p", {class: "quiet"}, "A bundle: nothing is sent anywhere. “About” says what made it."));
  }

  // How much is marked, and the way to clear it.
  function markedWords({marks, words}) {
    if (!words.lasso && !(words.find ?? "").trim()) return [];
    const said = marks && (marks.n ? `${count(marks.n, "1 query", "queries")} and ${count(marks.n, "1 key", "keys")} in ${count(marks.n_inputs, "1 input", "inputs")}` : "nothing");
    return [element("div", {class: "marked quiet"}, said ? `${marks.title}: ${said} ` : "", element("button", {type: "button", onclick: () => go(null, {find: null, lasso: null})}, "Clear"))];
  }

  return {show, main, column};
}

const isDark = () => (document.documentElement.dataset.theme ?? (recalled() || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"))) === "dark";

// A browser may keep nothing for pages from a disk.
function recalled() {
  try { return localStorage.getItem("qk-atlas-theme"); } catch { return null; }
}

function turn(dark) {
  const theme = dark ? "dark" : "light", changed = document.documentElement.dataset.theme && document.documentElement.dataset.theme !== theme;
  document.documentElement.dataset.theme = theme;
  if (!changed) return;
  try { localStorage.setItem("qk-atlas-theme", theme); } catch { /* it holds until the page is closed */ }
  window.dispatchEvent(new Event("resize"));
  window.dispatchEvent(new Event("themechange"));
}

async function copyLink(button) {
  const before = button.textContent;
  try { await navigator.clipboard.writeText(location.href); button.textContent = "Copied"; } catch { button.textContent = "Copy it from the address bar"; }
  setTimeout(() => { button.textContent = before; }, 2000);
}
