// Scatter of heads on the left, grid of one measure on the right. Hovering needs no rerun; a pick shows at once.
const LEAST = 330, MOST = 620, BELOW = 84, STACKED = 700;

export default function (component) {
  const {header} = unpack(component.data);
  const place = mount(component.parentElement, build);
  place.send = component.setTriggerValue;
  place.show(header);
}

function build(host) {
  const board = {header: null, picked: null, several: [], hot: null, send: null, asked: 0};
  const plot = makePlot(board), grid = makeGrid(board);
  const tip = makeTip(host), spoken = element("div", {class: "unseen", "aria-live": "polite"});
  const both = element("div", {class: "both"}, element("div", {class: "left"}, plot.svg), element("div", {class: "right"}, grid.root));
  const legend = element("div", {class: "legend"});
  host.append(both, legend, tip.root, spoken);

  board.show = (header) => {
    const isSame = board.header?.digest === header.digest, isOther = board.header?.heads.length !== header.heads.length;
    board.header = header;
    // An answer to an earlier choice does not undo what was chosen since.
    if (isOther || header.answered >= board.asked) Object.assign(board, {picked: header.picked, several: header.several, asked: header.answered});
    if (isSame) return mark();
    board.hot = null;
    tip.forget();
    layOut(true);
    legend.replaceChildren(...legendParts(header));
  };

  function tell(what, value) {
    board.asked += 1;
    board.send(what, {...value, asked: board.asked});
  }

  board.look = (row, event) => {
    if (board.hot !== row) { board.hot = row; plot.mark(); grid.mark(); }
    if (row === null) return tip.hide();
    tip.show(board.header.heads[row].says, grid.cells[row], event);
  };

  board.choose = (row, event) => {
    if (event?.shiftKey || event?.ctrlKey || event?.metaKey) {
      const first = board.several.length || board.picked === null || board.picked === row ? [] : [board.picked];
      const held = [...board.several, ...first];
      return board.compare(held.includes(row) ? held.filter((each) => each !== row) : [...held, row]);
    }
    board.picked = row;
    mark();
    spoken.textContent = `${board.header.heads[row].name} picked`;
    tell("pick", {row});
  };

  board.compare = (rows) => {
    board.several = rows;
    mark();
    spoken.textContent = rows.length === 1 ? "1 head to compare" : `${rows.length} heads to compare`;
    tell("several", {rows});
  };

  board.open = (row) => board.send("open", {row});

  board.letGo = () => {
    if (board.several.length) return board.compare([]);
    board.picked = null;
    mark();
    spoken.textContent = "Selection cleared";
    tell("pick", {row: null});
  };

  function mark() {
    plot.mark();
    grid.mark();
  }

  function layOut(anew = false) {
    if (!board.header || !host.clientWidth) return;
    const page = host.getRootNode().host?.closest("[data-testid=stMain]");
    const above = host.getBoundingClientRect().top + (page?.scrollTop ?? 0);
    const high = Math.round(Math.min(Math.max(window.innerHeight - above - BELOW, LEAST), MOST));
    const isNarrow = host.clientWidth < STACKED;
    const left = isNarrow ? host.clientWidth : Math.round(host.clientWidth * 0.47);
    const size = `${host.clientWidth} ${high}`;
    if (!anew && size === board.size) return;
    board.size = size;
    both.classList.toggle("narrow", isNarrow);
    both.style.gridTemplateColumns = isNarrow ? "100%" : `${left}px minmax(0, 1fr)`;
    both.style.minHeight = `${high}px`;
    grid.root.style.maxHeight = `${high}px`;
    plot.draw(left, high);
    grid.draw(isNarrow ? host.clientWidth : host.clientWidth - left - 16, high);
  }

  new ResizeObserver(() => layOut()).observe(host);
  host.addEventListener("keydown", (event) => { if (event.key === "Escape") board.letGo(); });
  return board;
}

function legendParts(header) {
  const parts = [ramp(header.shades, header.legend ? "cells" : "cells and dots")];
  if (header.legend?.stops) parts.push(ramp(header.legend, "dots"));
  else if (header.legend) parts.push(element("span", {class: "key"}, element("span", {class: "quiet"}, `dots: ${header.legend.title}`),
    header.legend.names.map(([name, colour]) => element("span", {class: "key"}, element("span", {class: "swatch", style: {background: colour}}), name))));
  if (header.note) parts.push(element("span", {class: "quiet"}, header.note));
  return parts;
}

function ramp({title, unit, high, ticks, stops}, what) {
  const bar = element("span", {class: "ramp", style: {background: `linear-gradient(90deg, ${stops.join(", ")})`}});
  const words = [unit, high && `high = ${high}`].filter(Boolean).join("; ");
  return element("span", {class: "key"}, element("span", {class: "quiet"}, `${what}:`), element("span", {}, title),
    element("span", {class: "figure"}, ticks[0]), bar, element("span", {class: "figure"}, ticks.at(-1)), element("span", {class: "quiet words"}, words));
}
