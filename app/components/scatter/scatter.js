// One head: all its queries and keys. Pan, zoom (and turn, in 3-D), tooltip, pick, lasso, lines of attention, legend.
const STILL = 4;

export default function (component) {
  const scatter = mount(component.parentElement, makeScatter);
  scatter.send = component.setTriggerValue;
  scatter.show(component.data);
  return scatter.leave;
}

function makeScatter(host) {
  const scatter = {host, header: null, data: null, picked: null, start: null, hovered: null, listed: null, links: [], also: [], marks: null, lasso: null, said: "",
    extra: null, echo: null, told: new Map(), armed: false, drawing: null, gliding: false, version: 0, options: {lines: "top12", labels: "off", draw: "points"}, send: null};
  scatter.canvas = element("canvas", {class: "points"});
  scatter.overlay = element("canvas", {class: "overlay"});
  scatter.stage = element("div", {class: "stage", tabindex: "0", role: "application"}, scatter.canvas, scatter.overlay);
  const {stage} = scatter;
  const camera = scatter.camera = makeCamera(scatter), link = makeCameraLink(scatter), glide = makeGlide(scatter), lasso = makeLasso(scatter);
  const tip = makeTip(scatter), legend = makeLegend(scatter), bar = makeBar(scatter), spoken = element("div", {class: "unseen", "aria-live": "polite"});
  scatter.filters = makeFilters();
  scatter.decorate = makeOverlay(scatter);
  stage.append(tip.tip, bar.root, bar.tools, bar.warning);
  host.append(stage, legend.root, spoken);
  let waiting = false, drag = null, round = [];
  const extras = new Map();

  const forget = [
    board().listen("head.picked", (message) => { remember(message); if (message?.view === scatter.header?.view) hear(message); }),
    // What is pointed at on the other of two maps is ringed here too.
    board().listen("head.hovered", (message) => { scatter.echo = message && message.view !== scatter.header?.view ? message.point : null; host.dataset.echo = scatter.echo ?? ""; if (scatter.data) scatter.decorate(); }),
    board().listen("head.listed", (point) => { scatter.listed = point; scatter.decorate(); }),
    board().listen("head.extra", (extra) => { if (extra) extras.set(extra.header.view, extra); know(); }),
    board().listen("head.patches", () => cover()),
  ];
  const resized = new ResizeObserver(() => { camera.fit(false); redraw(); });
  resized.observe(stage);
  document.addEventListener("keydown", pressed);
  scatter.leave = () => { forget.forEach((stop) => stop()); resized.disconnect(); document.removeEventListener("keydown", pressed); scatter.drawer?.leave(); link.leave(); };

  // Where a point is on the screen: for whoever drives the page from outside (tests, a tour).
  const outside = ([x, y]) => { const box = stage.getBoundingClientRect(); return [box.left + box.width / 2 + x / ratio(), box.top + box.height / 2 + y / ratio()]; };
  const where = (point) => outside(seenPoint(scatter, point));
  board().whereOn ??= {};
  const lead = () => Object.assign(board(), {where, fresh: (point) => outside(seen(camera, scatter.data.fresh, point)), states: () => [...scatter.data.states], labelled: () => scatter.labelled ?? [], factors: () => (scatter.data.factors ? [...scatter.data.factors] : null)});

  scatter.show = (message) => {
    stage.classList.remove("waiting");
    const {header, sections} = unpack(message);
    if (scatter.header?.digest === header.digest) return;
    const samePlace = scatter.header?.frame === header.frame, old = glide.freeze();
    scatter.header = header;
    host.dataset.view = header.view;
    board().whereOn[header.side || "main"] = where;
    if (!header.side) lead();
    const data = scatter.data = {...sections, n: header.n, texts: header.texts, steps: rampSteps(sections.values, header.colour), pixels: rampPixels(header.colour)};
    data.points = spread(sections.places, header.dims);
    data.fresh = sections.fresh?.length ? spread(sections.fresh, header.dims) : null;
    data.kinds = new Float32Array(2 * header.n).fill(1, header.n);
    data.states = new Float32Array(2 * header.n).fill(1);
    data.factors = header.size ? sizeFactors(sections.sizes, header.size) : null;
    if (!samePlace) Object.assign(scatter, {picked: null, start: null, links: [], also: [], lasso: null});
    scatter.hovered = scatter.listed = null;
    tip.show(null);
    stage.setAttribute("aria-label", header.alt);
    scatter.drawer ??= makeDrawer(scatter.canvas);
    host.dataset.drawer = scatter.drawer.kind;
    scatter.drawer.load(data.points, data.steps, data.kinds, data.pixels);
    scatter.drawer.sizes(data.factors);
    cover();
    camera.fit(!samePlace);
    if (!samePlace) link.apply();
    if (scatter.told.has(header.view)) hear(scatter.told.get(header.view));
    else { scatter.filters.read({}, header.colour); bar.draw(); legend.draw(); mark(); }
    know();
    glide.start(old);
    if (!header.side) board().post("head.shown", {site: header.site, head: header.head});
  };

  // Norms and ties of the head shown; those of other heads are forgotten after a while.
  function know() {
    for (const old of [...extras.keys()].slice(0, -4)) extras.delete(old);
    scatter.extra = extras.get(scatter.header?.view) ?? null;
    host.dataset.extra = scatter.extra?.header.view ?? "";
    if (scatter.data) redraw();
  }

  // Points as the patches themselves, once the sheet of patches is here and asked for.
  async function cover() {
    const {data, header} = scatter, sheet = scatter.options.draw === "patches" ? board().read("head.patches") : null;
    if (!data || !header.has_patches || !sheet || sheet.header.run !== header.run) {
      scatter.drawer?.tiles(null);
      host.dataset.patches = "";
      return redraw();
    }
    sheet.picture ??= await createImageBitmap(new Blob([sheet.sections.sheet], {type: "image/jpeg"}));
    if (scatter.data !== data) return null;
    const places = new Float32Array(2 * data.n);
    places.set(sheet.sections.tiles);
    places.set(sheet.sections.tiles, data.n);
    scatter.drawer.tiles(sheet.picture, places, sheet.header.across, [header.palette.query, header.palette.key]);
    host.dataset.patches = sheet.header.shown;
    legend.draw();
    return redraw();
  }

  function pointSize() {
    const {n} = scatter.data, base = n <= 1000 ? 5.5 : n <= 5000 ? 4 : n <= 20000 ? 3 : 2.2;
    return Math.min(base * (camera.zoom / camera.fitted) ** 0.4, 13) * ratio();
  }

  const patchSize = () => Math.min(13 * (camera.zoom / camera.fitted) ** 0.6, 56) * ratio();
  scatter.patchReach = () => (host.dataset.patches ? patchSize() / 2 : 0);

  scatter.pointLook = () => ({wide: pointSize(), opacity: scatter.header.colour.kind === "kind" ? 0.62 : 0.8});

  scatter.paint = () => {
    const {wide, opacity} = scatter.pointLook();
    scatter.drawer.frame(camera, wide, opacity, patchSize());
    scatter.decorate();
  };

  function redraw() {
    if (waiting || !scatter.data) return;
    waiting = true;
    link.note();
    requestAnimationFrame(() => {
      waiting = false;
      const start = performance.now();
      scatter.paint();
      window.__qkAtlas.drawn = {at: performance.now(), ms: performance.now() - start, view: scatter.header.view};
    });
  }
  scatter.redraw = redraw;

  // ---- what is marked, picked and chosen, as the panel says it

  // Of two panels each tells of its own map, perhaps before the map is here.
  function remember(message) {
    scatter.told.delete(message?.view);
    scatter.told.set(message?.view, message);
    if (scatter.told.size > 4) scatter.told.delete(scatter.told.keys().next().value);
  }

  function hear(message) {
    const {header} = scatter;
    scatter.held = Boolean(message?.held);
    const before = scatter.options.draw;
    scatter.picked = message?.point ?? null;
    scatter.links = message?.links ?? [];
    scatter.start = message?.start ?? scatter.picked;
    scatter.also = message?.also ?? [];
    scatter.marks = message?.marks ? unpackBits(message.marks, header.n) : null;
    scatter.half = message?.half ? unpackBits(message.half, 2 * header.n) : null;
    scatter.said = message?.said ?? "";
    const told = message?.lasso ?? null;
    if (told?.turn && !isOneTurn(told.turn, scatter.lasso?.turn)) camera.turnTo(told.turn);  // seen as it was drawn
    scatter.lasso = told;
    scatter.options = {...scatter.options, ...message?.options};
    scatter.filters.read(scatter.options, header.colour);
    if (before !== scatter.options.draw) cover();
    bar.draw();
    legend.draw();
    mark();
  }

  function mark() {
    const {data, marks, half, filters, header} = scatter;
    if (!data) return;
    const {n, inputs, states, values} = data, filtered = filters.any(), {colour} = header;
    const mine = scatter.picked === null || marks ? null : new Set([scatter.picked, ...scatter.also.map((each) => each.start)].map((point) => (isNew(data, point) ? -1 : inputs[point % n])));
    for (let at = 0; at < 2 * n; at++) {
      const token = at < n ? at : at - n;
      if (filtered && filters.hides(at < n, values[at], colour)) states[at] = 0;
      else if (marks) states[at] = !marks[token] ? 0.25 : half && !half[at] ? 0.6 : 1;
      else states[at] = mine === null || mine.has(inputs[token]) ? 1 : 0.25;
    }
    scatter.drawer.marks(states);
    scatter.version += 1;
    redraw();
    if (scatter.links.length) window.__qkAtlas.linked = performance.now();
    host.dataset.picked = scatter.picked ?? "";
    host.dataset.links = JSON.stringify(scatter.links.map((each) => [each.point, each.weight]));
    host.dataset.also = JSON.stringify(scatter.also.map((fan) => [fan.start, fan.rows.map((each) => [each.point, each.weight])]));
  }
  scatter.mark = mark;

  // A choice is shown at once and told to the server, which puts it into the link.
  scatter.choose = (word, value) => {
    if (word !== "size") scatter.options = {...scatter.options, [word]: value};
    bar.draw();
    if (word === "draw") cover(); else redraw();
    scatter.send("choose", {[word]: value});
  };

  const isOneTurn = (turn, other) => Boolean(other) && turn.every((value, at) => Math.abs(value - other[at]) < 1e-4);
  scatter.sameTurn = (held) => held.turn === null || isOneTurn(held.turn, camera.turn);

  // ---- pointer

  const spot = (event) => {
    const box = stage.getBoundingClientRect();
    return [(event.clientX - box.left - box.width / 2) * ratio(), (event.clientY - box.top - box.height / 2) * ratio()];
  };

  stage.addEventListener("pointerdown", (event) => {
    if (event.target.closest(".tools, .top") || !scatter.data) return;
    const [x, y] = spot(event), flat = scatter.header.dims === 2;
    drag = {x, y, startX: x, startY: y, moved: false, shift: event.shiftKey, turning: !flat && !event.shiftKey && event.button === 0, draws: scatter.armed || (flat && event.shiftKey && scatter.hasLasso())};
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!scatter.data) return;
    const [x, y] = spot(event);
    if (!drag) { hover(event.target.closest(".tools, .top") ? null : nearest(scatter, x, y), x, y); return; }
    if (!drag.moved && Math.hypot(x - drag.startX, y - drag.startY) < STILL * ratio()) return;
    if (!drag.moved && drag.draws) lasso.begin(drag.startX, drag.startY);
    drag.moved = true;
    tip.tip.classList.remove("on");
    if (lasso.on()) { lasso.follow(x, y); return; }
    stage.classList.add("dragging");
    if (drag.turning) camera.turnBy(x - drag.x, y - drag.y);
    else { camera.x += x - drag.x; camera.y += y - drag.y; }
    Object.assign(drag, {x, y});
    redraw();
  });
  stage.addEventListener("pointerup", (event) => {
    const ended = drag;
    drag = null;
    stage.classList.remove("dragging");
    if (lasso.on()) { lasso.finish(); return; }
    if (!ended || ended.moved || !scatter.data) return;
    const point = nearest(scatter, ...spot(event));
    if (point !== null) pick(point, ended.shift);
  });
  stage.addEventListener("pointercancel", () => { drag = null; lasso.stop(); });
  stage.addEventListener("pointerleave", () => hover(null));
  stage.addEventListener("wheel", (event) => {
    if (!scatter.data) return;
    event.preventDefault();
    camera.zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...spot(event));
  }, {passive: false});

  function pick(point, further) {
    const {data} = scatter, {input, position, isQuery} = tokenOf(scatter, point);
    const named = {input, token: position, kind: isQuery ? "query" : "key"};
    if (further && scatter.picked !== null && !isNew(data, point) && !isNew(data, scatter.picked)) { scatter.send("further", named); return; }
    Object.assign(scatter, {picked: point, start: point, links: [], also: []});
    mark();
    scatter.send("pick", named);
  }

  function hover(point, x, y) {
    if (point !== scatter.hovered) {
      scatter.hovered = point;
      scatter.decorate();
      if (point !== null) tip.describe(point);
      board().post("head.hovered", scatter.header && {view: scatter.header.view, point});
    }
    tip.show(point, x, y);
  }

  // ---- keys: walk the heads, zoom, lasso, let go

  function pressed(event) {
    const on = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey || !scatter.header || scatter.header.side) return;
    if (on.closest?.("input, textarea, select, [contenteditable], [role=listbox], [role=combobox], [role=grid], [role=slider], [role=tablist]")) return;
    const steps = {ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down", "<": "left", ">": "right"};
    if (event.key in steps) scatter.walk(steps[event.key]);
    else if (event.key === "Escape" && (lasso.on() || scatter.armed)) { lasso.stop(); drag = null; scatter.arm(false); redraw(); }
    else if (event.key === "Escape" && (scatter.picked !== null || scatter.lasso || scatter.held)) letGo();
    else if (event.key === "+" || event.key === "=") camera.zoomAt(1.4, 0, 0);
    else if (event.key === "-") camera.zoomAt(1 / 1.4, 0, 0);
    else if (event.key === "0") { camera.fit(true); redraw(); }
    else if (event.key === "." || event.key === ",") step(event.key === "." ? 1 : -1);
    else if (event.key === "l" || event.key === "L") scatter.arm(!scatter.armed);
    else return;
    event.preventDefault();
  }

  // Without a pointer: from one labelled point to the next, the most important first.
  function step(by) {
    if (scatter.picked === null || !round.includes(scatter.picked)) round = [...newPoints(scatter.data), ...(scatter.labelled ?? []).map((each) => each.point)];
    if (!round.length) return;
    const at = round.indexOf(scatter.picked), point = round[at < 0 ? 0 : (at + by + round.length) % round.length], token = tokenOf(scatter, point);
    spoken.textContent = `${token.text}, ${token.isQuery ? "query" : "key"} at position ${token.position}${token.isNew ? " of the new input" : ""}`;
    pick(point, false);
  }

  // What lies in a lasso is counted by the server: a page without one has none.
  scatter.hasLasso = () => scatter.header.has_lasso !== false;

  scatter.arm = (armed) => {
    scatter.armed = armed && scatter.hasLasso();
    stage.classList.toggle("armed", scatter.armed);
    bar.draw();
  };

  scatter.walk = (way) => {
    if (!scatter.header.walk[way]) return;
    stage.classList.add("waiting");
    spoken.textContent = scatter.header.walk[way].name;
    scatter.send("walk", scatter.header.walk[way]);
  };

  function letGo() {
    Object.assign(scatter, {picked: null, start: null, links: [], also: [], lasso: null});
    mark();
    scatter.send("pick", null);
  }

  return scatter;
}
