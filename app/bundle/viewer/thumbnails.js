// What is drawn anew in the small maps of all heads: `marked_cells`, `coloured_cells` of app/charts/atlas_sprite.py.
const NOWHERE = 65535, DOT_SHARE = 0.02, LIT_TONES = [[0, 0, 0, 0], [0, 158, 115, 255], [204, 51, 153, 255], [102, 104, 134, 255]];

// The message by which the matrix and the card show what is marked and picked.
async function litHeads(state, about, header) {
  const {marks, input, token} = state, {view} = header, plain = {title: null, n: 0, key: "", token: null, images: [], picked: [], view};
  if (!marks && token === null) return plain;
  const tokens = await load("tokens"), {n} = tokens.header, row = token === null ? null : rowsOf(tokens, input.id)[0] + token;
  const named = {...plain, ...(marks ? {title: marks.title, n: marks.n, key: marks.key} : {}), token: row === null ? null : textAtRow(tokens, row)};
  if (state.map === null) return named;
  const {sections} = await load(`pixels/${state.map}`), rows = marks ? [...marks.flags.keys()].filter((at) => marks.flags[at]) : [];
  const pixelsOf = (cell) => sections[`site${about.sites.find((site) => site.label === cell.site).index}`].subarray(2 * n * cell.head, 2 * n * (cell.head + 1));
  return {...named,
    images: header.stacks.map((stack) => (rows.length && stack.cell_px ? spriteOf(stack, (cell) => litCell(pixelsOf(cell), rows, n, stack.cell_px)) : null)),
    picked: header.stacks.map((stack) => (row === null ? new Uint16Array() : pickedOf(stack, pixelsOf, [row, n + row])))};
}

// Pixels of one token's query and key in every cell, row by row.
function pickedOf(stack, pixelsOf, points) {
  const places = new Uint16Array(2 * stack.n_columns * (Math.max(...stack.cells.map((cell) => cell.row)) + 1)).fill(NOWHERE);
  for (const cell of stack.cells) places.set(points.map((point) => pixelsOf(cell)[point]), 2 * (cell.row * stack.n_columns + cell.column));
  return places;
}

// Colours of a cell's pixels, four bytes each; few points are drawn larger.
function litCell(pixels, rows, n, px) {
  let cells = new Uint8Array(px * px);
  for (const row of rows) for (const kind of [0, 1]) {
    const place = pixels[kind * n + row];
    if (place !== NOWHERE) cells[place] |= 1 << kind;
  }
  if (rows.length < DOT_SHARE * px * px) cells = asDots(cells, px);
  const tones = new Uint8ClampedArray(4 * px * px);
  cells.forEach((tone, at) => { if (tone) tones.set(LIT_TONES[tone], 4 * at); });
  return tones;
}

function asDots(cells, px) {
  return cells.map((tone, at) => tone | (at >= px ? cells[at - px] : 0) | (at + px < cells.length ? cells[at + px] : 0)
    | (at % px ? cells[at - 1] : 0) | ((at + 1) % px ? cells[at + 1] : 0));
}

// All cells of a stack in the places of its sprite.
function spriteOf(stack, tonesOf) {
  const px = stack.cell_px, tall = Math.max(...stack.cells.map((cell) => cell.row)) + 1, canvas = element("canvas", {width: px * stack.n_columns, height: px * tall}), context = canvas.getContext("2d");
  for (const cell of stack.cells) context.putImageData(new ImageData(tonesOf(cell), px, px), px * cell.column, px * cell.row);
  return canvas;
}

// The grid of all heads in the colours the link asks for; those by position modulo a number are drawn here.
async function thumbnailsOf({map, colour}, about) {
  const known = about.colours.findIndex(([name]) => name === colour), cycle = cycleOf(colour), message = await load(`atlas/${map ?? 0}-${map === null || cycle ? 0 : known}`);
  if (!cycle || map === null) return message;
  const tokens = await load("tokens"), {n} = tokens.header, {sections: pixels} = await load(`pixels/${map}`), coloured = coloursOf(tokens, about, colour), tones = rampTones(coloured.header.stops), sections = {};
  const codes = Uint8Array.from(coloured.values, (value) => Math.min(Math.floor(value / cycle * TONES_OF_RAMP), TONES_OF_RAMP - 1));
  for (const [place, stack] of message.header.stacks.entries()) {
    const pixelsOf = (cell) => pixels[`site${about.sites.find((site) => site.label === cell.site).index}`].subarray(2 * n * cell.head, 2 * n * (cell.head + 1));
    sections[`sprite${place}`] = stack.cell_px ? await pngOf(spriteOf(stack, (cell) => circleCell(pixelsOf(cell), codes, tones, stack.cell_px))) : new Uint8Array();
  }
  return {header: {...message.header, legend: coloured.header, digest: `${message.header.digest} ${colour}`}, sections};
}

// Where several points share a pixel it shows their mean along the circle; more points make it less transparent.
const TONES_OF_RAMP = 24, LEVELS = 6;

function circleCell(pixels, codes, tones, px) {
  const counts = new Uint32Array(px * px), across = new Float64Array(px * px), up = new Float64Array(px * px), drawn = new Uint8ClampedArray(4 * px * px);
  pixels.forEach((place, point) => {
    if (place === NOWHERE) return;
    const angle = 2 * Math.PI * (codes[point] + 0.5) / TONES_OF_RAMP;
    counts[place] += 1;
    across[place] += Math.cos(angle);
    up[place] += Math.sin(angle);
  });
  counts.forEach((count_, place) => {
    if (!count_) return;
    const turn = Math.atan2(up[place], across[place]) / (2 * Math.PI), tone = Math.min(Math.floor((turn - Math.floor(turn)) * TONES_OF_RAMP), TONES_OF_RAMP - 1), level = Math.min(Math.ceil(Math.log2(count_ + 1)), LEVELS - 1);
    drawn.set([...tones[tone], Math.round(255 * (0.45 + 0.55 * (level - 1) / (LEVELS - 2)))], 4 * place);
  });
  return drawn;
}

const rampTones = (stops) => Array.from({length: TONES_OF_RAMP}, (_, at) => rampColour(stops)(at / (TONES_OF_RAMP - 1)));
