// The picture as a file: points, lines and labels as they are seen, with what they are and the legend round them. In an
// SVG more points than these, and patches, are a picture in it; words and lines are words and lines all the same.
const MOST_SHAPES = 40_000;

function savePicture(scatter, form) {
  const {canvas, overlay, header, options} = scatter, dot = ratio(), [run, map] = header.view.split("|");
  const pad = 12 * dot, head = (header.caution ? 58 : 38) * dot, foot = 36 * dot;
  const {context, font, write, box, ramp, save} = makeSheet(scatter.host, canvas.width, canvas.height + head + foot, dot, form);
  font(600, 16);
  const end = write(header.name, pad, 25 * dot);
  font(400, 12.5);
  write(`joint map ${map} · run ${run}`, end + pad, 25 * dot);
  if (header.caution) write(header.caution, pad, 47 * dot);
  scatter.paint();  // in this task: what WebGL has drawn is gone in the next
  if (form === "svg") vectors();
  else for (const layer of [canvas, overlay]) context.drawImage(layer, 0, head);
  legend(canvas.height + head + 23 * dot);
  return save([run, header.name, map]);

  function vectors() {
    context.enter(0, head, canvas.width, canvas.height);
    if (2 * scatter.data.n > MOST_SHAPES || scatter.host.dataset.patches) context.drawImage(canvas, 0, 0);
    else shapes();
    scatter.pen = context;
    scatter.decorate();
    scatter.pen = null;
    context.leave();
  }

  // Queries as discs, keys as diamonds, those that stand out above the others.
  function shapes() {
    const {points, states, steps, pixels, factors, n} = scatter.data, {wide, opacity} = scatter.pointLook();
    for (const strong of [false, true]) {
      for (let at = 0; at < 2 * n; at++) {
        if (states[at] > 0.4 !== strong) continue;
        const [x, y] = seen(scatter.camera, points, at).map((value, axis) => value + [canvas.width, canvas.height][axis] / 2), reach = wide / 2 * (factors ? factors[at] : 1), step = Math.round(steps[at]) * 4;
        if (x < -reach || y < -reach || x > canvas.width + reach || y > canvas.height + reach) continue;
        context.globalAlpha = states[at] < 0.1 ? TRACE : states[at] < 0.4 ? DIMMED : states[at] < 0.8 ? HALF : opacity;
        context.fillStyle = step < 0 ? "#8A9099" : `rgb(${pixels[step]},${pixels[step + 1]},${pixels[step + 2]})`;
        context.beginPath();
        if (at < n) context.arc(x, y, reach);
        else { for (const [dx, dy] of [[0, -1], [1, 0], [0, 1], [-1, 0]]) context.lineTo(x + dx * reach * 1.2, y + dy * reach * 1.2); context.closePath(); }
        context.fill();
      }
    }
    context.globalAlpha = 1;
  }

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
