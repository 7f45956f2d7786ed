// The head under the pointer, or else the selected one, larger and in words.
export default function (component) {
  const card = mount(component.parentElement, makeCard);
  card.send = component.setTriggerValue;
  card.show(component.data);
  return card.leave;
}

function makeCard(host) {
  const card = {head: null, header: null, sections: null, marks: null, send: null};
  const root = host.appendChild(element("div", {class: "card"}));
  const forget = [
    board().listen("atlas.shown", (head) => { card.head = head; draw(); }),
    board().listen("atlas.marks", (marks) => { card.marks = marks; draw(); }),
  ];
  card.leave = () => { for (const each of forget) each(); };

  card.show = (data) => {
    Object.assign(card, unpack(data));
    board().post("atlas.selected", card.header.selected);
    draw();
  };

  function draw() {
    const {head, header} = card;
    if (!header) return;
    if (!head) {
      root.replaceChildren(element("p", {class: "quiet"}, header.hint));
      return;
    }
    const open = () => { memory().opened = {site: head.site, head: head.head}; card.send("open", memory().opened); };
    const words = element("div", {class: "words"}, element("div", {class: "headline"}, element("b", {class: "figure"}, head.name), element("span", {class: "quiet"}, ` ${head.site}`)),
      table(head), element("button", {type: "button", class: "open", onclick: open}, `Open ${head.name}`));
    root.replaceChildren(picture(head), words);
  }

  function table(head) {
    const rows = head.leading.map((score) => measure(score.title, score.is_share ? score.value : null, short(score.value), score.unit));
    if (head.explains !== null) rows.unshift(measure("Map explains", Math.max(head.explains, 0), percent(head.explains), "share of this head's attention that closeness on the map accounts for; 0 = no better than uniform"));
    if (head.key_only !== null) rows.splice(1, 0, measure("Keys alone", Math.max(head.key_only, 0), percent(head.key_only), "what the popularity of keys explains with no map at all"));
    if (head.hidden === null) return element("div", {class: "measures"}, rows);
    rows.push(measure("Hidden with sinks", head.hidden, percent(head.hidden), "share of this head's attention that lay on its sinks, which are hidden"));
    return element("div", {class: "measures"}, rows, element("div", {class: "quiet"}, "scores: sinks counted in"));
  }

  function measure(title, share, words, unit) {
    const bar = share === null ? null : element("span", {class: "track"}, element("span", {class: "bar", style: {width: `${Math.min(share, 1) * 100}%`}}));
    return element("div", {class: "measure", title: unit}, element("span", {}, title), element("span", {class: "figure value"}, words), bar);
  }

  function picture(head) {
    const size = 220 * (window.devicePixelRatio || 1);
    const canvas = element("canvas", {width: size, height: size, role: "img", "aria-label": `Queries and keys of ${head.name}`});
    const context = canvas.getContext("2d"), {selected} = card.header;
    if (card.header.n && selected?.site === head.site && selected?.head === head.head) drawPoints(context, size);
    else drawCells(context, head.stack, card.marks, [{cell: head, x: 0, y: 0, size}]);
    return canvas;
  }

  // The selected head's own points, sharper than its thumbnail.
  function drawPoints(context, size) {
    const {places, tones} = card.sections, {colours, n, faint, picked} = card.header, margin = size / 36;
    const at = (value) => margin + value / 255 * (size - 2 * margin);
    const dot = size / 122;
    for (let point = 0; point < n; point++) {
      const tone = tones[point], isLit = faint >= 0 && tone > faint, wide = isLit ? 1.6 * dot : dot;
      context.globalAlpha = faint < 0 ? 0.6 : isLit ? 1 : 0.3;
      context.fillStyle = colours[tone];
      context.fillRect(at(places[2 * point]) - wide / 2, at(places[2 * point + 1]) - wide / 2, wide, wide);
    }
    context.globalAlpha = 1;
    for (const [kind, x, y] of picked) outline(context, kind, at(x), at(y), size / 40);
  }

  return card;
}
