// What the pointer tells of a point: its token in context, position, norm, value of the colour, strongest ties.
function makeTip(scatter) {
  const tip = element("div", {class: "tip", "aria-hidden": "true"});

  function show(point, x, y) {
    const {stage} = scatter;
    tip.classList.toggle("on", point !== null);
    stage.classList.toggle("over", point !== null);
    if (point === null) return;
    const left = x / ratio() + stage.clientWidth / 2, top = y / ratio() + stage.clientHeight / 2;
    const flipX = left > stage.clientWidth - tip.offsetWidth - 24, flipY = top > stage.clientHeight - tip.offsetHeight - 24;
    tip.style.transform = `translate(${Math.max(left + (flipX ? -tip.offsetWidth - 14 : 14), 4)}px, ${Math.max(top + (flipY ? -tip.offsetHeight - 14 : 14), 0)}px)`;
  }

  function describe(point) {
    const {header, data} = scatter, {colour} = header, token = tokenOf(scatter, point), {isQuery} = token;
    const rows = [element("div", {}, element("b", {}, cut(visibleToken(token.text), 40)), " ",
      element("span", {class: `kind ${isQuery ? "query" : "key"}`}, isQuery ? "query" : "key"))];
    const around = context(token);
    if (around) rows.push(around);
    rows.push(element("div", {class: "dim"}, `position ${token.position} · ${token.place}${norm(token)}`));
    if (colour.kind !== "kind" && !token.isNew) rows.push(element("div", {class: "dim"}, `${colour.title}: ${valueWords(point)}`));
    if (header.size && header.size.name !== "norm" && data.sizes && !token.isNew) rows.push(element("div", {class: "dim"}, `${header.size.title}: ${short(data.sizes[point])} ${header.size.unit}`.trim()));
    rows.push(...ties(token));
    tip.replaceChildren(...rows);
  }

  function norm({row, isQuery, isNew: fresh}) {
    const found = factsOf(scatter, fresh);
    return found ? ` · norm ${short((isQuery ? found.query_norm : found.key_norm)[row])}` : "";
  }

  // Weights as the run gives them; a query names its keys, a key the queries that look at it.
  function ties(token) {
    const found = factsOf(scatter, token.isNew), {row, isQuery} = token;
    if (!found) return [];
    if (!found.key_at) return [element("div", {class: "dim"}, isQuery ? "click for its strongest keys" : "click for who looks at it")];
    const [at, weight] = isQuery ? [found.key_at, found.key_weight] : [found.query_at, found.query_weight];
    const told = [0, 1, 2].map((rank) => ({place: at[3 * row + rank], weight: weight[3 * row + rank]})).filter((each) => each.weight > 0);
    if (!told.length) return [];
    return [element("div", {class: "ties"}, element("span", {class: "dim"}, isQuery ? "looks most at" : "most looked at by"),
      ...told.flatMap(({place, weight: share}) => [element("span", {}, cut(visibleToken(textAt(scatter, token, place)), 24)),
        element("span", {class: "figure dim"}, String(place)), element("span", {class: "figure"}, weightWords(share))]))];
  }

  function valueWords(point) {
    const {colour} = scatter.header, value = scatter.data.values[point];
    if (Number.isNaN(value)) return "no value";
    return colour.categories ? colour.categories[value]?.name ?? "other" : `${short(value)}${colour.unit && colour.unit.length < 12 ? ` ${colour.unit}` : ""}`;
  }

  // The words round a token, from the text of its input. Offsets count code points, as in Python.
  function context({row, whole, starts, ends}) {
    if (!whole || !starts || ends[row] <= starts[row]) return null;
    const letters = [...whole], [start, end] = [starts[row], ends[row]];
    const left = letters.slice(Math.max(start - 42, 0), start).join(""), right = letters.slice(end, end + 42).join("");
    return element("div", {class: "context"}, start > 42 ? "…" : "", left, element("mark", {}, letters.slice(start, end).join("")), right, end + 42 < letters.length ? "…" : "");
  }

  return {tip, show, describe};
}
