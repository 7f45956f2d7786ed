// All heads of a run: one sprite per stack on a canvas, and over it a real grid of cells that the pointer, the
// keyboard and a screen reader can visit. Everything that hovering shows is already here: no rerun.
const GAP = 4, LABEL = 34, TOP = 20, SMALLEST = 30, LARGEST = 168, NAME = 15;
const RAMP = (stops) => (share) => {
  const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1), low = Math.floor(at), high = Math.min(low + 1, stops.length - 1);
  const part = (from, to) => Math.round(from + (to - from) * (at - low));
  const rgb = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  const [a, b] = [rgb(stops[low]), rgb(stops[high])];
  return `rgb(${a.map((value, channel) => part(value, b[channel])).join(" ")})`;
};

export default function (component) {
  const matrix = mount(component.parentElement, makeMatrix);
  matrix.send = component.setTriggerValue;
  matrix.show(component.data);
  return matrix.leave;
}

function makeMatrix(host) {
  const matrix = {stacks: [], header: null, selected: null, send: null};
  const root = host.appendChild(element("div", {class: "matrix"}));
  const tip = host.appendChild(element("div", {class: "tip", "aria-hidden": "true"}));
  const spoken = host.appendChild(element("div", {class: "unseen", "aria-live": "polite"}));
  const forget = board().listen("atlas.selected", (place) => { matrix.selected = place; mark(); });
  const resized = new ResizeObserver(() => layOut());
  resized.observe(host);
  matrix.leave = () => { forget(); resized.disconnect(); };

  matrix.show = async (data) => {
    const {header, sections} = unpack(data);
    if (matrix.header?.digest === header.digest) return;
    const sprites = header.stacks.map((stack) => sections[stack.sprite]);
    const images = await Promise.all(sprites.map((bytes) => bytes?.length ? createImageBitmap(new Blob([bytes], {type: "image/png"})) : null));
    matrix.header = header;
    matrix.stacks = header.stacks.map((stack, place) => ({...stack, image: images[place]}));
    root.replaceChildren(...matrix.stacks.map(buildStack));
    layOut();
    mark();
  };

  function buildStack(stack) {
    const {header} = matrix;
    const ramp = RAMP(header.ramp);
    const byRank = header.order === "rank";
    const perRow = stack.n_heads;
    const cells = byRank ? stack.cells.toSorted((a, b) => (b.tint ?? -Infinity) - (a.tint ?? -Infinity)) : stack.cells;
    stack.ordered = cells;
    stack.canvas = element("canvas", {"aria-hidden": "true"});
    stack.grid = element("div", {class: "grid", role: "grid", "aria-label": `${stack.title}: ${header.alt}`, "aria-rowcount": Math.ceil(cells.length / perRow)});
    stack.grid.append(stack.canvas);
    const top = element("div", {class: "heads", role: "row"}, element("span", {class: "corner"}));
    for (let head = 0; head < perRow; head++) top.append(element("span", {class: "label", role: "columnheader"}, byRank ? "" : `H${head}`));
    stack.grid.append(top);
    for (let start = 0; start < cells.length; start += perRow) {
      const row = element("div", {class: "row", role: "row"});
      row.append(element("span", {class: "label side", role: "rowheader"}, byRank ? `${start + 1}` : `L${cells[start].layer}`));
      for (const cell of cells.slice(start, start + perRow)) row.append(buildCell(stack, cell, ramp, byRank));
      stack.grid.append(row);
    }
    stack.grid.addEventListener("keydown", (event) => walk(stack, event));
    stack.scroll = element("div", {class: "scroll"}, stack.grid);
    const title = element("div", {class: "title"}, stack.title, element("span", {class: "quiet"}, ` ${stack.subtitle}`));
    return element("section", {"aria-label": stack.title}, title, stack.scroll);
  }

  function buildCell(stack, cell, ramp, byRank) {
    const made = element("div", {class: "cell", role: "gridcell", tabindex: "-1", "aria-label": describe(cell), "data-head": cell.name, "data-site": cell.site});
    made.cell = cell;
    cell.element = made;
    cell.stack = stack;
    const {tint} = matrix.header;
    if (tint && cell.tint !== null) made.style.setProperty("--frame", ramp((cell.tint - tint.low) / (tint.high - tint.low || 1)));
    if (byRank) made.append(element("span", {class: "name figure"}, cell.name));
    made.addEventListener("pointerenter", (event) => { look(cell); point(cell, event); });
    made.addEventListener("pointermove", (event) => point(cell, event));
    made.addEventListener("pointerleave", () => { tip.classList.remove("on"); look(null); });
    made.addEventListener("focus", () => look(cell));
    made.addEventListener("click", () => choose(cell));
    made.addEventListener("dblclick", () => matrix.send("open", place(cell)));
    return made;
  }

  const place = (cell) => ({site: cell.site, head: cell.head});
  const describe = (cell) => [cell.name, ...(cell.leading[0] ? [`${cell.leading[0].title.toLowerCase()} ${short(cell.leading[0].value)}`] : []),
    ...(cell.explains === null ? [] : [`explains ${percent(cell.explains)}`]),
    ...(matrix.header.tint && cell.tint !== null && matrix.header.tint.title !== cell.leading[0]?.title ? [`${matrix.header.tint.title.toLowerCase()} ${short(cell.tint)}`] : [])].join(" · ");

  function look(cell) {
    const shown = cell ?? find(matrix.selected);
    board().post("atlas.shown", shown ? {...shown, element: undefined, image: shown.stack.image, px: shown.stack.cell_px} : null);
    if (cell && document.activeElement) spoken.textContent = "";
  }

  function point(cell, event) {
    tip.textContent = describe(cell);
    tip.classList.add("on");
    const box = host.getBoundingClientRect();
    const left = Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 4);
    tip.style.transform = `translate(${Math.max(left, 0)}px, ${event.clientY - box.top + 18}px)`;
  }

  function choose(cell) {
    matrix.selected = cell ? place(cell) : null;
    mark();
    board().post("atlas.selected", matrix.selected);
    matrix.send("select", matrix.selected);
    spoken.textContent = cell ? `${cell.name} selected` : "Selection cleared";
  }

  function find(chosen) {
    if (!chosen) return null;
    for (const stack of matrix.stacks) for (const cell of stack.cells) if (cell.site === chosen.site && cell.head === chosen.head) return cell;
    return null;
  }

  function mark() {
    const chosen = find(matrix.selected);
    for (const stack of matrix.stacks) {
      const entry = chosen?.stack === stack ? chosen : stack.ordered[0];
      for (const cell of stack.cells) {
        cell.element.classList.toggle("chosen", cell === chosen);
        cell.element.setAttribute("aria-selected", cell === chosen);
        cell.element.tabIndex = cell === entry ? 0 : -1;
      }
    }
    look(null);
  }

  function walk(stack, event) {
    const at = stack.ordered.indexOf(event.target.cell);
    if (at < 0) return;
    const steps = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -stack.n_heads, ArrowDown: stack.n_heads, Home: -(at % stack.n_heads), End: stack.n_heads - 1 - (at % stack.n_heads)};
    if (event.key === "Enter") matrix.send("open", place(event.target.cell));
    else if (event.key === " ") choose(event.target.cell);
    else if (event.key === "Escape") choose(null);
    else if (event.key in steps) stack.ordered[at + steps[event.key]]?.element.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function layOut() {
    if (!matrix.header || !host.clientWidth) return;
    const byRank = matrix.header.order === "rank";
    const rows = matrix.stacks.reduce((sum, stack) => sum + Math.ceil(stack.cells.length / stack.n_heads), 0);
    const above = host.getBoundingClientRect().top + window.scrollY;
    const room = Math.max(window.innerHeight - Math.max(above, 100) - (matrix.header.tint ? 58 : 34) - matrix.stacks.length * (TOP + 34), 240);
    const widest = Math.max(...matrix.stacks.map((stack) => stack.n_heads));
    const extra = byRank ? NAME : 0;
    const fits = Math.min((host.clientWidth - LABEL - 8) / widest - GAP, room / rows - GAP - extra);
    const size = Math.floor(Math.min(Math.max(fits, SMALLEST), LARGEST));
    root.style.setProperty("--cell", `${size}px`);
    root.style.setProperty("--tall", `${size + extra}px`);
    for (const stack of matrix.stacks) paint(stack, size, extra);
  }

  function paint(stack, size, extra) {
    const ratio = window.devicePixelRatio || 1;
    const wide = stack.n_heads * (size + GAP), tall = Math.ceil(stack.cells.length / stack.n_heads) * (size + extra + GAP);
    stack.canvas.width = wide * ratio;
    stack.canvas.height = tall * ratio;
    Object.assign(stack.canvas.style, {width: `${wide}px`, height: `${tall}px`, left: `${LABEL}px`, top: `${TOP}px`});
    if (!stack.image) return;
    const context = stack.canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    const px = stack.cell_px;
    stack.ordered.forEach((cell, at) => {
      const x = (at % stack.n_heads) * (size + GAP), y = Math.floor(at / stack.n_heads) * (size + extra + GAP);
      context.drawImage(stack.image, cell.column * px, cell.row * px, px, px, x * ratio, y * ratio, size * ratio, size * ratio);
    });
    window.__qkAtlas.painted = {at: performance.now()};
  }

  return matrix;
}
