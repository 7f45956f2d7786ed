// The head under the pointer, or else the selected one, larger and in words.
export default function (component) {
  const card = mount(component.parentElement, makeCard);
  card.send = component.setTriggerValue;
  card.show(component.data);
  return card.leave;
}

function makeCard(host) {
  const card = {head: null, points: null, header: null, send: null};
  const root = host.appendChild(element("div", {class: "card"}));
  const forget = board().listen("atlas.shown", (head) => { card.head = head; draw(); });
  card.leave = () => { forget(); };

  card.show = (data) => {
    const {header, sections} = unpack(data);
    card.header = header;
    card.points = header.n ? sections.places : null;
    board().post("atlas.selected", header.selected);
    draw();
  };

  function draw() {
    const {head, header} = card;
    if (!header) return;
    if (!head) {
      root.replaceChildren(element("p", {class: "quiet"}, header.hint));
      return;
    }
    const open = element("button", {type: "button", class: "open", onclick: () => card.send("open", {site: head.site, head: head.head})}, `Open ${head.name}`);
    root.replaceChildren(picture(head), element("div", {class: "headline"}, element("b", {class: "figure"}, head.name), element("span", {class: "quiet"}, ` ${head.site}`)),
      table(head), open);
  }

  function table(head) {
    const rows = head.leading.map((score) => measure(score.title, score.is_share ? score.value : null, short(score.value), score.unit));
    if (head.explains !== null) rows.unshift(measure("Map explains", Math.max(head.explains, 0), percent(head.explains), "share of this head's attention that closeness on the map accounts for; 0 = no better than uniform"));
    if (head.key_only !== null) rows.splice(1, 0, measure("Keys alone", Math.max(head.key_only, 0), percent(head.key_only), "what the popularity of keys explains with no map at all"));
    return element("div", {class: "measures"}, rows);
  }

  function measure(title, share, words, unit) {
    const bar = share === null ? null : element("span", {class: "track"}, element("span", {class: "bar", style: {width: `${Math.min(share, 1) * 100}%`}}));
    return element("div", {class: "measure", title: unit}, element("span", {}, title), element("span", {class: "figure value"}, words), bar);
  }

  function picture(head) {
    const size = 220, ratio = window.devicePixelRatio || 1;
    const canvas = element("canvas", {width: size * ratio, height: size * ratio, role: "img", "aria-label": `Queries and keys of ${head.name}`});
    const context = canvas.getContext("2d");
    const {selected, n, colours} = card.header;
    if (card.points && selected?.site === head.site && selected?.head === head.head) {
      context.globalAlpha = 0.6;
      for (const [kind, start] of [[0, 0], [1, n]]) {
        context.fillStyle = colours[kind];
        for (let at = start; at < start + n; at++) context.fillRect((card.points[2 * at] * (size - 12) + 5) * ratio, (card.points[2 * at + 1] * (size - 12) + 5) * ratio, 1.8 * ratio, 1.8 * ratio);
      }
    } else if (head.image) {
      context.imageSmoothingQuality = "high";
      context.drawImage(head.image, head.column * head.px, head.row * head.px, head.px, head.px, 0, 0, size * ratio, size * ratio);
    }
    return canvas;
  }

  return card;
}
