// Atlas: all heads as small maps, one larger beside them.
function makeAtlas(about, {main}, go) {
  const said = element("p", {class: "sentence"}), hidden = element("p", {class: "quiet told"}), picture = element("div", {class: "picture"}), controls = element("div", {class: "controls"}), side = element("div", {class: "side"}, controls);
  main.replaceChildren(said, hidden, element("div", {class: "two"}, picture, side));
  const open = (place) => go("head", {site: place.site, head: place.head});
  const matrix = mountComponent("matrix", picture, {select: (place) => go(null, {site: place?.site ?? null, head: place?.head ?? null}, true), open});
  const card = mountComponent("card", side, {open});

  async function show(state, isStale) {
    const plain = await thumbnailsOf(state, about), sinks = state.hides ? (await load("sinks")).header : null, frame = frameOf(state, about, sinks);
    const header = laidOut(plain.header, frame, about, sinks), lit = await litHeads(state, about, header);
    if (isStale()) return;
    said.textContent = state.map === null ? about.summary : about.maps[state.map].summary;
    hidden.textContent = sinks ? `${sinks.says} ${state.map === null ? "" : about.maps[state.map].sinks}` : "";
    draw(frame, sinks);
    matrix.show({header, sections: plain.sections});
    board().post("atlas.marks", lit);
    const selected = "head" in state.words ? {site: state.site.label, head: state.head} : null;
    card.show({header: {selected, hint: about.hint, n: 0, digest: another()}, sections: {}});
  }

  function draw({score, order, by, scores}, sinks) {
    const named = scores.map((each) => [each.name, each.title]);
    controls.replaceChildren(
      menu("Frame shows", [["", "nothing"], ...named], score?.name ?? "", (name) => go(null, {score: name || null}), "The score in the frames of the heads"),
      ...(sinks?.counted_in[score?.name] ? [element("p", {class: "quiet"}, sinks.counted_in[score.name])] : []),
      ...(scores.length ? [menu("Order", ORDERS, order, (word) => go(null, word === "layer" ? {order: null, by: null} : {order: word, by: by?.name ?? (score ?? scores[0]).name}), "Highest first. A layer counts with the mean of its heads; every head keeps its name.")] : []),
      ...(by ? [menu("Ordered by", named, by.name, (name) => go(null, {by: name}))] : []));
  }

  return {show, leave: () => { matrix.leave(); card.leave(); }};
}

// What the frames show, in which order the heads are, and by which score: `pick_frame` of app/views/atlas.py.
function frameOf({words, score, map}, about, sinks) {
  const scores = about.scores.map((each) => ({...each, values: scoreOf(each.name, map, about, sinks)})), known = scores.filter((each) => each.values), of = (name) => known.find((each) => each.name === name) ?? null;
  const tint = score === null ? null : of(about.scores[score].name), order = known.length && ORDERS.some(([word]) => word === words.order) ? words.order : "layer";
  return {scores: known, score: tint, order, by: order === "layer" ? null : of(words.by) ?? tint ?? known[0]};
}

// A score of all heads in the order of `about.heads`: without sinks where that was measured, the map's own where it is a map's.
function scoreOf(name, map, about, sinks) {
  if (sinks?.scores[name]) return sinks.scores[name];
  if (name === "kl_explained") return map === null ? null : about.maps[map].explains;
  const place = about.scores.findIndex((each) => each.name === name);
  return about.heads.map((each) => each.scores[place]);
}

// The same heads with a score in their frames, in their order, and with what is hidden of each.
function laidOut(header, {score, order, by}, about, sinks) {
  const places = new Map(about.heads.map((each, at) => [`${each.site} ${each.head}`, at])), at = (cell) => places.get(`${cell.site} ${cell.head}`), rounded = (value) => (value === null ? null : Number(value.toFixed(4)));
  const stacks = header.stacks.map((stack) => ({
    ...stack, is_named: NAMED_ORDERS.includes(order), rows: by ? arrange(stack.cells, stack.cells.map((cell) => by.values[at(cell)]), order) : stack.rows,
    cells: stack.cells.map((cell) => ({...cell, tint: score ? rounded(score.values[at(cell)]) : null, hidden: sinks ? rounded(sinks.hidden[at(cell)]) : null})),
  }));
  const again = score && sinks?.scores[score.name], title = score && score.title + (again ? " without sinks" : ""), more = !sinks || score?.name === "kl_explained" ? "" : again ? `; on ${sinks.rests_on}` : "; sinks counted in";
  return {...header, stacks, tint: score && {title, unit: score.unit + more, ...limitsOf(score.values)}, digest: [header.digest, score?.name, order, by?.name, Boolean(sinks)].join(" ")};
}
