// A lasso that came with a link: which points it holds, and what sets them apart. As in app/charts/lasso_word.py and lasso.py.
const LASSO_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", LASSO_GRID = 4096, LASSO_CORNERS = 120, LASSO_LONGEST = 880, MOST_VALUES = 60, PRIOR_POINTS = 20, MOST_GROUPS = 12, MOST_INPUTS = 64;

// {site, head, map, polygon, turn, kinds, hide, range, colour}; null where it cannot be read.
function readLasso(word) {
  const parts = word.split("~"), [place, map, frame, letters, turn, kinds, hide, ends] = parts, colour = parts.slice(8).join("~");
  const numbers = (words, length) => { const said = (words ?? "").split("_").map((each) => (each.trim() ? Number(each) : NaN)); return said.length === length && said.every(Number.isFinite) ? said : null; };
  const bounds = numbers(frame, 4), angles = turn ? numbers(turn, 2) : null, [, site, head] = (place ?? "").match(/^(.*)\.(\d+)$/) ?? [];
  const steps = [...(letters ?? "")].map((letter) => LASSO_LETTERS.indexOf(letter)), n = steps.length / 4;
  if (word.length > LASSO_LONGEST || !bounds || (turn && !angles) || site === undefined || !Number.isInteger(n) || n < 3 || n > LASSO_CORNERS || steps.includes(-1)) return null;
  const along = (at, axis) => bounds[axis] + (64 * steps[at] + steps[at + 1]) / (LASSO_GRID - 1) * bounds[2 + axis];
  const polygon = Array.from({length: n}, (_, corner) => [along(4 * corner, 0), along(4 * corner + 2, 1)]);
  return {site, head: Number(head), map, polygon, turn: angles && turnOf(angles), kinds: kinds || "", hide: hide ?? "", range: ends ?? "", colour: colour || null};
}

// Nine numbers column by column, as the map is turned by yaw and pitch.
function turnOf([yaw, pitch]) {
  const [cy, cp, sy, sp] = [Math.cos(yaw), Math.cos(pitch), Math.sin(yaw), Math.sin(pitch)];
  return [cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy];
}

// The marked set, with `half` (flags of all queries, then of all keys) and where it was drawn.
async function lassoed(tokens, word, about, notes) {
  const lasso = readLasso(word), site = lasso && about.sites.find((each) => each.label === lasso.site), map = about.maps.findIndex((each) => each.name === lasso?.map);
  if (!lasso) { notes.push("The link’s lasso cannot be read, it was cut or changed on its way: clear it."); return null; }
  if (!site?.mapped || map < 0 || lasso.head >= site.n_heads) { notes.push(`The link’s lasso was drawn on head ${lasso.head} of “${lasso.site.slice(0, 40)}” under “${lasso.map.slice(0, 40)}”, which this bundle has not: clear it.`); return null; }
  const {header, sections} = await load(`head/${map}/${site.index}-${lasso.head}`), {n} = tokens.header, half = new Uint8Array(2 * n), keeps = filterOf(tokens, lasso, about);
  for (let at = 0; at < 2 * n; at++) half[at] = Number(keeps(at) && isInside(seenAt(sections.places, header.dims, lasso.turn, at), lasso.polygon));
  return {flags: Uint8Array.from({length: n}, (_, row) => half[row] | half[n + row]), half, lasso, title: `lasso in L${site.depth}H${lasso.head}`, view: `${about.run}|${lasso.map}|${lasso.site}|${lasso.head}`};
}

function seenAt(places, dims, turn, at) {
  const [x, y, z] = places.subarray(dims * at, dims * (at + 1));
  return turn && dims === 3 ? [x * turn[0] + y * turn[3] + z * turn[6], x * turn[1] + y * turn[4] + z * turn[7]] : [x, y];
}

