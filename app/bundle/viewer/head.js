// Head: all queries and keys of one head in one map, and what a picked token attends to.
const CHOICES = ["lines", "labels", "draw", "size", "hide", "range", "kinds"], MOST_FURTHER = 12;

function makeHead(about, {main}, go) {
  const said = element("p", {class: "sentence"}), hidden = element("p", {class: "quiet told"}), names = element("p", {class: "quiet"}), picture = element("div", {class: "picture"}), side = element("div", {class: "side"}, names), fidelity = element("div", {class: "fidelity"});
  main.replaceChildren(said, hidden, element("div", {class: "two"}, element("div", {}, picture, fidelity), side));
  let shown = null;
  const pick = (point) => go(null, point ? {...point, kind: point.kind === "key" ? "key" : null, also: null} : {input: null, token: null, kind: null, also: null, lasso: null});
  const further = (point) => go(null, {also: toggled(shown.words.also, `${point.input}.${point.token}${point.kind === "key" ? "k" : "q"}`)});
  const scatter = mountComponent("scatter", picture, {pick, further, walk: ({site, head}) => go(null, {site, head}), choose: (words) => go(null, words)});
  const panel = mountComponent("panel", side, {pick, without: (word) => go(null, {also: toggled(shown.words.also, word)})});

  async function show(state, isStale) {
    const {site, head, words} = state, name = `L${site.depth}H${head}`, about_head = about.heads.find((each) => each.site === site.label && each.head === head);
    if (!site.mapped || state.map === null) {
      said.textContent = `${name} is in no map: this run holds its attention without queries and keys. Input shows it.`;
      return;
    }
    const [tokens, own, sinks] = await Promise.all([load("tokens"), load(`head/${state.map}/${site.index}-${head}`), state.hides ? load("sinks") : null]);
    const {marks} = state, found = state.input?.held ? drawnHere(await load(`input/${state.input.id}`), state) : null;
    const fans = await lines(tokens, state);
    if (isStale()) return;
    shown = state;
    said.textContent = `${name} of ${site.stack}: ${state.hides ? about_head.says.replace("mean weights ", "mean weights (sinks counted in) ") : about_head.says}`;
    hidden.textContent = sinks ? `${sinks.header.of_heads[about.heads.indexOf(about_head)]} ${about.maps[state.map].sinks}` : "";
    names.replaceChildren(...(about_head.names.length ? about_head.names.flatMap(([label, strength, because], at) => [at ? " · " : "", element("span", {title: because}, element("b", {}, label), ` ${strength.toFixed(2)}`)]) : ["No name"]));
    const view = `${about.run}|${about.maps[state.map].name}|${site.label}|${head}`, colour = coloursOf(tokens, about, state.colour);
    const sizes = sizesOf(tokens, own, words.size), header = {...tokens.header, ...own.header, view, frame: view, run: about.run, site: site.label, head, colour: colour.header, digest: another(),
      size: sizes?.header ?? null, size_choices: tokens.header.sizes, line_choices: about.lines, has_lasso: false, caution: own.header.caution};
    scatter.show({header, sections: {...tokens.sections, ...own.sections, values: colour.values, ...(sizes ? {sizes: sizes.values} : {})}});
    board().post("head.extra", {header: {subject: "head.extra", view}, sections: state.hides ? withoutTies(own.sections) : own.sections});
    if (words.draw === "patches" && header.has_patches) load("patches").then((sheet) => board().post("head.patches", sheet));
    const image = state.input?.held && !about.is_text ? {image: (await load(`input/${state.input.id}`)).header.image, image_alt: `Image ${state.input.id}`} : {};
    const picked = state.token === null ? null : describePick(tokens, about, state, found?.matrix, found?.columns ?? null, own.sections, ruleOf(about, words), image);
    panel.show({picked, hint: about.hints.filter((hint) => !hint.includes("lasso")), view, marks: marks && asBits(marks.flags), ramp: about.ramp, said: marks ? saidOf(marks) : "", lasso: marks?.half ? await findingsOf(tokens, marks, state, about, view) : null, half: marks?.half ? asBits(marks.half) : null, ...fans,
      options: {...Object.fromEntries(CHOICES.map((word) => [word, words[word]])), lines: ruleOf(about, words), draw: words.draw === "patches" ? "patches" : "points", labels: words.labels ?? (about.is_text ? "on" : "off")}});
    say(own.header);
  }

  function say({fidelity: sentences, figures}) {
    const isOpen = fidelity.querySelector("details")?.open;
    fidelity.replaceChildren(element("p", {class: "quiet"}, sentences.filter(Boolean).join(" ")), ...(figures.length ? [element("details", {open: isOpen}, element("summary", {}, "All figures"),
      element("table", {}, element("tbody", {}, figures.map((each) => element("tr", {}, element("th", {scope: "row"}, each.name), element("td", {class: "figure"}, each.value), element("td", {}, each.meaning))))))] : []));
  }

  // Lines and names of further picked points, of inputs whose attention is here.
  async function lines(tokens, state) {
    const also = [], further_points = [], {n} = tokens.header, lacking = new Set();
    for (const word of state.token === null ? [] : (state.words.also ?? "").split(",").filter(Boolean).slice(0, MOST_FURTHER)) {
      const [, id, position, letter] = word.match(/^(\d{1,9})\.(\d{1,9})([qk])$/) ?? [], input = about.inputs.find((each) => each.id === Number(id));
      if (!input || Number(position) >= input.n_tokens) continue;
      if (!input.held) { lacking.add(input.id); continue; }
      const other = drawnHere(await load(`input/${id}`), state).matrix, [first] = rowsOf(tokens, input.id), isQuery = letter === "q", at = Number(position);
      const weights = isQuery ? rowOf(other, at) : columnOfMatrix(other, at);
      also.push({start: first + at + (isQuery ? 0 : n), rows: strongestOf(weights, ruleOf(about, state.words)).map((end) => ({point: first + end + (isQuery ? n : 0), weight: weights[end]}))});
      further_points.push({word, input: input.id, token: at, kind: isQuery ? "query" : "key", text: textAtRow(tokens, first + at)});
    }
    if (lacking.size) state.notes.push(`This link also asked for lines of points of ${lacking.size === 1 ? "input" : "inputs"} ${listed([...lacking].sort((a, b) => a - b))}, whose attention is not in this bundle: open it in the app.`);
    return {also, further: further_points};
  }

  return {show, leave: () => { scatter.leave(); panel.leave(); }};
}

const ruleOf = (about, words) => (about.lines.some(([name]) => name === words.lines) ? words.lines : about.lines.find(([name]) => name === "top12")[0]);

function toggled(words, word) {
  const known = (words ?? "").split(",").filter(Boolean);
  return (known.includes(word) ? known.filter((each) => each !== word) : [...known, word].slice(-MOST_FURTHER)).join(",") || null;
}

// The head's attention on an input as it is drawn, and the keys that are hidden; null where nothing is.
function drawnHere(one, {site, head, hides}) {
  const matrix = matrixOf(one, site, head);
  if (!hides) return {matrix, columns: null};
  const {weights, columns} = hideSinks(matrix, site.is_cross);
  return {matrix: {...matrix, weights}, columns};
}

// Ties count sinks in: where sinks are hidden, the pointer tells of none.
const withoutTies = (sections) => Object.fromEntries(Object.entries(sections).filter(([name]) => !name.includes("_at") && !name.includes("_weight")));
