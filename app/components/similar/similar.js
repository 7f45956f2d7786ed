// Rows of like points: the token in its context, where it is, how far. A row under the pointer is marked on the map.
export default function (component) {
  const list = mount(component.parentElement, (host) => ({root: host.appendChild(element("div", {class: "similar", role: "list"}))}));
  const {rows, images, colour, farthest, label} = component.data;
  const tell = (row) => board().post("head.listed", row ? row.point : null);
  list.root.setAttribute("aria-label", label);
  list.root.classList.toggle("pictures", Object.keys(images).length > 0);
  list.root.replaceChildren(...rows.map((row) => {
    const line = element("button", {type: "button", class: "row", title: `${row.place} of input ${row.input}; click to pick it`, "data-point": row.point},
      images[row.input] ? picture(row, images[row.input]) : words(row),
      element("span", {class: "place quiet"}, `${row.place}, ${images[row.input] ? "image" : "text"} ${row.input}`),
      element("span", {class: "figure"}, row.distance.toFixed(2)),
      element("span", {class: "bar", style: {width: `${100 * Math.min(row.distance / farthest, 1)}%`, background: colour}}));
    line.classList.toggle("picked", row.is_picked === true);
    if (row.is_picked !== undefined) line.setAttribute("aria-pressed", row.is_picked);
    for (const event of ["pointerenter", "focus"]) line.addEventListener(event, () => tell(row));
    for (const event of ["pointerleave", "blur"]) line.addEventListener(event, () => tell(null));
    line.addEventListener("click", () => component.setTriggerValue("pick", row.pick));
    return element("div", {role: "listitem"}, line);
  }));
  return () => tell(null);
}

function words({before, text, after}) {
  const shown = element("span", {class: "words"});
  const left = element("span", {class: "left"}, element("bdi", {}, before));
  shown.append(left, element("mark", {}, visibleToken(text)), element("span", {class: "right"}, after));
  return shown;
}

// The whole image, the patch framed.
function picture({patch, text}, address) {
  const frame = element("span", {class: "patch", hidden: !patch});
  if (patch) ["left", "top", "width", "height"].forEach((side, at) => { frame.style[side] = `${100 * patch[at]}%`; });
  return element("span", {class: "picture"}, element("span", {class: "input"}, element("img", {src: address, alt: ""}), frame),
    element("span", {}, patch ? "" : visibleToken(text)));
}
