// Thumbnails of heads as they are drawn on any canvas: their part of the sprite, over it what is marked or picked.
const DIMMED = "#8A9099", PICKED = "#D55E00", TONES = ["#009E73", "#CC3399"], NOWHERE = 65535;

// What this page of the browser remembers of the atlas while another view is shown.
function memory() {
  board().atlas ??= {pictures: new Map(), scrolls: {}, run: null, opened: null, marks: null};
  return board().atlas;
}

// places: [{cell, x, y, size}] in pixels of the canvas; every cell belongs to `stack`.
function drawCells(context, stack, marks, places) {
  const px = stack.cell_px, {width, height} = context.canvas;
  if (marks?.view !== stack.view) marks = null;
  const part = (image, {cell, x, y, size}) => context.drawImage(image, cell.column * px, cell.row * px, px, px, x, y, size, size);
  context.clearRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  if (stack.image) {
    context.globalAlpha = marks?.title ? 0.32 : 1;
    for (const place of places) part(stack.image, place);
    context.globalAlpha = 1;
    if (marks?.title) {
      context.globalCompositeOperation = "source-atop";
      context.fillStyle = DIMMED;
      context.fillRect(0, 0, width, height);
      context.globalCompositeOperation = "source-over";
    }
  }
  const lit = marks?.images?.[stack.place];
  if (lit) for (const place of places) part(lit, place);
  const picked = marks?.picked?.[stack.place];
  if (picked?.length) for (const place of places) drawPicked(context, stack, picked, place);
}

// The picked token: its query as a ring, its key as a square, both around the colour of their kind.
function drawPicked(context, stack, picked, {cell, x, y, size}) {
  const px = stack.cell_px, scale = size / px, radius = Math.max(2.6, size / 24) * (size > 150 ? 0.8 : 1);
  for (const kind of [1, 0]) {
    const pixel = picked[(cell.row * stack.n_columns + cell.column) * 2 + kind];
    if (pixel === undefined || pixel === NOWHERE) continue;
    outline(context, kind, x + ((pixel % px) + 0.5) * scale, y + (Math.floor(pixel / px) + 0.5) * scale, radius);
  }
}

function outline(context, kind, x, y, radius) {
  context.beginPath();
  if (kind === 0) context.arc(x, y, radius, 0, 2 * Math.PI);
  else context.rect(x - radius * 0.88, y - radius * 0.88, radius * 1.76, radius * 1.76);
  context.fillStyle = TONES[kind];
  context.strokeStyle = PICKED;
  context.lineWidth = Math.max(radius * 0.55, 1.5);
  context.fill();
  context.stroke();
}