// By the even-odd rule: a ray to the right crosses the border an odd number of times.
function isInside([x, y], polygon) {
  let odd = false;
  polygon.forEach(([x0, y0], at) => {
    const [x1, y1] = polygon[(at + 1) % polygon.length];
    if (y0 !== y1 && (y0 > y) !== (y1 > y) && x < x0 + (y - y0) * (x1 - x0) / (y1 - y0)) odd = !odd;
  });
  return odd;
}

// Which points the legend's filters left when the lasso was drawn: `kept_points` of app/charts/colouring.py.
function filterOf(tokens, {kinds, hide, range, colour}, about) {
  const {n} = tokens.header, gone = new Set(kinds.split(",")), coloured = coloursOf(tokens, about, colour), {header, values} = coloured;
  const codes = new Set(hide.split(",").filter(Boolean).map(Number)), [low, high] = range.split("_").map(Number), isRange = header.categories === null && range !== "" && Number.isFinite(low) && Number.isFinite(high);
  return (at) => {
    if (gone.has(at < n ? "query" : "key")) return false;
    if (header.kind === "kind") return true;
    if (header.categories) return !codes.has(Number.isNaN(values[at]) ? -1 : values[at]);
    return !isRange || (values[at] >= low && values[at] <= high);
  };
}

// What the panel tells of the points a lasso holds: `findings` of app/views/head_parts/lasso.py.
async function findingsOf(tokens, marks, state, about, view) {
  const {n, texts} = tokens.header, inside = Uint8Array.from({length: n}, (_, row) => marks.half[row] + marks.half[n + row]), missing = marks.queries ? "keys" : "queries", isBoth = marks.queries > 0 && marks.keys > 0;
  const columns = tokens.header.colours.slice(1).map(({name, kind}) => ({name, kind, ...columnOf(tokens, name)})), attention = isBoth ? await attentionWithin(tokens, marks, state, about) : null;
  const note = !marks.n ? "No point lies inside: draw round some points, or show what the legend hides." : isBoth ? (attention ? "" : "The mean attention between them rests on inputs that are not all in this bundle: the app tells it.") : `There are no ${missing} inside, so there is no attention between queries and keys to tell.`;
  const classes = columns.filter((each) => each.names && each.names.length <= MOST_VALUES).flatMap((each) => commonerInside(each.codes, each.names, inside, 3).map((found) => ({column: each.name, ...found})));
  const means = columns.filter((each) => each.numbers).map((each) => ({column: each.name, ...meansOf(each.numbers, inside)})).filter((each) => Math.abs(each.difference) >= 0.2);
  return {n_queries: marks.queries, n_keys: marks.keys, n_inputs: marks.n_inputs, note, tokens: commonerInside(tokens.sections.words, texts, inside, 8),
    columns: classes.sort((a, b) => b.z - a.z).slice(0, 8), numbers: means.sort((a, b) => Math.abs(b.difference) - Math.abs(a.difference)).slice(0, 4), attention,
    key: `${marks.key} ${view}`, shape: marks.view === view ? {polygon: marks.lasso.polygon, turn: marks.lasso.turn} : null};
}

