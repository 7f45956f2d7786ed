// The grid: layers by heads, a cell a head, to be walked with the arrow keys.
const LABEL = 34, SMALLEST = 15, WIDEST = 76, TALLEST = 64, READABLE = 33;

function makeGrid(board) {
  const root = element("div", {class: "towers"});
  const grid = {root, cells: [], lines: []};

  grid.draw = (wide, high) => {
    const {header} = board, {towers} = header;
    const focused = grid.cells.indexOf(root.getRootNode().activeElement);
    const rows = towers.reduce((sum, tower) => sum + tower.rows.length, 0), columns = Math.max(...towers.map((tower) => tower.n_columns));
    const least = board.smallest ?? SMALLEST;
    const clamp = (low, value, top) => Math.floor(Math.min(Math.max(value, low), top));
    const broad = clamp(least, (wide - LABEL - 4) / columns - 2, WIDEST);
    const tall = clamp(least, (high - towers.length * 42) / rows - 2, TALLEST);
    root.style.setProperty("--broad", `${broad}px`);
    root.style.setProperty("--tall", `${tall}px`);
    root.classList.toggle("wordy", broad >= READABLE && tall >= 18);
    grid.cells = [];
    grid.lines = [];
    root.replaceChildren(...towers.map((tower) => buildTower(tower, broad)));
    grid.mark();
    if (focused >= 0) grid.cells[focused]?.focus({preventScroll: true});
  };

  function buildTower(tower, broad) {
    const top = element("div", {class: "row top", role: "row"}, element("span", {class: "side"}));
    const step = Math.ceil(26 / (broad + 2));
    for (let head = 0; head < tower.n_columns; head++) top.append(element("span", {class: "label", role: "columnheader"}, tower.is_named || head % step ? "" : `H${head}`));
    const lines = tower.rows.map(({label, hint, heads}) => {
      const row = element("div", {class: "row", role: "row"}, element("span", {class: "side label", role: "rowheader", title: hint}, label));
      heads.forEach((at, column) => { const cell = buildCell(at, tower); Object.assign(cell, {line: grid.lines.length, column}); row.append(cell); });
      grid.lines.push(heads);
      return row;
    });
    const table = element("div", {class: "grid", role: "grid", "aria-label": `${tower.title}: ${board.header.alt[1]}`}, top, ...lines);
    table.addEventListener("keydown", walk);
    return element("section", {"aria-label": tower.title}, element("div", {class: "title"}, tower.title, element("span", {class: "quiet"}, ` ${tower.subtitle}`)), table);
  }

  function buildCell(row, tower) {
    const head = board.header.heads[row];
    const cell = element("div", {class: "cell", role: "gridcell", tabindex: "-1", "data-head": head.name, "data-site": head.site, "aria-label": head.says.join("; ")},
      element("span", {class: "text figure"}, tower.is_named ? head.name : head.text));
    if (head.colour) Object.assign(cell.style, {background: head.colour, color: head.ink});
    cell.classList.toggle("blank", !head.colour);
    cell.classList.toggle("out", head.is_out);
    cell.row = row;
    grid.cells[row] = cell;
    cell.addEventListener("pointermove", (event) => board.look(row, event));
    cell.addEventListener("pointerleave", () => board.look(null));
    cell.addEventListener("focus", () => { if (cell.matches(":focus-visible")) board.look(row); });
    cell.addEventListener("blur", () => board.look(null));
    cell.addEventListener("click", (event) => board.choose(row, event));
    cell.addEventListener("dblclick", () => board.open(row));
    return cell;
  }

  grid.mark = () => {
    const {picked, several, hot} = board;
    grid.cells.forEach((cell, row) => {
      cell.classList.toggle("picked", row === picked);
      cell.classList.toggle("several", several.includes(row));
      cell.classList.toggle("hot", row === hot);
      cell.setAttribute("aria-selected", row === picked || several.includes(row));
      cell.tabIndex = row === (picked ?? grid.lines[0]?.[0]) ? 0 : -1;
    });
  };

  function walk(event) {
    const cell = event.target.closest(".cell"), line = grid.lines[cell?.line];
    if (!line) return;
    const beside = (lines, column) => { const to = grid.lines[cell.line + lines]; return to?.[Math.min(column, to.length - 1)]; };
    const to = {
      ArrowLeft: () => line[cell.column - 1] ?? beside(-1, Infinity), ArrowRight: () => line[cell.column + 1] ?? beside(1, 0),
      ArrowUp: () => beside(-1, cell.column), ArrowDown: () => beside(1, cell.column), Home: () => line[0], End: () => line.at(-1),
    };
    if (event.key === "Enter") board.open(cell.row);
    else if (event.key === " ") board.choose(cell.row, event);
    else if (event.key === "Escape") board.letGo();
    else if (event.key in to) {
      const next = grid.cells[to[event.key]()];
      if (next) { cell.tabIndex = -1; next.tabIndex = 0; next.focus(); board.look(next.row); }
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  return grid;
}
