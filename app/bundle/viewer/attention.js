// Attention of one head on one input, and what is said of it: the rules are those of the app.
const QUERY_COLOUR = "#009E73", KEY_COLOUR = "#CC3399", MOST_LINES = 200, AROUND = 160, KNOTS = 97, DECADES = 4;

// One head of a loaded input: weights [query * n + key], and 1 where a query may attend.
function matrixOf({header, sections}, site, head) {
  const {n} = header;
  return {n, weights: sections[`weights${site.index}`].subarray(head * n * n, (head + 1) * n * n), allowed: sections[`allowed${site.index}`], spans: header.spans[site.index]};
}

const rowOf = ({n, weights}, query) => weights.subarray(query * n, (query + 1) * n);
const columnOfMatrix = ({n, weights}, key) => Float32Array.from({length: n}, (_, query) => weights[query * n + key]);

// Places of the weights that get a line, the strongest first, equals in order: `strongest` of app/charts/neighbours.py.
function strongestOf(weights, rule) {
  const order = [...weights.keys()].filter((at) => weights[at] > 0).sort((a, b) => weights[b] - weights[a] || a - b);
  const asked = rule === "none" ? "top12" : rule;
  if (!asked.startsWith("mass")) return order.slice(0, Math.min(Number(asked.slice(3)), MOST_LINES));
  const whole = order.reduce((sum, at) => sum + weights[at], 0), wanted = Number(asked.slice(4)) / 100 * whole;
  let held = 0, count = 0;
  while (count < order.length && held < wanted * (1 - 1e-9)) held += weights[order[count++]];
  return order.slice(0, Math.min(count, MOST_LINES));
}

// What the panel says of a picked point: `describe_pick` of app/charts/neighbours.py, or of an input whose attention is
// not here its strongest ties, which every head has. `columns`: keys that are hidden as sinks; null where none are.
function describePick(tokens, about, state, matrix, columns, ties, rule, image) {
  const {input, token, kind} = state, [first] = rowsOf(tokens, input.id), n = tokens.header.n, row = first + token;
  const line = (at, offset, of, weight) => ({point: first + at + offset, weight, text: textAtRow(tokens, first + at), at: String(at), patch: patchOf(tokens, first + at, input),
    place: `${of} at position ${at}`, pick: {input: input.id, token: at, kind: of}});
  let sees, seen, notes;
  if (matrix) {
    const weights = rowOf(matrix, token), received = columnOfMatrix(matrix, token);
    sees = strongestOf(weights, rule).map((at) => line(at, n, "key", weights[at]));
    seen = strongestOf(received, rule).map((at) => line(at, 0, "query", received[at]));
    notes = [saysOfQuery(sees, columns !== null), columns?.[token] ? "Its key is a sink of this head in this input, and hidden." : saysOfKey(seen, received)];
  } else {
    const held = about.inputs.filter((each) => each.held), sinks = state.hides ? ", sinks counted in" : "", where = held.length ? ` Whole rows are here of ${count(held.length, "input", "inputs")}: ${listed(held.map((each) => each.id))}.` : "";
    const told = (at, weight, offset, of) => (ties.key_at ? [0, 1, 2] : []).filter((rank) => weight[3 * row + rank] > 0).map((rank) => line(at[3 * row + rank], offset, of, weight[3 * row + rank]));
    sees = told(ties.key_at, ties.key_weight, n, "key");
    seen = told(ties.query_at, ties.query_weight, 0, "query");
    notes = [`The ${count(sees.length, "key", "keys")} its query weighs most${sinks}.${where}`, `The ${count(seen.length, "query", "queries")} that weigh its key most${sinks}.${where}`];
  }
  return {
    patch: patchOf(tokens, row, input), text: textAtRow(tokens, row), kind, point: row + (kind === "query" ? 0 : n), place: placeWords(tokens, row, input), ...contextOf(tokens, row, input), ...image,
    sees: {start: row, rows: sees, colour: KEY_COLOUR, note: notes[0]}, seen: {start: row + n, rows: seen, colour: QUERY_COLOUR, note: notes[1]},
  };
}

function saysOfQuery(sees, hides) {
  if (!sees.length && hides) return "Its query looks at hidden sinks only.";
  return `The ${count(sees.length, "key", "keys")} its query weighs most: ${share(total(sees))} of its attention${hides ? " without sinks" : ""}.`;
}

function saysOfKey(seen, received) {
  const gets = received.reduce((sum, each) => sum + each, 0), even = received.filter((each) => each > 1 / received.length).length;
  return `${even} of ${received.length} queries give its key more than an even share. The ${count(seen.length, "query", "queries")} that weigh it most give ${share(gets ? total(seen) / gets : 0)} of what it gets.`;
}

