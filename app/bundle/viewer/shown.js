// From the attention of heads to what is shown: sinks and tokens hidden, weights multiplied by value norms, sub-words merged.
// As `read_one` of app/views/input_parts/one_input.py, in the same order and the same single precision.
const SINK_FROM = 0.3, SINK_SEEN_BY = 8, LEAST_LEFT = 1e-6;

// What `words` of the link ask for, of the mean of `heads` ([{site, head}]) on a loaded input: {plain, shown, hidden, notes, isWeighed}.
function drawnOf(one, heads, words, hides) {
  const matrices = heads.map(({site, head}) => matrixOf(one, site, head)), first = matrices[0], n = first.n;
  const allowed = matrices.length === 1 ? first.allowed : Uint8Array.from(first.allowed, (_, at) => Number(matrices.some((each) => each.allowed[at])));
  const hidden = hides ? matrices.map((each) => hideSinks(each, heads[0].site.is_cross)) : null;
  const norms = heads.map(({site, head}) => one.sections[`norms${site.index}`]?.subarray(head * n, (head + 1) * n)), isWeighed = words.weigh === "norm" && norms.every(Boolean);
  const weighed = (weights, place) => (isWeighed ? weights.map((weight, at) => weight * norms[place][at % n]) : weights);
  const drawn = hidden ? meanOfLeft(hidden.map((each, place) => weighed(each.weights, place)), hidden, n) : mean(matrices.map((each, place) => weighed(each.weights, place)));
  const gone = hiddenTokens(one, words.hide), group = words.words === "1" && one.sections.word_of ? one.sections.word_of : null;
  const columns = hidden && Uint8Array.from({length: n}, (_, key) => Number(hidden.every((each) => each.columns[key])));
  const plain = {n, weights: mean(matrices.map((each) => each.weights)), allowed, spans: first.spans}, shown = showAttention({n, weights: drawn, allowed, spans: first.spans}, gone, group, columns);
  return {plain, shown, hidden, columns, isWeighed, isGrouped: group !== null, gone, asksWeight: words.weigh === "norm"};
}

function mean(all) {
  if (all.length === 1) return all[0];
  const sum = Float32Array.from(all[0]);
  for (const each of all.slice(1)) for (let at = 0; at < sum.length; at++) sum[at] += each[at];
  return sum.map((each) => each / all.length);
}

// For each query over the heads in which something of it is left, so that a row still sums to 1.
function meanOfLeft(all, hidden, n) {
  const left = Float32Array.from({length: n}, (_, query) => Math.max(1, hidden.filter((each) => each.left[query]).length));
  const sum = Float32Array.from(all[0]);
  for (const each of all.slice(1)) for (let at = 0; at < sum.length; at++) sum[at] += each[at];
  return sum.map((each, at) => each / left[Math.floor(at / n)]);
}

// One head without its sinks: `hide_sinks` of analysis/sinks/hiding.py, with `left`: whether a query looks at anything more.
function hideSinks({n, weights, allowed}, countsOwn) {
  const columns = new Uint8Array(n), rest = Float32Array.from(weights), mass = new Float64Array(n), left = new Uint8Array(n);
  for (let key = 0; key < n; key++) {
    let sum = 0, seen = 0;
    for (let query = 0; query < n; query++) if (allowed[query * n + key] && (countsOwn || query !== key)) { sum = Math.fround(sum + weights[query * n + key]); seen++; }
    columns[key] = Number(seen >= SINK_SEEN_BY && sum / Math.max(seen, 1) >= SINK_FROM);
  }
  let n_looking = 0, n_emptied = 0, learned = 0;
  for (let query = 0; query < n; query++) {
    let total = 0, kept = 0;
    for (let key = 0; key < n; key++) { const weight = weights[query * n + key]; total += weight; if (columns[key]) rest[query * n + key] = 0; else kept += weight; }
    const looks = total > LEAST_LEFT, has = kept > LEAST_LEFT, factor = has ? Math.fround(1 / kept) : 0;
    for (let key = 0; key < n; key++) rest[query * n + key] *= factor;
    mass[query] = Math.min(Math.max(total - kept, 0), 1);
    left[query] = Number(has);
    n_looking += looks;
    n_emptied += looks && !has;
    learned += looks ? Math.min(Math.max(1 - total, 0), 1) : 0;
  }
  const per = (sum) => sum / Math.max(n_looking, 1);
  return {weights: rest, columns, mass, left, n_emptied, share: per(mass.reduce((sum, each) => sum + each, 0)), learned: per(learned), n_columns: total_of(columns)};
}

