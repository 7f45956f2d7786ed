// Input: one text or image through one head, and all heads on it.
const WHOLE_UNITS = 48, WINDOW = [30, 40], TILE = 48, OVERVIEW = 340, WHOLE_MATRIX = 256, MOST_NAMED = 8;

function makeInput(about, {main}, go) {
  const top = element("div", {class: "controls row"}), said = element("p", {class: "sentence"}), body = element("div", {});
  main.replaceChildren(top, said, body);
  let parts = {}, drawn = null;
  const clear = () => { Object.values(parts).forEach((part) => part.leave?.()); parts = {}; drawn = null; body.replaceChildren(); };
  const pick = (token) => go(null, {input: drawn, token: token ?? null});

  async function show(state, isStale) {
    const held = about.inputs.filter((each) => each.held), input = state.input ?? held[0] ?? about.inputs[0];
    top.replaceChildren(menu("Input", about.inputs.map((each) => [String(each.id), `${each.id} · ${each.text || `${each.n_tokens} tokens`}${each.held ? "" : " (not in this bundle)"}`]), String(input.id), (id) => go(null, {input: Number(id), token: null, at: null})),
      menu("Picked is", [["query", "a query: where it looks"], ["key", "a key: who looks at it"]], state.kind, (kind) => go(null, {kind: kind === "key" ? "key" : null})),
      menu("Scale", [["linear", "linear"], ["log", "log"], ["rank", "rank"]], state.words.scale ?? "linear", (scale) => go(null, {scale: scale === "linear" ? null : scale})));
    if (!input.held) {
      clear();
      said.textContent = `The attention of input ${input.id} is not in this bundle; it has that of ${listed(held.map((each) => each.id)) || "no input"}. The run in it has all: bring it into a QK Atlas, or export with --inputs.`;
      return;
    }
    const [tokens, one] = await Promise.all([load("tokens"), load(`input/${input.id}`)]);
    if (isStale()) return;
    if (drawn !== input.id) { clear(); drawn = input.id; }
    const matrix = matrixOf(one, state.site, state.head), view = {...state, input, marks: state.words.find ? search(tokens, state.words.find, state)?.flags.slice(...rowsOf(tokens, input.id)) : null};
    said.textContent = summaryOf(about, view, one, matrix);
    if (one.header.image) picture(view, one, matrix);
    else await text(view, one, matrix, isStale);
    if (!isStale()) await strip(view, one, isStale);
  }

  async function text(state, one, matrix, isStale) {
    const {spans: [queries, keys], n} = matrix, scale = makeScale(allowedOnly(matrix), state.words.scale), size = Math.max(queries[1] - queries[0], keys[1] - keys[0]) <= WHOLE_UNITS ? [queries[1] - queries[0], keys[1] - keys[0]] : [Math.min(WINDOW[0], queries[1] - queries[0]), Math.min(WINDOW[1], keys[1] - keys[0])];
    const first = firstShown(state, [queries, keys], size), isWhole = size[0] === queries[1] - queries[0] && size[1] === keys[1] - keys[0];
    const overview = isWhole ? new Uint8Array() : await pngOf(mapCanvas(matrix, [queries, keys], OVERVIEW, (weight) => interpolate(scale.knots, weight), about.ramp));
    if (isStale()) return;
    parts.sentence ??= mountComponent("sentence", body, {pick: (position) => pick(position >= 0 ? position : null)});
    parts.map ??= mountComponent("textmap", body, {pick: ([query, key]) => pick(current.kind === "query" ? query : key), move: ([query, key]) => go(null, {at: `${query}.${key}`}, true)});
    const current = state, top3 = strongestBothWays(matrix), marked = state.marks ? [...state.marks].map(Boolean) : null;
    const pieces = one.header.pieces.map((piece) => [...piece.slice(0, 5), marked ? marked[piece[2]] : null, ...piece.slice(6)]);
    parts.sentence.show({header: {pieces, picked: state.token, kind: state.kind, whole: n <= WHOLE_MATRIX, scale: state.words.scale ?? "linear", title: "weight", what: "token", shades: {query: KEY_COLOUR, key: QUERY_COLOUR}, n, sinks: Array(n).fill(false), digest: another()},
      sections: {resting: restingOf(state, matrix), matrix: n <= WHOLE_MATRIX ? seen(matrix) : new Float32Array(), ...top3}});
    const [rows, columns] = size.map((length, axis) => Array.from({length}, (_, at) => first[axis] + at)), {labels} = one.header;
    const named = (places, others) => places.map((unit) => [0, 1, 2].map((rank) => others[3 * unit + rank]).filter((other) => other >= 0).map((other) => labels[other]));
    const weights_of = (places, weights) => Float32Array.from(places.flatMap((unit) => [0, 1, 2].map((rank) => weights[3 * unit + rank])));
    const window_ = Float32Array.from(rows.flatMap((query) => columns.map((key) => (matrix.allowed[query * n + key] ? matrix.weights[query * n + key] : NaN))));
    parts.map.show({header: {begin: [queries[0], keys[0]], n: [queries[1] - queries[0], keys[1] - keys[0]], rows: rows.map((at) => labels[at]), columns: columns.map((at) => labels[at]), places: [rows.map(String), columns.map(String)],
      marked: marked && [rows.map((at) => marked[at]), columns.map((at) => marked[at])], sinks: columns.map(() => false), first, knots: scale.knots, ticks: ticksOf(scale), title: `weight, ${scale.name} scale`, ramp: about.ramp, picked: state.token, kind: state.kind,
      keys: named(rows, top3.keys), queries: named(columns, top3.queries), digest: another()},
    sections: {window: window_, overview, keys_weights: weights_of(rows, top3.key_weights), queries_weights: weights_of(columns, top3.query_weights)}});
  }

  function picture(state, one, matrix) {
    parts.picture ??= {host: body.appendChild(element("div", {class: "patches"})), leave() { this.host.remove(); }};
    parts.picture.host.replaceChildren(...patchPicture(about, state, one, matrix, pick));
  }

  // Every head of the stack on this input; one click picks the head.
  async function strip(state, one, isStale) {
    const {site, words} = state, stack = about.sites.filter((each) => each.stack === site.stack), columns = Math.max(...stack.map((each) => each.n_heads));
    const what = `${site.stack} ${state.input.id} ${one.header.image ? `${state.token} ${state.kind}` : ""}`;
    if (parts.sprite?.what !== what) {
      const tiles = stack.map((each) => Array.from({length: each.n_heads}, (_, head) => tileOf(about, one, matrixOf(one, each, head), state)));
      const wide = Math.max(...tiles.flat().map((tile) => tile.width)), high = Math.max(...tiles.flat().map((tile) => tile.height)), sheet = element("canvas", {width: wide * columns, height: high * stack.length});
      tiles.forEach((line, row) => line.forEach((tile, column) => sheet.getContext("2d").drawImage(tile, column * wide, row * high)));
      const sprite = await pngOf(sheet);
      if (isStale()) return;
      parts.sprite = {what, sprite, shape: [high, wide]};
    }
    const names = stack.flatMap((each) => Array.from({length: each.n_heads}, (_, head) => `L${each.depth}H${head}`)), places = stack.flatMap((each) => Array.from({length: each.n_heads}, (_, head) => ({site: each.label, head})));
    parts.title ??= {host: body.appendChild(element("h2", {}, "All heads on this input")), leave() { this.host.remove(); }};
    parts.strip ??= mountComponent("headstrip", body, {pick: (place) => go(null, places[place])});
    parts.strip.show({header: {names, notes: names, columns, labels: stack.map((each) => `L${each.depth}`), shape: parts.sprite.shape, picked: [places.findIndex((each) => each.site === site.label && each.head === state.head)], ranked: null, digest: another()}, sections: {sprite: parts.sprite.sprite}});
  }

  return {show, leave: clear};
}

