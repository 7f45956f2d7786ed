// Points that the run does not hold are counted on after its own: queries and keys of the run, new queries, new keys.
const isNew = (data, point) => point >= 2 * data.n;
const nNew = (data) => (data.fresh?.length ?? 0) / 6;
const isHere = (data, point) => point < 2 * (data.n + nNew(data));
const newPoints = (data) => Array.from({length: 2 * nNew(data)}, (_, at) => 2 * data.n + at);

function seenPoint(scatter, point) {
  const {camera, data} = scatter;
  return isNew(data, point) ? seen(camera, data.fresh, point - 2 * data.n) : seen(camera, data.points, point);
}

// The token of a point: its row in the run or in the new input, and what both know of it.
function tokenOf(scatter, point) {
  const {data, header} = scatter, fresh = isNew(data, point), n = fresh ? nNew(data) : data.n, at = fresh ? point - 2 * data.n : point, row = at % n;
  const told = fresh
    ? {text: header.fresh[row], position: data.fresh_positions[row], input: header.fresh_input, place: `new ${header.input_word}${sequenceOf(header, data.fresh_sequences, row)}`, whole: header.fresh_text, starts: data.fresh_starts, ends: data.fresh_ends}
    : {text: data.texts[data.words[row]], position: data.positions[row], input: data.inputs[row], place: `${header.input_word} ${data.inputs[row]}${sequenceOf(header, data.sequences, row)}`, whole: header.input_texts?.[data.inputs[row]], starts: data.starts, ends: data.ends};
  return {row, isQuery: at < n, isNew: fresh, ...told};
}

// Norms and strongest ties: those of the new points come with them, those of the run a little later.
function factsOf(scatter, isFresh) {
  const {data} = scatter;
  if (!isFresh) return scatter.extra?.sections ?? null;
  return Object.fromEntries(["query_norm", "key_norm", "key_at", "key_weight", "query_at", "query_weight"].map((name) => [name, data[`fresh_${name}`]]));
}

// The text of the token that lies so many places after the first one of the same input.
function textAt(scatter, token, place) {
  const {data, header} = scatter;
  return token.isNew ? header.fresh[place] : data.texts[data.words[token.row - token.position + place]];
}

// The new point under the pointer; drawn larger than the others, it is found from farther.
function nearestNew(scatter, x, y) {
  let best = null, closest = (NEAR * ratio()) ** 2;
  for (const point of newPoints(scatter.data)) {
    const [px, py] = seenPoint(scatter, point), far = (px - x) ** 2 + (py - y) ** 2;
    if (far < closest) { closest = far; best = point; }
  }
  return best;
}

// Of an input of two sequences: whose token it is, as in ", decoder".
function sequenceOf(header, codes, row) {
  return codes && header.sequences.length > 1 ? `, ${header.sequences[codes[row]]}` : "";
}
