// What is drawn over the points: lines of attention, rings, the lasso, new points, and labels that do not overlap.
const MOST_LABELS = 140, MOST_TRIED = 1500, APART = 130;

function makeOverlay(scatter) {
  const {overlay} = scatter;
  const widths = new Map();
  let order = {extra: null, points: []}, chosen = {at: null, labels: []};

  function decorate() {
    const context = scatter.pen ?? overlay.getContext("2d"), dot = ratio(), {data, camera, header} = scatter;
    context.clearRect(0, 0, overlay.width, overlay.height);
    if (!data) return;
    const [wide, tall] = [overlay.width, overlay.height];
    const style = getComputedStyle(scatter.host), ink = style.getPropertyValue("--st-text-color"), ground = style.getPropertyValue("--st-background-color");
    const {selected, query, key} = header.palette;
    const onCanvas = ([x, y]) => [wide / 2 + x, tall / 2 + y];
    const on = (at) => onCanvas(seenPoint(scatter, at));
    const more = (at) => (isNew(data, at) ? 4 : 0);  // round a star
    const taken = [];
    outline();
    const fans = [{start: scatter.start, rows: scatter.links}, ...scatter.also].filter((fan) => fan.start !== null && isHere(data, fan.start));
    const {picked, listed, echo, hovered} = Object.fromEntries(["picked", "listed", "echo", "hovered"].map((name) => [name, scatter[name] !== null && isHere(data, scatter[name]) ? scatter[name] : null]));
    if (scatter.options.lines !== "none") fans.forEach(lines);
    for (const fan of scatter.also) ring(on(fan.start), 7.5, selected, false);
    if (picked !== null && scatter.start !== picked) ring(on(scatter.start), 6 + more(scatter.start), selected, false);
    if (listed !== null) ring(on(listed), 9 + more(listed), ink, false);
    if (echo !== null) { ring(on(echo), 7 + more(echo), selected, false); label(echo, true); }
    if (hovered !== null) ring(on(hovered), 7 + more(hovered), ink, false);
    if (picked !== null) { ring(on(picked), 7.5 + more(picked), selected, false); label(scatter.start, true); }
    for (const fan of fans) { if (fan.start !== scatter.start) label(fan.start, true); for (const {point} of fan.rows.slice(0, 5)) label(point, false); }
    stars();
    scatter.labelled = scatter.gliding || scatter.options.labels !== "on" ? [] : labels();
    scatter.host.dataset.labelled = scatter.labelled.length;

    function lines({start, rows}) {
      const [x, y] = on(start), most = Math.max(...rows.map((each) => each.weight), 1e-9);
      context.strokeStyle = selected;
      for (const {point, weight} of rows) {
        const [endX, endY] = on(point);
        context.globalAlpha = 0.25 + 0.65 * weight / most;
        context.lineWidth = (0.8 + 3.6 * weight / most) * dot;
        context.beginPath();
        context.moveTo(x, y);
        context.lineTo(endX, endY);
        context.stroke();
      }
      context.globalAlpha = 1;
      for (const {point} of rows) ring(on(point), 4, tokenOf(scatter, point).isQuery ? query : key, true);
    }

    function outline() {
      const corners = scatter.drawing ?? (scatter.lasso && scatter.sameTurn(scatter.lasso) ? scatter.lasso.polygon.map((corner) => camera.screen(relative(corner, scatter.lasso.middle))) : null);
      if (!corners?.length) return;
      context.beginPath();
      for (const corner of corners) context.lineTo(...onCanvas(corner));
      context.closePath();
      context.setLineDash([6 * dot, 4 * dot]);
      context.lineWidth = 1.6 * dot;
      context.strokeStyle = context.fillStyle = selected;
      context.globalAlpha = 0.08;
      context.fill();
      context.globalAlpha = 1;
      context.stroke();
      context.setLineDash([]);
    }

    // Corners from the link lie about the map's own origin, those just drawn about the middle of what is seen.
    function relative([x, y], middle) {
      const [dx, dy, dz] = [0, 1, 2].map((axis) => camera.middle[axis] - (middle?.[axis] ?? 0)), m = camera.turn;
      return [x - m[0] * dx - m[3] * dy - m[6] * dz, y - m[1] * dx - m[4] * dy - m[7] * dz];
    }

    function ring([x, y], radius, colour, filled) {
      context.beginPath();
      context.arc(x, y, radius * dot, 0, 7);
      context.lineWidth = 2.2 * dot;
      if (filled) { context.fillStyle = colour; context.fill(); context.strokeStyle = ground; context.lineWidth = 1.2 * dot; }
      else context.strokeStyle = colour;
      context.stroke();
    }

    // Points that the run does not hold: five-pointed stars with their words.
    function stars() {
      const {fresh} = data;
      for (let at = 0; at < (fresh?.length ?? 0) / 3; at++) {
        const [x, y] = onCanvas(seen(camera, fresh, at)), half = fresh.length / 6, isQuery = at < half;
        context.beginPath();
        for (let tip = 0; tip < 10; tip++) {
          const reach = (tip % 2 ? 3.4 : 8) * dot, angle = Math.PI * (tip / 5 - 0.5);
          context.lineTo(x + reach * Math.cos(angle), y + reach * Math.sin(angle));
        }
        context.closePath();
        context.fillStyle = isQuery ? query : key;
        context.fill();
        context.lineWidth = 1.4 * dot;
        context.strokeStyle = ink;
        context.stroke();
        write(header.fresh[at % half], [x, y], false, ink);
      }
    }

    function label(point, strong) { return write(tokenOf(scatter, point).text, on(point), strong, ink); }

    function write(words, [x, y], strong, tone, room = 0) {
      const text = cut(visibleToken(words), 18), font = `${strong ? 600 : 400} ${12.5 * dot}px ${style.fontFamily}`;
      const name = `${font} ${text}`;
      if (context.font !== font) context.font = font;
      if (!widths.has(name)) widths.set(name, context.measureText(text).width);
      const box = {left: x + 9 * dot, top: y - 9 * dot, right: x + 9 * dot + widths.get(name), bottom: y + 9 * dot};
      if (taken.some((other) => box.left - room < other.right && other.left < box.right + room && box.top - room / 4 < other.bottom && other.top < box.bottom + room / 4)) return null;
      taken.push(box);
      context.lineWidth = 3.5 * dot;
      context.strokeStyle = ground;
      context.fillStyle = tone;
      context.strokeText(text, box.left, y + 4.2 * dot);
      context.fillText(text, box.left, y + 4.2 * dot);
      return box;
    }

    // Marked points first, then by importance; a word is not repeated close by; what is dimmed gets none.
    function labels() {
      const now = [camera.x, camera.y, camera.zoom, camera.yaw, camera.pitch, wide, tall, scatter.version, scatter.start, scatter.links.length, scatter.also.length, scatter.extra?.header.view].join();
      if (now === chosen.at) {  // nothing but the pointer has moved
        for (const {point} of chosen.labels) write(data.texts[data.words[point % data.n]], on(point), false, ink);
        return chosen.labels;
      }
      chosen = {at: now, labels: choose()};
      return chosen.labels;
    }

    function choose() {
      const places = new Map(), found = [];
      let tried = 0;
      const said = (word, [x, y]) => places.get(word)?.some((other) => Math.hypot(other[0] - x, other[1] - y) < APART * dot);
      for (const point of importance()) {
        if (found.length >= MOST_LABELS || tried >= MOST_TRIED) break;
        if (data.states[point] < 0.8) continue;
        const place = on(point);
        if (place[0] < 0 || place[1] < BAR * dot || place[0] > wide - 30 * dot || place[1] > tall) continue;
        tried += 1;
        const word = data.words[point % data.n];
        const box = said(word, place) ? null : write(data.texts[word], place, false, ink, 8 * dot);
        if (!box) continue;
        if (!places.has(word)) places.set(word, []);
        places.get(word).push(place);
        found.push({point, ...box});
      }
      return found;
    }
  }

  // Keys by the attention they receive, queries by how sharply they attend, in turn; by norm where a run is too large
  // to know.
  function importance() {
    const extra = scatter.extra?.sections ?? null;
    if (!extra) return [];
    if (order.extra !== extra) {
      const {n} = scatter.data, rank = (values) => Uint32Array.from(values.keys()).sort((a, b) => values[b] - values[a]);
      const [keys, queries] = [rank(extra.received ?? extra.key_norm), rank(extra.focus ?? extra.query_norm)];
      const points = new Uint32Array(2 * n);
      for (let at = 0; at < n; at++) { points[2 * at] = keys[at] + n; points[2 * at + 1] = queries[at]; }
      order = {extra, points};
    }
    return order.points;
  }

  return decorate;
}

const cut = (text, most) => ([...text].length > most ? `${[...text].slice(0, most - 1).join("")}…` : text);