const allowedOnly = ({weights, allowed}) => weights.filter((_, at) => allowed[at]);
const seen = ({weights, allowed}) => Float32Array.from(weights, (weight, at) => (allowed[at] ? weight : NaN));

// Of every token for the picked one, NaN where they may not attend; the mean over queries with none picked.
function restingOf({token, kind}, {n, weights, allowed, spans: [queries, keys]}) {
  const of = (key) => {
    if (token === null) { let sum = 0; for (let query = queries[0]; query < queries[1]; query++) sum += weights[query * n + key]; return key < keys[0] || key >= keys[1] ? NaN : sum / (queries[1] - queries[0]); }
    const at = kind === "query" ? token * n + key : key * n + token;
    return allowed[at] ? weights[at] : NaN;
  };
  return Float32Array.from({length: n}, (_, key) => of(key));
}

function strongestBothWays(matrix) {
  const {n, weights, allowed} = matrix, found = {keys: new Int32Array(3 * n).fill(-1), key_weights: new Float32Array(3 * n), queries: new Int32Array(3 * n).fill(-1), query_weights: new Float32Array(3 * n)};
  const best = (at, index, others, held) => {
    const order = Array.from({length: n}, (_, other) => other).filter((other) => allowed[index(at, other)]).sort((a, b) => weights[index(at, b)] - weights[index(at, a)] || a - b).slice(0, 3);
    order.forEach((other, rank) => { others[3 * at + rank] = other; held[3 * at + rank] = weights[index(at, other)]; });
  };
  for (let at = 0; at < n; at++) {
    best(at, (query, key) => query * n + key, found.keys, found.key_weights);
    best(at, (key, query) => query * n + key, found.queries, found.query_weights);
  }
  return found;
}

