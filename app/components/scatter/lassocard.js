// What a lasso holds, as the panel tells it: counts, what sets it apart, and attention inside it as a small matrix.
function lassoCard(lasso, ramp) {
  const {n_queries: queries, n_keys: keys, tokens, columns, numbers, attention} = lasso;
  const count = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
  return [
    element("div", {class: "counts"}, `${count(queries, "query", "queries")} and ${count(keys, "key", "keys")} in ${count(lasso.n_inputs, "input", "inputs")}`),
    ...(lasso.note ? [element("p", {class: "note quiet"}, lasso.note)] : []),
    ...matrix(attention, ramp),
    ...(tokens.length + columns.length ? [element("p", {class: "note quiet"}, "Commoner inside than in the rest, the clearest first (shares of points):")] : []),
    ...shares("Tokens", tokens.slice(0, 6), (each) => visibleToken(each.value)),
    ...shares("Columns", columns.slice(0, 6), (each) => `${each.column.replaceAll("_", " ")}: ${each.value}`),
    ...means(numbers),
  ];
}

function shares(title, rows, words) {
  if (!rows.length) return [];
  const made = rows.map((each) => element("div", {class: "share", title: `${each.inside} of the points inside, ${each.outside} outside; z = ${each.z.toFixed(1)}`},
    element("span", {class: "token"}, words(each)), element("span", {class: "figure"}, percent(each.share_inside)), element("span", {class: "figure quiet"}, percent(each.share_outside))));
  return [element("div", {class: "share heads quiet"}, element("span", {}, title), element("span", {}, "inside"), element("span", {}, "rest")), ...made];
}

function means(rows) {
  return rows.map((each) => element("div", {class: "share", title: `Means; they differ by ${short(Math.abs(each.difference))} standard deviations`},
    element("span", {class: "token"}, `mean ${each.column.replaceAll("_", " ")}`), element("span", {class: "figure"}, short(each.inside)), element("span", {class: "figure quiet"}, short(each.outside))));
}

function matrix(attention, ramp) {
  if (!attention) return [];
  const {mean, n_pairs: pairs, elsewhere, rows, columns, means: cells, pairs: counts, by} = attention;
  if (!pairs) return [element("p", {class: "note"}, "No selected query may attend to a selected key: attention stays within an input.")];
  const says = element("div", {class: "says figure quiet", "aria-live": "polite"}, "rows queries, columns keys");
  const top = Math.max(...cells.flat().filter((cell) => cell !== null), 1e-9);
  const tone = (share) => { const at = share * (ramp.length - 1), low = Math.floor(at); return ramp[Math.min(Math.round(low + (at - low)), ramp.length - 1)]; };
  const table = element("table", {class: "between", "aria-label": `Mean attention between selected queries (rows) and keys (columns) by ${by}`},
    element("tr", {}, element("th", {}), columns.map((name) => element("th", {scope: "col", title: name}, element("span", {}, cut(visibleToken(name), 9))))),
    rows.map((row, i) => element("tr", {}, element("th", {scope: "row", title: row}, cut(visibleToken(row), 9)), columns.map((column, j) => {
      const value = cells[i][j], words = value === null ? "no pair" : `${weightWords(value)}, ${counts[i][j]} pairs`;
      const cell = element("td", {style: value === null ? {} : {background: tone(Math.sqrt(value / top))}, "data-mean": value ?? "", "aria-label": words, title: `${visibleToken(row)} → ${visibleToken(column)}: ${words}`});
      cell.addEventListener("pointerenter", () => { says.textContent = `${cut(visibleToken(row), 10)} → ${cut(visibleToken(column), 10)}: ${words}`; });
      return cell;
    }))));
  table.style.setProperty("--cell", `${columns.length <= 6 ? 22 : 15}px`);
  const rest = elsewhere === null ? "" : `; the same queries give any key ${weightWords(elsewhere)}`;
  return [element("p", {class: "note"}, "Mean attention between them ", element("b", {class: "figure mean"}, weightWords(mean)), element("span", {class: "quiet"}, ` (${pairs.toLocaleString("en")} pairs of the same input${rest})`)),
    element("div", {class: "scroll"}, table), says, element("div", {class: "quiet key"}, `by ${by}; 0 to ${weightWords(top)}, square-root colours`)];
}
