// In which order the heads of a stack are laid out: `arrange` of app/charts/head_order.py.
const ORDERS = [["layer", "by number"], ["layers", "layers by score"], ["heads", "heads by score"], ["both", "layers and heads by score"], ["rank", "all heads ranked"]];
const NAMED_ORDERS = ["heads", "both", "rank"];

// Rows of the grid: {label, hint, heads}, heads being places in `cells`; `scores` of each cell, null for none.
function arrange(cells, scores, order) {
  const values = scores.map((score) => score ?? -Infinity), highest = (places) => places.sort((a, b) => compare(values[b], values[a]) || a - b);
  if (order === "rank") {
    const ranked = highest([...cells.keys()]), width = Math.max(...cells.map((cell) => cell.head)) + 1, rows = [];
    for (let start = 0; start < ranked.length; start += width) rows.push({label: String(start + 1), hint: `from rank ${start + 1}`, heads: ranked.slice(start, start + width)});
    return rows;
  }
  const layers = [...new Set(cells.map((cell) => cell.layer))].sort((a, b) => a - b);
  const rows = new Map(layers.map((layer) => [layer, [...cells.keys()].filter((place) => cells[place].layer === layer)]));
  const means = new Map(layers.map((layer) => [layer, meanOf(rows.get(layer).map((place) => scores[place]))]));
  if (order === "layers" || order === "both") layers.sort((a, b) => compare(means.get(b), means.get(a)));
  if (order === "heads" || order === "both") rows.forEach(highest);
  return layers.map((layer) => {
    const mean = means.get(layer), said = order !== "layer" && Number.isFinite(mean) ? `, mean ${mean.toFixed(2)}` : "";
    return {label: `L${layer}`, hint: `layer ${layer}${said}`, heads: rows.get(layer)};
  });
}

const compare = (a, b) => (a === b ? 0 : a - b);  // two that are infinite are equal

function meanOf(scores) {
  const known = scores.filter((score) => score !== null);
  return known.length ? known.reduce((sum, score) => sum + score, 0) / known.length : -Infinity;
}

// The ends of the colour ramp of a score: `limits` of app/views/atlas_parts.py.
function limitsOf(values) {
  const known = values.filter((value) => value !== null);
  if (!known.length) return {low: 0, high: 1};
  const [low, high] = [known.reduce((a, b) => Math.min(a, b)), known.reduce((a, b) => Math.max(a, b))];
  return {low: low >= 0 && low < high / 2 ? 0 : low, high};
}
