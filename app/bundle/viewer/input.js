// Input: one text or image through one head, or through the mean of several, and all heads on it.
function makeInput(about, {main}, go) {
  const top = element("div", {class: "controls row"}), looks = element("div", {class: "controls row"}), said = element("p", {class: "sentence"}), notes = element("p", {class: "quiet told"}), body = element("div", {});
  main.replaceChildren(top, looks, said, notes, body);
  let parts = {}, drawn = null;
  const clear = () => { Object.values(parts).forEach((part) => part.leave?.()); parts = {}; drawn = null; body.replaceChildren(); };
  const pick = (token) => go(null, {input: drawn, token: token ?? null});

  async function show(state, isStale) {
    const held = about.inputs.filter((each) => each.held), input = state.input ?? held[0] ?? about.inputs[0];
    choices(input, state);
    looks.replaceChildren();
    if (!input.held) {
      clear();
      notes.textContent = "";
      said.textContent = `The attention of input ${input.id} is not in this bundle; it has that of ${listed(held.map((each) => each.id)) || "no input"}. The run in it has all: bring it into a QK Atlas, or export with --inputs.`;
      return;
    }
    const [tokens, one] = await Promise.all([load("tokens"), load(`input/${input.id}`)]);
    if (isStale()) return;
    if (drawn !== input.id) { clear(); drawn = input.id; }
    const rows = rowsOf(tokens, input.id), heads = averagedHeads(about, state);
    lookChoices(state.words, heads, one);
    const found = drawnOf(one, heads, state.words, state.hides), unit = state.token === null || found.shown.unit_of[state.token] < 0 ? null : found.shown.unit_of[state.token];
    const view = {...state, input, heads, unit, marked: state.marks && [...state.marks.flags.slice(...rows)].map(Boolean)}, place = {about, tokens, one, view, parts, body, pick, go};
    said.textContent = summaryOf(about, view, one, found.plain) + (found.hidden ? ` ${sinksSentence(heads, found.hidden, found.columns, one.header.labels ?? one.header.names, state.kind === "query" ? state.token : null)}` : "");
    notes.textContent = notesOf(found, unit, state.token !== null && unit === null).join(" ");
    if (one.header.image) {
      parts.picture ??= {host: body.appendChild(element("div", {class: "patches"})), leave() { this.host.remove(); }};
      parts.picture.host.replaceChildren(...patchPicture(about, view, one, found, pick));
    } else await textPictures(place, found, isStale);
    if (!isStale()) await headStrip(place, isStale);
  }

  function choices(input, state) {
    const offered = state.words.only === "marked" && state.marks?.n ? about.inputs.filter((each) => each.id === input.id || state.marks.inputs.has(each.id)) : about.inputs;
    top.replaceChildren(menu(offered.length < about.inputs.length ? `Input (${offered.length.toLocaleString("en")} with marked tokens)` : "Input", offered.map((each) => [String(each.id), `${each.id} · ${each.text || `${each.n_tokens} tokens`}${each.held ? "" : " (not in this bundle)"}`]), String(input.id), (id) => go(null, {input: Number(id), token: null, at: null, hide: keptHidden(state.words)})),
      menu("Picked is", [["query", "a query: where it looks"], ["key", "a key: who looks at it"]], state.kind, (kind) => go(null, {kind: kind === "key" ? "key" : null})),
      menu("Scale", [["linear", "linear"], ["log", "log"], ["rank", "rank"]], state.words.scale ?? "linear", (scale) => go(null, {scale: scale === "linear" ? null : scale})));
  }

  // What the link changes of what is shown, each to be switched off and on.
  function lookChoices(words, heads, one) {
    const hidden = (words.hide?.includes(":") ? "" : words.hide ?? "").split(",").filter(Boolean), others = hidden.filter((word) => word !== "special"), plain = `with ${heads.slice(1).map(headName).join(", ")}`;
    looks.replaceChildren(
      ...(words.only === "marked" ? [check("Only inputs with marked tokens", true, () => go(null, {only: null}))] : []),
      ...(one.sections.word_of ? [check("Sub-words merged into words", words.words === "1", (on) => go(null, {words: on ? "1" : null}))] : []),
      check("Special tokens hidden", hidden.includes("special"), (on) => go(null, {hide: [...(on ? ["special"] : []), ...others].join(",") || null})),
      ...(others.some((word) => /^\d+$/.test(word)) ? [check(`Hidden: ${listed(others.filter((word) => /^\d+$/.test(word)).map(Number))}`, true, () => go(null, {hide: keptHidden(words)}))] : []),
      check("Weighed by value norm", words.weigh === "norm", (on) => go(null, {weigh: on ? "norm" : null})),
      ...(heads.length > 1 ? [check(`Averaged ${plain}`, true, () => go(null, {with: null}))] : []));
  }

  return {show, leave: clear};
}

// Positions that are hidden belong to one input; hidden special tokens stay hidden.
const keptHidden = (words) => ((words.hide ?? "").split(",").includes("special") ? "special" : null);

// The head shown and those the link averages it with, each once.
function averagedHeads(about, {site, head, words}) {
  const stack = about.sites.filter((each) => each.stack === site.stack), known = new Map(stack.flatMap((each) => Array.from({length: each.n_heads}, (_, at) => [`L${each.depth}H${at}`, {site: each, head: at}])));
  const own = `L${site.depth}H${head}`, others = (words.with ?? "").split(",").filter((name) => known.has(name) && name !== own);
  return [{site, head}, ...[...new Set(others)].map((name) => known.get(name))];
}

// What the heads do here, in one sentence, of the attention itself.
function summaryOf(about, {site, heads, hides}, one, {n, weights, spans: [queries, keys]}) {
  const rows = queries[1] - queries[0], mean = (at) => { let sum = 0; for (let query = queries[0]; query < queries[1]; query++) sum += at(query) ?? 0; return sum / rows; };
  const what = about.is_text ? "text" : "image", first = about.is_text ? "the first token" : one.header.names[0], name = headNames(heads), counted_in = hides ? ", sinks counted in" : "";
  if (site.is_cross) {
    const received = Array.from({length: keys[1] - keys[0]}, (_, key) => mean((query) => weights[query * n + keys[0] + key])), top = received.indexOf(Math.max(...received));
    return `From ${rows} tokens of the ${site.query_sequence} to ${received.length} of the ${site.key_sequence}, ${name} puts ${share(received[top])} of its weight on “${(one.header.labels ?? one.header.names)[keys[0] + top]}” at ${keys[0] + top}, the most on one token, and ${share(received.reduce((sum, each, key) => sum + each * one.sections.special[keys[0] + key], 0))} on special tokens (means${counted_in}).`;
  }
  const parts = [`${share(mean((query) => weights[query * n + keys[0]]))} of its weight on ${first}`, `${share(mean((query) => weights[query * n + query]))} on the token itself`];
  if (about.is_text) parts.push(`${share(mean((query) => (query > queries[0] ? weights[query * n + query - 1] : 0)) * rows / Math.max(rows - 1, 1))} on the previous token`);
  const side = ["encoder", "decoder"].includes(site.query_sequence) ? `the ${site.query_sequence}, ` : "";
  return `On this ${what} of ${side}${rows.toLocaleString("en")} tokens, ${name} puts ${parts.slice(0, -1).join(", ")}${parts.length > 1 ? ", " : ""}${parts.at(-1)} (means${counted_in}).`;
}
