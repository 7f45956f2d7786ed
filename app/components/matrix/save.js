// All heads as a file, at twice the size they are seen at, with the names of layers and heads and the legend.
const SHARPER = 2;

function saveMatrix(matrix, ramp, form) {
  const {header, stacks, marks, size: {tall, wide, extra}} = matrix, dot = SHARPER, pad = 12 * dot;
  const columns = Math.max(...stacks.map((stack) => stack.n_columns)), down = (stack) => stack.rows.length * (tall + extra + GAP);
  const width = Math.max(2 * pad + (LABEL + columns * (wide + GAP)) * dot, 640 * dot);
  const height = (34 + stacks.reduce((sum, stack) => sum + TITLE + TOP + down(stack) + 8, 0) + 34) * dot;
  const {context, font, write, box, ramp: bar, save} = makeSheet(matrix.host, width, height, dot, form);
  font(600, 16);
  const end = write("All heads", pad, 23 * dot);
  font(400, 12.5);
  write(`${header.map_name ? `joint map ${header.map_name} · ` : ""}run ${header.run}`, end + pad, 23 * dot);
  let y = 34 * dot;
  for (const stack of stacks) {
    font(600, 12.5);
    write(`${stack.title} ${stack.subtitle}`, pad, y + 15 * dot);
    font(400, 11);
    y += TITLE * dot;
    const left = pad + LABEL * dot, top = y + TOP * dot;
    if (!stack.is_named) for (let head = 0; head < stack.n_columns; head++) centred(`H${head}`, left + (head * (wide + GAP) + wide / 2) * dot, top - 6 * dot);
    stack.rows.forEach(({label}, row) => write(label, pad, top + (row * (tall + extra + GAP) + tall / 2 + 4) * dot));
    const cells = stack.cells.filter((cell) => cell.element).map((cell) => ({cell, size: tall * dot, x: (cell.column_at * (wide + GAP) + (wide - tall) / 2) * dot, y: cell.row_at * (tall + extra + GAP) * dot}));
    const picture = element("canvas", {width: stack.n_columns * (wide + GAP) * dot, height: down(stack) * dot});
    drawCells(picture.getContext("2d"), stack, marks, cells);
    context.drawImage(picture, left, top);
    for (const {cell, y: at} of cells) {
      const x = left + cell.column_at * (wide + GAP) * dot;
      frame(cell, x, top + at);
      if (stack.is_named) centred(cell.name, x + wide * dot / 2, top + at + (tall + 12) * dot);
    }
    y = top + (down(stack) + 8) * dot;
  }
  font(400, 12.5);
  legend(y + 18 * dot);
  return save([header.run, "all-heads", header.map_name ?? "without-a-map"]);

  function centred(words, x, at) { write(words, x - context.measureText(words).width / 2, at); }

  function frame(cell, x, at) {
    const {tint} = header, isTinted = tint && cell.tint !== null, line = (isTinted ? 2.5 : 1) * dot;
    context.strokeStyle = isTinted ? ramp((cell.tint - tint.low) / (tint.high - tint.low || 1)) : "#8A909966";
    context.lineWidth = line;
    context.strokeRect(x + line / 2, at + line / 2, wide * dot - line, tall * dot - line);
  }

  function legend(at) {
    const {legend: colours, tint} = header, gap = 14 * dot;
    let x = pad;
    if (marks?.view === header.view && marks?.title) {
      x = write(`${marks.title}: ${marks.n.toLocaleString("en")} queries, as many keys; the rest is grey`, x, at) + gap;
    } else if (colours?.categories) {
      if (colours.kind !== "kind") x = write(colours.title, x, at) + gap;
      for (const each of colours.categories) x = write(each.name, box(each.colour, x, at - 9 * dot, 10 * dot, 10 * dot) + 6 * dot, at) + gap;
    } else if (colours) x = scale(colours.title, colours, colours.stops, x, at);
    if (tint) scale(`Frame: ${within(tint.title)}`, tint, header.ramp, x + gap, at);
  }

  function scale(title, {low, high, unit}, stops, from, at) {
    const x = bar(stops, write(`${title}  ${short(low)}`, from, at) + 6 * dot, at - 9 * dot, 96 * dot, 9 * dot);
    return write(`${short(high)} ${unit ?? ""}`, x + 6 * dot, at) + 14 * dot;
  }
}