function firstShown({words, token}, spans, size) {
  const said = /^(\d{1,8})\.(\d{1,8})$/.exec(words.at ?? ""), wanted = spans.map(([begin, end], axis) => (said ? Number(said[1 + axis]) : (token !== null && token >= begin && token < end ? token : begin) - Math.floor(size[axis] / 2)));
  return spans.map(([begin, end], axis) => Math.min(Math.max(wanted[axis], begin), Math.max(end - size[axis], begin)));
}

// A matrix as a picture: blocks of cells where it is large, each as bright as its strongest weight.
function mapCanvas({n, weights, allowed}, [queries, keys], most, share, ramp) {
  const tall = queries[1] - queries[0], wide = keys[1] - keys[0], step = Math.ceil(Math.max(tall, wide) / most), [height, width] = [tall, wide].map((length) => Math.ceil(length / step));
  const top = new Float32Array(width * height).fill(NaN), colour = rampColour(ramp), canvas = element("canvas", {width, height}), pixels = canvas.getContext("2d").createImageData(width, height);
  for (let query = 0; query < tall; query++) {
    for (let key = 0; key < wide; key++) {
      const at = (query + queries[0]) * n + key + keys[0], cell = Math.floor(query / step) * width + Math.floor(key / step);
      if (allowed[at] && !(top[cell] >= weights[at])) top[cell] = weights[at];
    }
  }
  const largest = top.reduce((a, b) => (b > a ? b : a), 0) || 1;
  top.forEach((weight, cell) => { if (!Number.isNaN(weight)) pixels.data.set([...colour(share(weight, largest)), 255], 4 * cell); });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

// A head's small map: of a text its matrix, of an image the weights of the picked token on the patches.
function tileOf(about, one, matrix, state) {
  const root = (weight, largest) => Math.sqrt(weight / largest);
  if (!one.header.image) return mapCanvas(matrix, matrix.spans, TILE, root, about.ramp);
  const weights = restingOf(state, matrix), patches = one.header.boxes.map((box, at) => [box, at]).filter(([box]) => box[4]), wide = Math.max(...patches.map(([box]) => box[2])), high = Math.max(...patches.map(([box]) => box[3]));
  const grid = {n: wide, weights: new Float32Array(wide * high), allowed: new Uint8Array(wide * high)};
  for (const [[left, top], at] of patches) { grid.weights[top * wide + left] = weights[at]; grid.allowed[top * wide + left] = Number(!Number.isNaN(weights[at])); }
  return mapCanvas(grid, [[0, high], [0, wide]], TILE, root, about.ramp);
}

function summaryOf(about, state, one, {n, weights, spans: [queries, keys]}) {
  const rows = queries[1] - queries[0], mean = (at) => { let sum = 0; for (let query = queries[0]; query < queries[1]; query++) sum += at(query) ?? 0; return sum / rows; };
  const name = `L${state.site.depth}H${state.head}`, what = about.is_text ? "text" : "image", first = about.is_text ? "the first token" : one.header.names[0];
  if (state.site.is_cross) {
    const received = Array.from({length: keys[1] - keys[0]}, (_, key) => mean((query) => weights[query * n + keys[0] + key])), top = received.indexOf(Math.max(...received));
    return `From ${rows} tokens of the ${state.site.query_sequence} to ${received.length} of the ${state.site.key_sequence}, ${name} puts ${share(received[top])} of its weight on “${(one.header.labels ?? one.header.names)[keys[0] + top]}” at ${keys[0] + top}, the most on one token (means).`;
  }
  const parts = [`${share(mean((query) => weights[query * n + keys[0]]))} of its weight on ${first}`, `${share(mean((query) => weights[query * n + query]))} on the token itself`];
  if (about.is_text) parts.push(`${share(mean((query) => (query > queries[0] ? weights[query * n + query - 1] : 0)) * rows / Math.max(rows - 1, 1))} on the previous token`);
  return `On this ${what} of ${n.toLocaleString("en")} tokens, ${name} puts ${parts.slice(0, -1).join(", ")}${parts.length > 1 ? ", " : ""}${parts.at(-1)} (means).`;
}

// The picture the model saw, its patches shaded; CLS and registers as squares beside it.
function patchPicture(about, state, one, matrix, pick) {
  const {boxes, names, image} = one.header, weights = restingOf(state, matrix), scale = makeScale(weights.filter((each) => !Number.isNaN(each)), state.words.scale), colour = rampColour(about.ramp);
  const patches = boxes.filter((box) => box[4]), wide = Math.max(...patches.map((box) => box[2])), high = Math.max(...patches.map((box) => box[3])), left = Math.min(...boxes.map((box) => box[0]), 0), low = Math.max(...boxes.map((box) => box[3]));
  const beside = [...boxes.keys()].filter((at) => !boxes[at][4] && boxes.length - patches.length <= MOST_NAMED);
  const tip = element("p", {class: "quiet", "aria-live": "polite"}), rest = state.token === null ? "Mean weight of every token over all queries. Click a patch or a square to see its own." : state.kind === "query" ? `Where ${names[state.token]} (outlined) looks.` : `How much each token looks at ${names[state.token]} (outlined); these weights need not add up to 1.`;
  const draw = (shades) => svg("svg", {viewBox: `${left - 0.1} -0.1 ${wide - left + 0.2} ${Math.max(high, low) + 0.4}`, role: "group", "aria-label": shades ? "The picture, shaded by attention" : "The picture as the model saw it"},
    svg("image", {href: image, x: 0, y: 0, width: wide, height: high, preserveAspectRatio: "none", style: "image-rendering: pixelated"}),
    ...(shades ? [...boxes.keys()].sort((a, b) => (a === state.token) - (b === state.token)).map((at) => {
      const box = boxes[at], weight = weights[at], told = `${names[at]}: ${Number.isNaN(weight) ? "may not attend" : weightText(weight)}`;
      const rect = svg("rect", {x: box[0], y: box[1], width: box[2] - box[0], height: box[3] - box[1], fill: Number.isNaN(weight) ? "none" : `rgb(${colour(interpolate(scale.knots, weight))})`, "fill-opacity": box[4] ? 0.72 : 1, stroke: at === state.token ? "#D55E00" : "none", "stroke-width": 0.14, tabindex: 0, role: "button", "aria-label": told, "aria-pressed": String(at === state.token), "data-position": at});
      const hear = () => { tip.textContent = told; };
      for (const event of ["pointerenter", "focus"]) rect.addEventListener(event, hear);
      rect.addEventListener("pointerleave", () => { tip.textContent = rest; });
      rect.addEventListener("click", () => pick(at === state.token ? null : at));
      rect.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pick(at === state.token ? null : at); } });
      return rect;
    }) : []),
    ...(shades ? beside.map((at) => svg("text", {x: (boxes[at][0] + boxes[at][2]) / 2, y: boxes[at][3] + 0.3, "text-anchor": "middle", "font-size": 0.26, fill: "currentColor"}, names[at])) : []));
  tip.textContent = rest;
  const bar = element("div", {class: "bar"}, element("span", {class: "ramp", style: {background: `linear-gradient(90deg, ${about.ramp.join(", ")})`}}), element("span", {class: "ticks figure quiet"}, ticksOf(scale).map((tick) => element("span", {}, tick))), element("span", {class: "quiet"}, `weight, ${scale.name} scale`));
  return [element("div", {class: "pair"}, draw(false), draw(true)), tip, bar];
}

function svg(tag, properties, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value);
  made.append(...children.flat());
  return made;
}