// Tokens a link hides: `special`, positions, or both; what the legend of a head hides, `genre:0,3`, has the same name.
function hiddenTokens(one, said) {
  const words = (said?.includes(":") ? "" : said ?? "").split(",").map((word) => word.trim()), places = new Set(words.filter((word) => /^\d{1,8}$/.test(word)).map(Number));
  return one.sections.special.map((special, at) => Number((words.includes("special") && special === 1) || places.has(at)));
}

// Hide tokens, then merge groups: `show_attention` of app/charts/shown.py. A unit is a token, or a word of several:
// {n, weights, allowed} over units, `unit_of` tokens (-1 hidden), `first` and `last` token of units, `spans` in units, `sinks`.
function showAttention({n, weights, allowed, spans}, gone, group, columns) {
  const kept = [...Array(n).keys()].filter((at) => !gone[at]), sinks = columns ?? new Uint8Array(n), starts = [], unit_of = new Int32Array(n).fill(-1);
  if (!kept.length) throw new Error("Every token of this input is hidden: take some out of the list.");
  kept.forEach((token, at) => { if (at === 0 || !group || group[token] !== group[kept[at - 1]]) starts.push(at); unit_of[token] = starts.length - 1; });
  const cells = new Float32Array(kept.length ** 2), may = new Uint8Array(kept.length ** 2), mass = new Float64Array(kept.length);
  let n_emptied = 0;
  kept.forEach((query, row) => {
    let total = 0, left = 0;
    for (let key = 0; key < n; key++) total += weights[query * n + key];
    kept.forEach((key, column) => { const weight = weights[query * n + key]; left += weight; cells[row * kept.length + column] = weight; may[row * kept.length + column] = Number(allowed[query * n + key] && !sinks[key]); });
    if (kept.length === n) return;
    const has = left > LEAST_LEFT * total, factor = has ? total / left : 0;
    n_emptied += !has && total > 0;
    mass[row] = total > 0 ? Math.min(Math.max(1 - left / total, 0), 1) : 0;
    for (let column = 0; column < kept.length; column++) cells[row * kept.length + column] *= factor;
  });
  const units = {n: starts.length, unit_of, first: starts.map((at) => kept[at]), last: starts.map((_, unit) => kept[(starts[unit + 1] ?? kept.length) - 1]), n_emptied};
  const merged = starts.length === kept.length ? {weights: cells, allowed: may, hidden_mass: mass, sinks: Uint8Array.from(kept, (token) => sinks[token])} : mergeWords(cells, may, mass, kept.map((token) => sinks[token]), starts, kept.length);
  return {...units, ...merged, spans: spans.map((span) => unitsOf(span, unit_of))};
}

// A word attends as the mean of its tokens and is attended to with their sum.
function mergeWords(cells, may, mass, sinks, starts, n) {
  const ends = [...starts.slice(1), n], size = starts.length, weights = new Float32Array(size ** 2), allowed = new Uint8Array(size ** 2);
  starts.forEach((top, row) => starts.forEach((begin, column) => {
    let sum = 0, any = 0;
    for (let query = top; query < ends[row]; query++) {
      let across = 0;
      for (let key = begin; key < ends[column]; key++) { across = Math.fround(across + cells[query * n + key]); any |= may[query * n + key]; }
      sum = Math.fround(sum + across);
    }
    weights[row * size + column] = sum / (ends[row] - top);
    allowed[row * size + column] = any;
  }));
  const over = (of, join) => starts.map((begin, unit) => join(of.slice(begin, ends[unit])));
  return {weights, allowed, hidden_mass: over([...mass], (part) => part.reduce((sum, each) => sum + each, 0) / part.length), sinks: Uint8Array.from(over(sinks, (part) => Number(part.every(Boolean))))};
}

function unitsOf([begin, end], unit_of) {
  const units = [...unit_of.subarray(begin, end)].filter((unit) => unit >= 0);
  if (!units.length) throw new Error("Every token that this head reads is hidden: take some out of the list.");
  return [Math.min(...units), Math.max(...units) + 1];
}