const share = (part) => percent(part).replace(" ", "\u00a0");
const total = (rows) => rows.reduce((sum, each) => sum + each.weight, 0);
const count = (number, one, many) => (number === 1 ? one : `${number.toLocaleString("en")} ${many}`);

// 0–4, 7: whole numbers in order as a reader says them.
function listed(numbers) {
  const runs = [];
  for (const each of numbers) runs.length && runs.at(-1)[1] === each - 1 ? (runs.at(-1)[1] = each) : runs.push([each, each]);
  const said = runs.map(([low, high]) => (low === high ? String(low) : `${low}–${high}`));
  return said.length > 6 ? `${said.slice(0, 6).join(", ")} and more` : said.join(", ");
}

function placeWords(tokens, row, input) {
  const {at_row: rows, at_column: columns, at_position: positions} = tokens.sections;
  const grid = rows && rows[row] >= 0 ? `row ${rows[row]}, column ${columns[row]}, ` : "";
  return `${grid}position ${positions[row]} of 0–${input.n_tokens - 1} in input ${input.id}`;
}

// Left, top, width and height of a patch as shares of its image.
function patchOf(tokens, row, input) {
  const {at_row: rows, at_column: columns} = tokens.sections;
  if (!rows || rows[row] < 0) return null;
  const [first, end] = rowsOf(tokens, input.id), most = (places) => places.subarray(first, end).reduce((a, b) => Math.max(a, b), 0) + 1;
  const tall = most(rows), wide = most(columns);
  return [columns[row] / wide, rows[row] / tall, 1 / wide, 1 / tall];
}

// The words round a token; offsets count code points, as in Python.
function contextOf(tokens, row, input) {
  const {starts, ends} = tokens.sections, text = tokens.header.input_texts?.[input.id];
  if (!text || !starts || ends[row] <= starts[row]) return {before: "", after: ""};
  const letters = [...text], [start, end] = [starts[row], ends[row]];
  return {before: (start > AROUND ? "…" : "") + letters.slice(Math.max(start - AROUND, 0), start).join(""), after: letters.slice(end, end + AROUND).join("") + (end + AROUND < letters.length ? "…" : ""), text: letters.slice(start, end).join("")};
}

// From weights to places on the ramp: `make_scale` of app/charts/scales.py; straight lines between knots.
function makeScale(weights, name) {
  const known = weights.filter((each) => Number.isFinite(each)), top = known.reduce((a, b) => Math.max(a, b), 0) || 1;
  const even = Array.from({length: KNOTS}, (_, at) => at / (KNOTS - 1));
  if (name === "log") return {name, knots: [even.map((part) => top / 10 ** (DECADES * (1 - part))), even]};
  if (name !== "rank" || known.length < 2) return {name: "linear", knots: [[0, top], [0, 1]]};
  const sorted = Float32Array.from(known).sort(), knots = [[], []];
  for (const part of even) {
    const at = part * (sorted.length - 1), low = Math.floor(at), weight = sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (at - low);
    if (knots[0].length && weight <= knots[0].at(-1)) knots[1][knots[1].length - 1] = part;
    else { knots[0].push(weight); knots[1].push(part); }
  }
  return knots[0].length > 1 ? {name, knots} : {name, knots: [[0, top], [0, 1]]};
}

function interpolate([from, to], value) {
  const high = from.findIndex((knot) => knot >= value);
  if (high <= 0) return high === 0 ? to[0] : to.at(-1);
  return to[high - 1] + (to[high] - to[high - 1]) * (value - from[high - 1]) / (from[high] - from[high - 1]);
}

function ticksOf({name, knots}) {
  const words = [0, 0.25, 0.5, 0.75, 1].map((share) => weightText(interpolate([knots[1], knots[0]], share)));
  return name === "log" ? [`≤ ${words[0]}`, ...words.slice(1)] : words;
}

const weightText = (weight) => (weight === 0 ? "0" : Math.abs(weight) >= 1e-4 ? String(Number(weight.toPrecision(3))) : weight.toExponential(1));

function rampColour(stops) {
  const rgb = stops.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return (part) => {
    const at = Math.min(1, Math.max(0, part)) * (rgb.length - 1), low = Math.min(rgb.length - 2, Math.floor(at));
    return rgb[low].map((from, channel) => Math.round(from + (rgb[low + 1][channel] - from) * (at - low)));
  };
}
