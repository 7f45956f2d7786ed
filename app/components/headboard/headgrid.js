// The grid of heads alone: hovering needs no rerun, a pick shows at once, double click or Enter opens.
export default function (component) {
  const {header} = unpack(component.data);
  const place = mount(component.parentElement, build);
  place.send = component.setTriggerValue;
  place.show(header);
}

function build(host) {
  const board = {header: null, picked: null, several: [], hot: null, send: null, asked: 0, smallest: 9};
  const grid = makeGrid(board), tip = makeTip(host), spoken = element("div", {class: "unseen", "aria-live": "polite"});
  host.append(grid.root, tip.root, spoken);

  board.show = (header) => {
    const isSame = board.header?.digest === header.digest, isOther = board.header?.heads.length !== header.heads.length;
    board.header = header;
    // An answer to an earlier choice does not undo what was chosen since.
    if (isOther || header.answered >= board.asked) Object.assign(board, {picked: header.picked, asked: header.answered});
    if (isSame) return grid.mark();
    board.hot = null;
    tip.forget();
    layOut();
  };

  board.look = (row, event) => {
    if (board.hot !== row) { board.hot = row; grid.mark(); }
    if (row === null) return tip.hide();
    tip.show(board.header.heads[row].says, grid.cells[row], event);
  };

  function pick(row, said) {
    board.picked = row;
    grid.mark();
    spoken.textContent = said;
    board.asked += 1;
    board.send("pick", {row, asked: board.asked});
  }

  board.choose = (row) => pick(row, `${board.header.heads[row].name} picked`);
  board.letGo = () => pick(null, "Selection cleared");
  board.open = (row) => board.send("open", {row});

  function layOut() {
    if (!board.header || !host.clientWidth) return;
    grid.root.style.maxHeight = `${board.header.high}px`;
    grid.draw(host.clientWidth, board.header.high);
  }

  new ResizeObserver(layOut).observe(host);
  return board;
}
