// Head: all queries and keys of one head in one map, and what a picked token attends to.
const CHOICES = ["lines", "labels", "draw", "size", "hide", "range", "kinds"], MOST_FURTHER = 12;

function makeHead(about, {main}, go) {
  const said = element("p", {class: "sentence"}), names = element("p", {class: "quiet"}), picture = element("div", {class: "picture"}), side = element("div", {class: "side"}, names), fidelity = element("div", {class: "fidelity"});
  main.replaceChildren(said, element("div", {class: "two"}, element("div", {}, picture, fidelity), side));
  let shown = null;
  const pick = (point) => go(null, point ? {...point, kind: point.kind === "key" ? "key" : null, also: null} : {input: null, token: null, kind: null, also: null});
  const further = (point) => go(null, {also: toggled(shown.words.also, `${point.input}.${point.token}${point.kind === "key" ? "k" : "q"}`)});
  const scatter = mountComponent("scatter", picture, {pick, further, walk: ({site, head}) => go(null, {site, head}), choose: (words) => go(null, words)});
  const panel = mountComponent("panel", side, {pick, without: (word) => go(null, {also: toggled(shown.words.also, word)})});

  async function show(state, isStale) {
    const {site, head, words} = state, name = `L${site.depth}H${head}`, about_head = about.heads.find((each) => each.site === site.label && each.head === head);
    if (!site.mapped || state.map === null) {
      said.textContent = `${name} is in no map: this run holds its attention without queries and keys. Input shows it.`;
      return;
    }
    const [tokens, own] = await Promise.all([load("tokens"), load(`head/${state.map}/${site.index}-${head}`)]);
    const marks = words.find ? search(tokens, words.find, state) : null;
    const matrix = state.input?.held ? matrixOf(await load(`input/${state.input.id}`), site, head) : null;
    const fans = await lines(tokens, state, matrix);
    if (isStale()) return;
    shown = state;
    said.textContent = `${name} of ${site.stack}: ${about_head.says}`;
    names.replaceChildren(...(about_head.names.length ? about_head.names.flatMap(([label, strength, because], at) => [at ? " · " : "", element("span", {title: because}, element("b", {}, label), ` ${strength.toFixed(2)}`)]) : ["No name"]));
    const view = `${about.run}|${about.maps[state.map].name}|${site.label}|${head}`, colour = tokens.header.colours[state.colour], {n} = tokens.header;
    const sizes = sizesOf(tokens, own, words.size), header = {...tokens.header, ...own.header, view, frame: view, run: about.run, site: site.label, head, colour, digest: another(),
      size: sizes?.header ?? null, size_choices: tokens.header.sizes, line_choices: about.lines, has_lasso: false, caution: own.header.caution};
    scatter.show({header, sections: {...tokens.sections, ...own.sections, values: valuesOf(tokens, state.colour), ...(sizes ? {sizes: sizes.values} : {})}});
    board().post("head.extra", {header: {subject: "head.extra", view}, sections: own.sections});
    if (words.draw === "patches" && header.has_patches) load("patches").then((sheet) => board().post("head.patches", sheet));
    const image = state.input?.held && !about.is_text ? {image: (await load(`input/${state.input.id}`)).header.image, image_alt: `Image ${state.input.id}`} : {};
    const picked = state.token === null ? null : describePick(tokens, about, state, matrix, own.sections, ruleOf(about, words), image);
    panel.show({picked, hint: about.hints.filter((hint) => !hint.includes("lasso")), view, marks: marks && asBits(marks.flags), ramp: about.ramp, said: marks?.said ?? "", lasso: null, half: null, ...fans,
      options: {...Object.fromEntries(CHOICES.map((word) => [word, words[word]])), lines: ruleOf(about, words), draw: words.draw === "patches" ? "patches" : "points", labels: words.labels ?? (about.is_text ? "on" : "off")}});
    say(own.header);
  }

  function say({fidelity: sentences, figures}) {
    const isOpen = fidelity.querySelector("details")?.open;
    fidelity.replaceChildren(element("p", {class: "quiet"}, sentences.filter(Boolean).join(" ")), ...(figures.length ? [element("details", {open: isOpen}, element("summary", {}, "All figures"),
      element("table", {}, element("tbody", {}, figures.map((each) => element("tr", {}, element("th", {scope: "row"}, each.name), element("td", {class: "figure"}, each.value), element("td", {}, each.meaning))))))] : []));
  }

  // Lines and names of further picked points, of inputs whose attention is here.
  async function lines(tokens, state, matrix) {
    const also = [], further_points = [], {n} = tokens.header;
    for (const word of state.token === null ? [] : (state.words.also ?? "").split(",").filter(Boolean).slice(0, MOST_FURTHER)) {
      const [, id, position, letter] = word.match(/^(\d{1,9})\.(\d{1,9})([qk])$/) ?? [], input = about.inputs.find((each) => each.id === Number(id));
      if (!input?.held || Number(position) >= input.n_tokens) continue;
      const other = matrixOf(await load(`input/${id}`), state.site, state.head), [first] = rowsOf(tokens, input.id), isQuery = letter === "q", at = Number(position);
      const weights = isQuery ? rowOf(other, at) : columnOf(other, at);
      also.push({start: first + at + (isQuery ? 0 : n), rows: strongestOf(weights, ruleOf(about, state.words)).map((end) => ({point: first + end + (isQuery ? n : 0), weight: weights[end]}))});
      further_points.push({word, input: input.id, token: at, kind: isQuery ? "query" : "key", text: textAtRow(tokens, first + at)});
    }
    return {also, further: further_points};
  }

  return {show, leave: () => { scatter.leave(); panel.leave(); }};
}

const ruleOf = (about, words) => (about.lines.some(([name]) => name === words.lines) ? words.lines : about.lines.find(([name]) => name === "top12")[0]);

function toggled(words, word) {
  const known = (words ?? "").split(",").filter(Boolean);
  return (known.includes(word) ? known.filter((each) => each !== word) : [...known, word].slice(-MOST_FURTHER)).join(",") || null;
}

function valuesOf(tokens, place) {
  const values = tokens.sections[`values${place}`], {n} = tokens.header;
  if (values.length === 2 * n) return values;
  const both = new Float32Array(2 * n);
  both.set(values);
  both.set(values, n);
  return both;
}

function sizesOf(tokens, own, name) {
  const {query_norm: queries, key_norm: keys, value_norm: values} = own.sections, chosen = {norm: [queries, keys, "norm"], value_norm: [values, values, "value norm"]}[name];
  if (!chosen?.[0]) return null;
  const all = Float32Array.from([...chosen[0], ...chosen[1]]), sorted = all.filter(Number.isFinite).sort(), at = (share) => sorted[Math.round(share * (sorted.length - 1))] ?? 0;
  return {values: all, header: {name, title: chosen[2], unit: "", low: at(0.01), high: at(0.99)}};
}

// The marked tokens, and a sentence; of a search that cannot be understood the note alone.
function search(tokens, words, state) {
  try {
    const flags = findTokens(tokens, words), found = flags.reduce((sum, flag) => sum + flag, 0);
    return {flags, said: `search “${words}”: ${found.toLocaleString("en")} ${found === 1 ? "query" : "queries"}, ${found.toLocaleString("en")} ${found === 1 ? "key" : "keys"}`};
  } catch (error) {
    state.notes.push(`The search “${words}” is not a regular expression (${error.message}); correct it, or leave the slashes away to look for plain text.`);
    return null;
  }
}
