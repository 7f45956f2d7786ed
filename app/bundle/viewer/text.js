// A text on the page Input: the shaded sentence, and its heat map or a window into it. Units are tokens, or words of several.
const WHOLE_UNITS = 48, WINDOW = [30, 40], OVERVIEW = 340, WHOLE_MATRIX = 256;

async function textPictures({about, tokens, one, view, parts, body, pick, go}, {shown, isWeighed}, isStale) {
  const {spans: [queries, keys], n} = shown, {words, kind, unit} = view, scale = makeScale(allowedOnly(shown), words.scale), title = isWeighed ? "weight × value norm" : "weight";
  const most = [queries[1] - queries[0], keys[1] - keys[0]], isWhole = Math.max(...most) <= WHOLE_UNITS, size = isWhole ? most : most.map((length, axis) => Math.min(WINDOW[axis], length));
  const first = firstShown(words, unit, [queries, keys], size);
  const overview = isWhole ? new Uint8Array() : await pngOf(mapCanvas(shown, [queries, keys], OVERVIEW, (weight) => interpolate(scale.knots, weight), about.ramp));
  if (isStale()) return;
  const whole = {queries, keys, labels: shown.first.map((begin, at) => labelOf(tokens, one, view.input, begin, shown.last[at])), places: shown.first.map((begin, at) => (begin === shown.last[at] ? String(begin) : `${begin}–${shown.last[at]}`))};
  const marked = view.marked && shown.first.map((_, at) => view.marked.some((is, token) => is && shown.unit_of[token] === at)), top3 = strongestBothWays(shown), isWords = shown.first.some((begin, at) => begin !== shown.last[at]);
  parts.sentence ??= mountComponent("sentence", body, {pick: (position) => pick(position >= 0 ? position : null)});
  parts.map ??= mountComponent("textmap", body, {pick: ([query, key]) => parts.choose(query, key), move: ([query, key]) => go(null, {at: `${query}.${key}`}, true)});
  parts.choose = (query, key) => pick(shown.first[kind === "query" ? query : key]);
  parts.sentence.show({header: {pieces: piecesOf(tokens, one, view, shown), picked: unit, kind, whole: n <= WHOLE_MATRIX, scale: words.scale ?? "linear", title, what: isWords ? "word" : "token", shades: {query: KEY_COLOUR, key: QUERY_COLOUR}, n, sinks: [...shown.sinks].map(Boolean), digest: another()},
    sections: {resting: restingOf(view, shown), matrix: n <= WHOLE_MATRIX ? seen(shown) : new Float32Array(), ...top3}});
  const [rows, columns] = size.map((length, axis) => Array.from({length}, (_, at) => first[axis] + at)), of = (places, values) => places.map((at) => values[at]);
  const named = (places, others) => places.map((at) => [0, 1, 2].map((rank) => others[3 * at + rank]).filter((other) => other >= 0).map((other) => whole.labels[other]));
  const weightsAt = (places, weights) => Float32Array.from(places.flatMap((at) => [0, 1, 2].map((rank) => weights[3 * at + rank])));
  const cells = Float32Array.from(rows.flatMap((query) => columns.map((key) => (shown.allowed[query * n + key] ? shown.weights[query * n + key] : NaN))));
  parts.map.show({header: {begin: [queries[0], keys[0]], n: most, rows: of(rows, whole.labels), columns: of(columns, whole.labels), places: [of(rows, whole.places), of(columns, whole.places)],
    marked: marked && [of(rows, marked), of(columns, marked)], sinks: columns.map((at) => Boolean(shown.sinks[at])), first, knots: scale.knots, ticks: ticksOf(scale), title: `${title}, ${scale.name} scale`, ramp: about.ramp, picked: unit, kind,
    keys: named(rows, top3.keys), queries: named(columns, top3.queries), digest: another()}, sections: {window: cells, overview, keys_weights: weightsAt(rows, top3.key_weights), queries_weights: weightsAt(columns, top3.query_weights)}});
}

// The text of a token, or of several in a row as the input has them.
function textOf(tokens, one, input, begin, end) {
  if (begin === end) return one.header.pieces[begin][0];
  const [first] = rowsOf(tokens, input.id), {starts, ends} = tokens.sections;
  return [...tokens.header.input_texts[input.id]].slice(starts[first + begin], ends[first + end]).join("");
}

const labelOf = (tokens, one, input, begin, end) => (begin === end ? one.header.labels[begin] : visibleToken(textOf(tokens, one, input, begin, end)).replace(/^ +| +$/g, ""));

// The whole text, hidden tokens too: pieces of `app.components.sentence`, words where sub-words are merged.
function piecesOf(tokens, one, {input, words, marked}, {unit_of}) {
  const {pieces} = one.header, {word_of} = one.sections, groups = [];
  pieces.forEach((_, at) => { if (words.words === "1" && word_of && at && word_of[at] === word_of[at - 1]) groups.at(-1).push(at); else groups.push([at]); });
  return groups.map((group) => {
    const [begin, end] = [group[0], group.at(-1)], [, gap, , , special, , ...rest] = pieces[begin];
    return [textOf(tokens, one, input, begin, end), gap, begin, Math.max(...group.map((at) => unit_of[at])), special, marked ? group.some((at) => marked[at]) : null, ...rest];
  });
}

const allowedOnly = ({weights, allowed}) => weights.filter((_, at) => allowed[at]);
const seen = ({weights, allowed}) => Float32Array.from(weights, (weight, at) => (allowed[at] ? weight : NaN));

// Of every unit for the picked one, NaN where they may not attend; the mean over queries with none picked, NaN at hidden sinks.
function restingOf({unit, kind}, {n, weights, allowed, sinks, spans: [queries, keys]}) {
  const of = (key) => {
    if (unit === null) { let sum = 0; for (let query = queries[0]; query < queries[1]; query++) sum += weights[query * n + key]; return key < keys[0] || key >= keys[1] || sinks[key] ? NaN : sum / (queries[1] - queries[0]); }
    const at = kind === "query" ? unit * n + key : key * n + unit;
    return allowed[at] ? weights[at] : NaN;
  };
  return Float32Array.from({length: n}, (_, key) => of(key));
}

function strongestBothWays({n, weights, allowed}) {
  const found = {keys: new Int32Array(3 * n).fill(-1), key_weights: new Float32Array(3 * n), queries: new Int32Array(3 * n).fill(-1), query_weights: new Float32Array(3 * n)};
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

function firstShown(words, unit, spans, size) {
  const said = /^(\d{1,8})\.(\d{1,8})$/.exec(words.at ?? ""), wanted = spans.map(([begin, end], axis) => (said ? Number(said[1 + axis]) : (unit !== null && unit >= begin && unit < end ? unit : begin) - Math.floor(size[axis] / 2)));
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