// Mean attention between selected queries and keys, in all and by group: `mean_attention` of app/charts/lasso.py. It rests
// on all inputs with a selected query; null where one of them is not in the bundle, or they are too many to read.
async function attentionWithin(tokens, {half}, state, about) {
  const {n} = tokens.header, {at_input_id: ids} = tokens.sections, wanted = about.inputs.filter((each) => { const [first, end] = rowsOf(tokens, each.id); return half.subarray(first, end).includes(1); });
  if (wanted.length > MOST_INPUTS || wanted.some((each) => !each.held)) return null;
  const classes = tokens.header.colours.slice(1).filter((each) => each.kind === "categorical"), own = classes.find((each) => each.name === state.colour) ?? (about.is_text ? null : classes.find((each) => each.name !== "is_special"));
  const {names, codes} = own ? columnOf(tokens, own.name) : {names: tokens.header.texts, codes: tokens.sections.words}, groupOf = (row) => (codes[row] >= 0 ? codes[row] : names.length);
  const sides = [0, 1].map((kind) => commonest(ids, (row) => half[kind * n + row], groupOf)), sums = sides[0].map(() => sides[1].map(() => 0)), pairs = sums.map((row) => row.slice());
  let total = 0, n_pairs = 0, everywhere = 0, n_everywhere = 0;
  for (const input of wanted) {
    const {matrix} = drawnHere(await load(`input/${input.id}`), state), [first] = rowsOf(tokens, input.id);
    for (let query = 0; query < matrix.n; query++) if (half[first + query]) for (let key = 0; key < matrix.n; key++) {
      const at = query * matrix.n + key, weight = matrix.weights[at];
      if (!matrix.allowed[at]) continue;
      everywhere += weight; n_everywhere += 1;
      if (!half[n + first + key]) continue;
      total += weight; n_pairs += 1;
      const row = sides[0].indexOf(groupOf(first + query)), column = sides[1].indexOf(groupOf(first + key));
      if (row >= 0 && column >= 0) { sums[row][column] += weight; pairs[row][column] += 1; }
    }
  }
  const [rows, columns] = sides.map((side) => side.map((code) => names[code] ?? "no value"));
  return {mean: n_pairs ? total / n_pairs : null, n_pairs, elsewhere: n_everywhere ? everywhere / n_everywhere : null, rows, columns, means: sums.map((line, row) => line.map((sum, column) => (pairs[row][column] ? sum / pairs[row][column] : null))), pairs, by: own ? own.name.replaceAll("_", " ") : "token"};
}

// The commonest groups of the selected rows, ties in the order in which they first appear.
function commonest(rows, isSelected, groupOf) {
  const counts = new Map();
  for (let row = 0; row < rows.length; row++) if (isSelected(row)) counts.set(groupOf(row), (counts.get(groupOf(row)) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, MOST_GROUPS).map(([code]) => code);
}

// The values commoner inside than in the rest, the clearest first: `over_represented` of app/charts/lasso.py.
function commonerInside(codes, names, inside, listed) {
  const [n_in, n_out] = [new Float64Array(names.length), new Float64Array(names.length)];
  for (let row = 0; row < inside.length; row++) if (codes[row] >= 0) { n_in[codes[row]] += inside[row]; n_out[codes[row]] += 2 - inside[row]; }
  const [all_in, all_out] = [n_in, n_out].map((counts) => counts.reduce((sum, each) => sum + each, 0));
  if (!all_in || !all_out) return [];
  const z = Array.from(n_in, (_, at) => {
    const prior = PRIOR_POINTS * (n_in[at] + n_out[at]) / (all_in + all_out), odds = (of, all) => (of + prior) / (all + PRIOR_POINTS - of - prior + 1e-12);
    return Math.log(odds(n_in[at], all_in) / odds(n_out[at], all_out)) / Math.sqrt(1 / (n_in[at] + prior) + 1 / (n_out[at] + prior));
  });
  return [...z.keys()].sort((a, b) => z[b] - z[a] || a - b).slice(0, listed).filter((at) => z[at] > 1.96 && n_in[at])
    .map((at) => ({value: names[at], inside: n_in[at], outside: n_out[at], share_inside: n_in[at] / all_in, share_outside: n_out[at] / all_out, z: z[at]}));
}

// Means of a column of numbers inside and outside, and how many standard deviations they differ by: `compare_numbers`.
function meansOf(numbers, inside) {
  const known = [...inside.keys()].filter((row) => Number.isFinite(numbers[row]));
  const mean = (weight) => { let sum = 0, all = 0; for (const row of known) { const by = weight(row); sum += by * numbers[row]; all += by; } return all ? sum / all : NaN; };
  const middle = mean(() => 1), spread = Math.sqrt(known.reduce((sum, row) => sum + (numbers[row] - middle) ** 2, 0) / known.length);
  const [within_, without] = [mean((row) => inside[row]), mean((row) => 2 - inside[row])];
  return {inside: within_, outside: without, difference: spread ? (within_ - without) / spread : NaN};
}
