// Atlas: all heads as small maps, one larger beside them.
function makeAtlas(about, {main}, go) {
  const said = element("p", {class: "sentence"}), picture = element("div", {class: "picture"}), controls = element("div", {class: "controls"}), side = element("div", {class: "side"}, controls);
  main.replaceChildren(said, element("div", {class: "two"}, picture, side));
  const open = (place) => go("head", {site: place.site, head: place.head});
  const matrix = mountComponent("matrix", picture, {select: (place) => go(null, {site: place?.site ?? null, head: place?.head ?? null}, true), open});
  const card = mountComponent("card", side, {open});

  async function show(state, isStale) {
    const {header, sections} = await load(`atlas/${state.map ?? 0}-${about.maps.length ? state.colour : 0}`);
    if (isStale()) return;
    const score = state.score === null ? null : about.scores[state.score];
    said.textContent = about.summary;
    controls.replaceChildren(menu("Frame shows", [["", "nothing"], ...about.scores.map((each) => [each.name, each.title])], score?.name ?? "", (name) => go(null, {score: name || null}), "The score in the frames of the heads"));
    matrix.show({header: score ? framed(header, score, about, state.score) : header, sections});
    const selected = "head" in state.words ? {site: state.site.label, head: state.head} : null;
    card.show({header: {selected, hint: about.hint, n: 0, digest: another()}, sections: {}});
  }

  return {show, leave: () => { matrix.leave(); card.leave(); }};
}

// The same picture with a score in the frames.
function framed(header, score, about, place) {
  const values = new Map(about.heads.map((each) => [`${each.site} ${each.head}`, each.scores[place]]));
  const stacks = header.stacks.map((stack) => ({...stack, cells: stack.cells.map((cell) => ({...cell, tint: values.get(`${cell.site} ${cell.head}`)}))}));
  return {...header, stacks, tint: score, digest: `${header.digest} ${score.name}`};
}
