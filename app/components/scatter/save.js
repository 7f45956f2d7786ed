// The picture as a file: points, lines and labels as they are seen, with what they are and the legend round them.
function savePicture(scatter) {
  const {canvas, overlay, header, options} = scatter, dot = ratio(), [run, map] = header.view.split("|");
  const style = getComputedStyle(scatter.host), ink = style.getPropertyValue("--st-text-color"), ground = style.getPropertyValue("--st-background-color");
  const pad = 12 * dot, head = (header.caution ? 58 : 38) * dot, foot = 36 * dot;
  const sheet = element("canvas", {width: canvas.width, height: canvas.height + head + foot}), context = sheet.getContext("2d");
  context.fillStyle = ground;
  context.fillRect(0, 0, sheet.width, sheet.height);
  const font = (weight, size) => { context.font = `${weight} ${size * dot}px ${style.fontFamily}`; };
  const write = (words, x, y, tone = ink) => { context.fillStyle = tone; context.fillText(words, x, y); return x + context.measureText(words).width; };
  font(600, 16);
  const end = write(header.name, pad, 25 * dot);
  font(400, 12.5);
  write(`joint map ${map} · run ${run}`, end + pad, 25 * dot);
  if (header.caution) write(header.caution, pad, 47 * dot);
  scatter.paint();  // in this task: what WebGL has drawn is gone in the next
  for (const layer of [canvas, overlay]) context.drawImage(layer, 0, head);
  legend(canvas.height + head + 23 * dot);
  const name = [run, header.name, map].map((word) => word.replace(/[^\w.-]+/g, "-")).join("-");
  return new Promise((done) => sheet.toBlob((blob) => {
    const link = element("a", {href: URL.createObjectURL(blob), download: `${name}.png`});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    done(blob.size);
  }, "image/png"));

  function legend(y) {
    const {colour, palette} = header, swatch = 10 * dot, gap = 14 * dot;
    const plain = colour.kind === "kind" || options.draw === "patches";
    let x = write("●", pad, y, plain ? palette.query : ink);
    x = write("◆", write(" query", x, y) + gap, y, plain ? palette.key : ink);
    x = write(" key", x, y) + 2 * gap;
    if (colour.kind === "kind") return;
    font(600, 12.5);
    x = write(colour.title, x, y) + gap;
    font(400, 12.5);
    if (!colour.categories) {
      x = write(short(colour.low), x, y) + gap / 2;
      const bar = context.createLinearGradient(x, 0, x + 150 * dot, 0);
      colour.stops.forEach((stop, at) => bar.addColorStop(at / Math.max(colour.stops.length - 1, 1), stop));
      context.fillStyle = bar;
      context.fillRect(x, y - swatch, 150 * dot, 11 * dot);
      write(`${short(colour.high)} ${colour.unit ?? ""}`, x + 150 * dot + gap / 2, y);
      return;
    }
    for (const each of colour.categories) {
      const wide = swatch + 6 * dot + context.measureText(cut(each.name, 24)).width;
      if (x + wide > sheet.width - 2 * pad) { write("…", x, y); return; }
      context.fillStyle = each.colour;
      context.fillRect(x, y - swatch + dot, swatch, swatch);
      x = write(cut(each.name, 24), x + swatch + 6 * dot, y) + gap;
    }
  }
}
