// What the colour and the size of points say.
const CYCLE = /^position_mod_(\d{1,4})$/, MOST_CYCLE = 512;

// The k of a colouring by position modulo k; null for every other colouring.
function cycleOf(name) {
  const length = Number(CYCLE.exec(name ?? "")?.[1] ?? 0);
  return length >= 2 && length <= MOST_CYCLE ? length : null;
}

// {header, values} of a colouring, a value a query and then a key: of a column, or by position (`by_cycle` of app/charts/colouring.py).
function coloursOf(tokens, about, name) {
  const {header, sections} = tokens, {n} = header, cycle = cycleOf(name), place = Math.max(0, header.colours.findIndex((each) => each.name === name)), both = new Float32Array(2 * n);
  const values = cycle === null ? sections[`values${place}`] : Float32Array.from(sections.at_position, (position) => position % cycle);
  both.set(values);
  if (values.length === n) both.set(values, n);
  const meaning = `Position in its input, modulo ${cycle}: 0 to ${cycle - 1}, then 0 again.`;
  return {values: both, header: cycle === null ? header.colours[place] : {name, kind: "cyclic", title: `position mod ${cycle}`, unit: "tokens", meaning, low: 0, high: cycle, stops: about.circle, categories: null}};
}

// The sizes of points: lengths of vectors, or a column of numbers; null where all are the same.
function sizesOf(tokens, own, name) {
  const {query_norm: queries, key_norm: keys, value_norm: values} = own.sections, known = tokens.header.sizes.find(([word]) => word === name);
  if (!known || name === "none") return null;
  const column = columnOf(tokens, name)?.numbers, both = {norm: [queries, keys], value_norm: [values, values]}[name] ?? [column, column];
  if (!both[0]) return null;
  const all = Float32Array.from([...both[0], ...both[1]]), sorted = all.filter(Number.isFinite).sort(), place = tokens.header.colours.findIndex((each) => each.name === name);
  return {values: all, header: {name, title: known[1], unit: place < 0 ? "" : tokens.header.colours[place].unit, low: sorted.length ? quantile(sorted, 0.01) : 0, high: sorted.length ? quantile(sorted, 0.99) : 1}};
}

function quantile(sorted, part) {
  const at = part * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (at - low);
}
