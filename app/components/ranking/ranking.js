// A ranked table: click or Space picks a row, arrows walk, Escape lets go. A pick shows before the server has heard of it.
const WIDTHS = {name: "19%", score: "19%", rate: "19%", n: "10%", example: "33%"}, NUMBERS = ["n"];

export default function (component) {
  const {header} = unpack(component.data);
  const place = mount(component.parentElement, build);
  place.send = component.setTriggerValue;
  place.show(header);
}

function build(host) {
  const table = {header: null, picked: null, asked: 0, lines: []};
  const root = element("table", {class: "ranking", role: "grid"}), spoken = element("div", {class: "unseen", "aria-live": "polite"});
  host.append(root, spoken);

  table.show = (header) => {
    const isSame = table.header?.digest === header.digest;
    table.header = header;
    if (header.answered >= table.asked) Object.assign(table, {picked: header.picked, asked: header.answered});
    if (!isSame) draw();
    mark();
  };

  function draw() {
    const {rows, columns, label} = table.header, names = Object.keys(columns);
    const held = table.lines.indexOf(root.getRootNode().activeElement);
    root.setAttribute("aria-label", label);
    const heads = names.map((name) => element("th", {scope: "col", style: {width: WIDTHS[name]}, class: NUMBERS.includes(name) ? "number" : "", title: columns[name][1]}, columns[name][0]));
    table.lines = rows.map((row, at) => {
      const line = element("tr", {tabindex: "-1", "data-name": row.name}, names.map((name) => cells[name](row)));
      line.addEventListener("click", () => pick(at));
      line.addEventListener("keydown", (event) => walk(event, at));
      return line;
    });
    root.replaceChildren(element("thead", {}, element("tr", {}, heads)), element("tbody", {}, table.lines));
    table.lines[held]?.focus({preventScroll: true});
  }

  function mark() {
    table.lines.forEach((line, at) => {
      line.classList.toggle("picked", at === table.picked);
      line.setAttribute("aria-selected", at === table.picked);
      line.tabIndex = at === (table.picked ?? 0) ? 0 : -1;
    });
  }

  function pick(at) {
    table.picked = at;
    mark();
    spoken.textContent = at === null ? "Selection cleared" : `${table.header.rows[at].name} picked`;
    table.asked += 1;
    table.send("pick", {row: at, asked: table.asked});
  }

  function walk(event, at) {
    const to = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: table.lines.length - 1}[event.key];
    if (event.key === " " || event.key === "Enter") pick(at);
    else if (event.key === "Escape") pick(null);
    else if (to !== undefined) table.lines[to]?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  return table;
}

const cells = {
  name: (row) => element("td", {class: "name", title: row.name}, row.name),
  score: (row) => element("td", {title: `${row.score.toFixed(4)}; if attention were even ${row.null.toFixed(4)}`},
    measured(row.score, element("span", {class: "bar", style: {width: share(row.score)}}), element("span", {class: "null", style: {left: share(row.null)}}))),
  rate: (row) => element("td", {title: row.low === null ? row.rate.toFixed(4) : `${row.rate.toFixed(4)} (95 %: ${row.low.toFixed(4)} to ${row.high.toFixed(4)})`},
    measured(row.rate, row.low === null ? null : element("span", {class: "range", style: {left: share(row.low), width: share(row.high - row.low)}}), element("span", {class: "dot", style: {left: share(row.rate)}}))),
  n: (row) => element("td", {class: "number figure"}, String(row.n)),
  example: (row) => element("td", {title: `${row.before}${row.text}${row.after} (${row.place})`}, context(row)),
};

function measured(value, ...marks) {
  return element("span", {class: "measured"}, element("span", {class: "figure"}, value.toFixed(value < 0.1 ? 3 : 2)), element("span", {class: "scale"}, marks));
}

function context({before, text, after, place}) {
  if (!before && !after) return element("span", {}, `${visibleToken(text)} · ${place}`);
  const right = element("span", {class: "right"}, after), token = element("mark", {}, visibleToken(text));
  if (!before) return element("span", {class: "example first"}, token, right);
  return element("span", {class: "example"}, element("span", {class: "left"}, element("bdi", {}, before)), token, right);
}

const share = (value) => `${100 * Math.max(0, Math.min(1, value))}%`;
