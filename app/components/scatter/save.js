// The picture as a file: points, lines and labels as they are seen, with what they are and the legend round them.
function savePicture(scatter) {
  const {canvas, overlay, header, options} = scatter, dot = ratio(), [run, map] = header.view.split("|");
  const pad = 12 * dot, head = (header.caution ? 58 : 38) * dot, foot = 36 * dot;
  const {context, font, write, box, ramp, save} = makeSheet(scatter.host, canvas.width, canvas.height + head + foot, dot);
  font(600, 16);
  const end = write(header.name, pad, 25 * dot);
  font(400, 12.5);
  write(`joint map ${map} · run ${run}`, end + pad, 25 * dot);
  if (header.caution) write(header.caution, pad, 47 * dot);
  scatter.paint();  // in this task: what WebGL has drawn is gone in the next
  for (const layer of [canvas, overlay]) context.drawImage(layer, 0, head);
  legend(canvas.height + head + 23 * dot);
  return save([run, header.name, map]);

  function legend(y) {
    const {colour, palette} = header, swatch = 10 * dot, gap = 14 * dot;
    const plain = colour.kind === "kind" || options.draw === "patches";
    let x = write("●", pad, y, plain ? palette.query : undefined);
    x = write("◆", write(" query", x, y) + gap, y, plain ? palette.key : undefined);
    x = write(" key", x, y) + 2 * gap;
    if (colour.kind === "kind") return;
    font(600, 12.5);
    x = write(colour.title, x, y) + gap;
    font(400, 12.5);
    if (!colour.categories) {
      x = ramp(colour.stops, write(short(colour.low), x, y) + gap / 2, y - swatch, 150 * dot, 11 * dot);
      write(`${short(colour.high)} ${colour.unit ?? ""}`, x + gap / 2, y);
      return;
    }
    for (const each of colour.categories) {
      const name = cut(each.name, 24);
      if (x + swatch + 6 * dot + context.measureText(name).width > context.canvas.width - 2 * pad) { write("…", x, y); return; }
      x = write(name, box(each.colour, x, y - swatch + dot, swatch, swatch) + 6 * dot, y) + gap;
    }
  }
}
