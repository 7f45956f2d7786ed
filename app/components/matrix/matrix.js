// All heads of a run: one sprite per stack on a canvas, and over it a real grid of cells that the pointer, the
// keyboard and a screen reader can visit. Everything that hovering shows is already here: no rerun.
const GAP = 4, LABEL = 34, TOP = 20, TITLE = 24, SMALLEST = 30, LARGEST = 220, WIDEST = 1.7, NAME = 15, BELOW = 84;
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
  const matrix = {host, stacks: [], lines: [], header: null, wanted: null, selected: undefined, marks: null, send: null, returning: memory().run};
  const root = host.appendChild(element("div", {class: "matrix"}));
  const tip = host.appendChild(element("div", {class: "tip", "aria-hidden": "true"}));
  const spoken = host.appendChild(element("div", {class: "unseen", "aria-live": "polite"}));
  const legend = element("div", {class: "legend"});
  const page = host.getRootNode().host?.closest("[data-testid=stMain]");
  const forget = [
    board().listen("atlas.selected", (place) => { if (place !== undefined) { matrix.selected = place; mark(); comeBack(); } }),
    board().listen("atlas.marks", (marks) => { if (marks) { matrix.marks = memory().marks = marks; draw(); } }),
  ];
  const resized = new ResizeObserver(() => layOut());
  for (const each of [host, page?.firstElementChild]) if (each) resized.observe(each);
  window.addEventListener("resize", layOut);
  const pageScrolled = () => remember("page", page);
  page?.addEventListener("scroll", pageScrolled, {passive: true});
  matrix.leave = () => {
    for (const each of forget) each();
    resized.disconnect();
    window.removeEventListener("resize", layOut);
    page?.removeEventListener("scroll", pageScrolled);
    for (const subject of ["atlas.selected", "atlas.marks", "atlas.shown"]) board().post(subject, undefined);
  };

  matrix.show = (data) => {
    const {header, sections} = unpack(data);
    if (matrix.wanted === header.digest) return;
    matrix.wanted = header.digest;
    const {pictures} = memory();
    if (pictures.has(header.digest)) return build(header, pictures.get(header.digest));
    const sprites = header.stacks.map((stack) => sections[stack.sprite]);
    Promise.all(sprites.map((bytes) => bytes?.length ? createImageBitmap(new Blob([bytes], {type: "image/png"})) : null)).then((images) => {
      if (pictures.size > 3) pictures.delete(pictures.keys().next().value);
      pictures.set(header.digest, images);
      if (matrix.wanted === header.digest) build(header, images);
    });
  };

  function build(header, images) {
    const focused = root.getRootNode().activeElement?.cell, scrolls = matrix.stacks.map((stack) => [stack.scroll.scrollLeft, stack.scroll.scrollTop]);
    if (memory().run !== header.run) Object.assign(memory(), {run: header.run, scrolls: {}, opened: null, marks: null});
    matrix.marks ??= memory().marks;
    matrix.header = header;
    matrix.stacks = header.stacks.map((stack, place) => ({...stack, place, image: images[place], view: header.view}));
    matrix.lines = [];
    root.replaceChildren(...matrix.stacks.map(buildStack), legend);
    layOut();
    mark();
    matrix.stacks.forEach((stack, place) => { if (scrolls[place]) [stack.scroll.scrollLeft, stack.scroll.scrollTop] = scrolls[place]; });
    if (focused) find(focused)?.element.focus({preventScroll: true});
    comeBack();
  }

  function buildStack(stack) {
    const ramp = RAMP(matrix.header.ramp);
    stack.canvas = element("canvas", {"aria-hidden": "true"});
    stack.grid = element("div", {class: "grid", role: "grid", "aria-label": `${stack.title}: ${matrix.header.alt}`, "aria-rowcount": stack.rows.length});
    const top = element("div", {class: "heads", role: "row"}, element("span", {class: "corner"}));
    for (let head = 0; head < stack.n_columns; head++) top.append(element("span", {class: "label", role: "columnheader"}, stack.is_named ? "" : `H${head}`));
    stack.grid.append(stack.canvas, top);
    stack.rows.forEach(({label, hint, heads}, place) => {
      const row = element("div", {class: "row", role: "row"}, element("span", {class: "label side", role: "rowheader", title: hint}, label));
      const line = heads.map((index) => stack.cells[index]);
      line.forEach((cell, column) => { Object.assign(cell, {stack, column_at: column, row_at: place, line: matrix.lines.length}); row.append(buildCell(cell, ramp)); });
      matrix.lines.push(line);
      stack.grid.append(row);
    });
    stack.grid.addEventListener("keydown", walk);
    stack.scroll = element("div", {class: "scroll"}, stack.grid);
    stack.scroll.addEventListener("scroll", () => remember(stack.title, stack.scroll), {passive: true});
    const title = element("div", {class: "title"}, stack.title, element("span", {class: "quiet"}, ` ${stack.subtitle}`));
    return element("section", {"aria-label": stack.title}, title, stack.scroll);
  }

  function buildCell(cell, ramp) {
    const made = element("div", {class: "cell", role: "gridcell", tabindex: "-1", "aria-label": describe(cell), "data-head": cell.name, "data-site": cell.site});
    made.cell = cell;
    cell.element = made;
    const {tint} = matrix.header;
    if (tint && cell.tint !== null) made.style.setProperty("--frame", ramp((cell.tint - tint.low) / (tint.high - tint.low || 1)));
    if (cell.stack.is_named) made.append(element("span", {class: "name figure"}, cell.name));
    made.addEventListener("pointerenter", (event) => { look(cell); point(cell, event.clientX, event.clientY); });
    made.addEventListener("pointermove", (event) => point(cell, event.clientX, event.clientY));
    made.addEventListener("pointerleave", () => { tip.classList.remove("on"); look(null); });
    made.addEventListener("focus", () => { look(cell); if (made.matches(":focus-visible")) pointAt(cell); });
    made.addEventListener("blur", () => tip.classList.remove("on"));
    made.addEventListener("click", () => choose(cell));
    made.addEventListener("dblclick", () => open(cell));
    return made;
  }

  const place = (cell) => ({site: cell.site, head: cell.head});
  const describe = (cell) => [cell.name, ...(cell.leading[0] ? [`${within(cell.leading[0].title)} ${short(cell.leading[0].value)}`] : []),
    ...(cell.explains === null ? [] : [`explains ${percent(cell.explains)}`]), ...(cell.hidden === null ? [] : [`${percent(cell.hidden)} hidden`]),
    ...(matrix.header.tint && cell.tint !== null && matrix.header.tint.title !== cell.leading[0]?.title ? [`${within(matrix.header.tint.title)} ${short(cell.tint)}`] : [])].join(" · ");

  function look(cell) {
    board().post("atlas.shown", cell ?? find(matrix.selected));
    if (cell) spoken.textContent = "";
  }

  function point(cell, x, y) {
    tip.textContent = describe(cell);
    tip.classList.add("on");
    const box = host.getBoundingClientRect();
    const left = Math.min(x - box.left + 14, box.width - tip.offsetWidth - 4);
    tip.style.transform = `translate(${Math.max(left, 0)}px, ${y - box.top + 18}px)`;
  }

  function pointAt(cell) {
    const box = cell.element.getBoundingClientRect();
    point(cell, box.left - 14, box.bottom - 12);
  }

  function choose(cell) {
    matrix.selected = cell ? place(cell) : null;
    mark();
    board().post("atlas.selected", matrix.selected);
    matrix.send("select", matrix.selected);
    spoken.textContent = cell ? `${cell.name} selected` : "Selection cleared";
  }

  function open(cell) {
    memory().opened = place(cell);
    matrix.send("open", place(cell));
  }

  function find(chosen) {
    if (!chosen) return null;
    for (const line of matrix.lines) for (const cell of line) if (cell.site === chosen.site && cell.head === chosen.head) return cell;
    return null;
  }

  function mark() {
    const chosen = find(matrix.selected);
    for (const stack of matrix.stacks) {
      const entry = chosen?.stack === stack ? chosen : stack.cells[stack.rows[0].heads[0]];
      for (const cell of stack.cells) {
        cell.element.classList.toggle("chosen", cell === chosen);
        cell.element.setAttribute("aria-selected", cell === chosen);
        cell.element.tabIndex = cell === entry ? 0 : -1;
      }
    }
    look(null);
  }

  function remember(where, scroller) {
    if (matrix.header && matrix.returning === undefined) memory().scrolls[where] = [scroller.scrollLeft, scroller.scrollTop];
  }

  // Another view was shown in between: everything scrolls to where it was, and the head that was left has the focus.
  function comeBack() {
    if (!matrix.header || matrix.selected === undefined || matrix.returning === undefined) return;
    const {scrolls, opened} = memory(), isReturn = matrix.returning === matrix.header.run;
    matrix.returning = undefined;
    if (!isReturn) return;
    const scrollers = [["page", page], ...matrix.stacks.map((stack) => [stack.title, stack.scroll])];
    for (const [where, scroller] of scrollers) if (scroller && scrolls[where]) [scroller.scrollLeft, scroller.scrollTop] = scrolls[where];
    const cell = find(matrix.selected ?? opened);
    if (document.activeElement?.tagName !== "INPUT") cell?.element.focus({preventScroll: true});
    cell?.element.scrollIntoView({block: "nearest", inline: "nearest"});
  }

  function walk(event) {
    const {cell} = event.target, line = matrix.lines[cell?.line];
    if (!line) return;
    const beside = (lines, column) => { const to = matrix.lines[cell.line + lines]; return to?.[Math.min(column, to.length - 1)]; };
    const to = {
      ArrowLeft: () => line[cell.column_at - 1] ?? beside(-1, Infinity), ArrowRight: () => line[cell.column_at + 1] ?? beside(1, 0),
      ArrowUp: () => beside(-1, cell.column_at), ArrowDown: () => beside(1, cell.column_at), Home: () => line[0], End: () => line.at(-1),
    };
    if (event.key === "Enter") open(cell);
    else if (event.key === " ") choose(cell);
    else if (event.key === "Escape") choose(null);
    else if (event.key in to) to[event.key]()?.element.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function layOut() {
    if (!matrix.header || !host.clientWidth) return;
    const extra = matrix.stacks.some((stack) => stack.is_named) ? NAME : 0;
    const rows = matrix.stacks.reduce((sum, stack) => sum + stack.rows.length, 0);
    const above = host.getBoundingClientRect().top + (page?.scrollTop ?? 0);
    const room = Math.max(window.innerHeight - above - BELOW - matrix.stacks.length * (TOP + TITLE), 240);
    const columns = Math.max(...matrix.stacks.map((stack) => stack.n_columns));
    const clamp = (low, value, high) => Math.floor(Math.min(Math.max(value, low), high));
    const wide = (host.clientWidth - LABEL) / columns - GAP, high = room / rows - GAP - extra;
    const tall = clamp(SMALLEST, Math.min(wide, high), LARGEST);
    const size = {tall, extra, wide: clamp(tall, wide, tall * WIDEST), of: matrix.header.digest};
    if (JSON.stringify(size) === JSON.stringify(matrix.size)) return;
    matrix.size = size;
    root.style.setProperty("--wide", `${matrix.size.wide}px`);
    root.style.setProperty("--tall", `${tall}px`);
    root.style.setProperty("--extra", `${extra}px`);
    draw();
  }

  function draw() {
    if (!matrix.header || !matrix.size) return;
    const save = (form) => { const title = `Save the picture of all heads (${form.toUpperCase()})`; return element("button", {type: "button", class: "save", title, "aria-label": title, onclick: () => saveMatrix(matrix, RAMP(matrix.header.ramp), form)}, `↓ ${form.toUpperCase()}`); };
    legend.replaceChildren(...legendParts(matrix.header, matrix.marks?.view === matrix.header.view ? matrix.marks : null), element("span", {class: "saves"}, save("png"), save("svg")));
    for (const stack of matrix.stacks) paint(stack);
    board().painted = {at: performance.now(), marks: matrix.marks?.key ?? null, digest: matrix.header.digest};
  }

  function paint(stack) {
    const {tall, wide, extra} = matrix.size, ratio = window.devicePixelRatio || 1;
    const across = stack.n_columns * (wide + GAP), down = stack.rows.length * (tall + extra + GAP);
    if (stack.canvas.width !== Math.round(across * ratio) || stack.canvas.height !== Math.round(down * ratio)) {
      Object.assign(stack.canvas, {width: Math.round(across * ratio), height: Math.round(down * ratio)});
      Object.assign(stack.canvas.style, {width: `${across}px`, height: `${down}px`, left: `${LABEL}px`, top: `${TOP}px`});
    }
    const places = stack.cells.filter((cell) => cell.element).map((cell) => ({
      cell, size: tall * ratio, x: (cell.column_at * (wide + GAP) + (wide - tall) / 2) * ratio, y: cell.row_at * (tall + extra + GAP) * ratio,
    }));
    // Read often or not: this keeps the canvas off the graphics process, which is quicker for many small pictures.
    drawCells(stack.canvas.getContext("2d", {willReadFrequently: true}), stack, matrix.marks, places);
  }

  return matrix;
}
