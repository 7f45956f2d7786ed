// Every head of the stack on this input, as small maps; in rank order if the link says by what. One click picks the head.
const TILE = 48;

async function headStrip({about, one, view, parts, body, go}, isStale) {
  const {site, words, heads} = view, stack = about.sites.filter((each) => each.stack === site.stack), columns = Math.max(...stack.map((each) => each.n_heads));
  const what = JSON.stringify([site.stack, view.input.id, one.header.image ? [view.token, view.kind] : null, words.words, words.hide, words.weigh, view.hides]);
  if (parts.sprite?.what !== what) {
    const tiles = stack.map((each) => Array.from({length: each.n_heads}, (_, head) => tileOf(about, one, view, drawnOf(one, [{site: each, head}], words, view.hides).shown)));
    const wide = Math.max(...tiles.flat().map((tile) => tile.width)), high = Math.max(...tiles.flat().map((tile) => tile.height)), sheet = element("canvas", {width: wide * columns, height: high * stack.length});
    tiles.forEach((line, row) => line.forEach((tile, column) => sheet.getContext("2d").drawImage(tile, column * wide, row * high)));
    const sprite = await pngOf(sheet);
    if (isStale()) return;
    parts.sprite = {what, sprite, shape: [high, wide]};
  }
  const places = stack.flatMap((each) => Array.from({length: each.n_heads}, (_, head) => ({site: each, head}))), score = about.head_scores.find((each) => each.name === words.strip);
  const {notes, ranked, said} = score ? rankedBy(about, one, score, places) : {notes: places.map(headName), ranked: null, said: "Rows are layers, columns heads"};
  const scores = menu("Order of the heads", [["", "by layer and head"], ...about.head_scores.map((each) => [each.name, `by ${within(each.title)}, highest first`])], score?.name ?? "", (name) => go(null, {strip: name || null}));
  parts.title ??= {host: body.appendChild(element("div", {})), leave() { this.host.remove(); }};
  parts.title.host.replaceChildren(element("h2", {}, "All heads on this input"), scores, element("p", {class: "quiet"}, `${said}${score && view.hides ? " (sinks counted in)" : ""}. Each map runs from 0 to its own largest weight, square-root scale.`));
  parts.strip ??= mountComponent("headstrip", body, {pick: (place) => parts.go(place)});
  parts.go = (place) => go(null, {site: places[place].site.label, head: places[place].head});
  parts.strip.show({header: {names: places.map(headName), notes, columns, labels: stack.map((each) => `L${each.depth}`), shape: parts.sprite.shape, ranked, digest: another(),
    picked: heads.map((shown) => places.findIndex((each) => each.site === shown.site && each.head === shown.head))}, sections: {sprite: parts.sprite.sprite}});
}

// Notes with scores, places in rank order, and which scores they are: `_ranked` of app/views/input_parts/strip.py.
function rankedBy(about, one, {name, title, unit}, places) {
  const here = one.header.scores[name], place = about.scores.findIndex((each) => each.name === name), first = unit.split(";")[0], behind = first.includes("0 to 1") ? "" : ` ${first}`;
  const order = new Map(about.heads.map((each, at) => [`${each.site} ${each.head}`, at])), values = places.map((each) => { const at = order.get(`${each.site.label} ${each.head}`); return (here ? here[at] : about.heads[at].scores[place]) ?? null; });
  return {
    notes: places.map((each, at) => `${headName(each)} · ${within(title)} ${values[at] === null ? "no score" : weightText(values[at]) + behind}`),
    ranked: [...values.keys()].sort((a, b) => compare(values[b] ?? -Infinity, values[a] ?? -Infinity) || a - b),
    said: `Ranked by ${within(title)} ${here ? "on this input" : "over all inputs"}, highest first`,
  };
}

// A head's small map: of a text its matrix, of an image the weights of the picked token on the patches.
function tileOf(about, one, view, shown) {
  const root = (weight, largest) => Math.sqrt(weight / largest);
  if (!one.header.image) return mapCanvas(shown, shown.spans, TILE, root, about.ramp);
  const unit = view.token === null || shown.unit_of[view.token] < 0 ? null : shown.unit_of[view.token], weights = byToken(restingOf({...view, unit}, shown), shown.unit_of);
  const patches = one.header.boxes.map((box, at) => [box, at]).filter(([box]) => box[4]), wide = Math.max(...patches.map(([box]) => box[2])), high = Math.max(...patches.map(([box]) => box[3]));
  const grid = {n: wide, weights: new Float32Array(wide * high), allowed: new Uint8Array(wide * high)};
  for (const [[left, top], at] of patches) { grid.weights[top * wide + left] = weights[at]; grid.allowed[top * wide + left] = Number(!Number.isNaN(weights[at])); }
  return mapCanvas(grid, [[0, high], [0, wide]], TILE, root, about.ramp);
}

// Weights of units as weights of tokens, NaN where hidden.
const byToken = (weights, unit_of) => Float32Array.from(unit_of, (unit) => (unit < 0 ? NaN : weights[unit]));
