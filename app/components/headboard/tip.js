// What a head says, beside the pointer, or under the cell that has the focus.
function makeTip(host) {
  const root = element("div", {class: "tip", "aria-hidden": "true"});
  const tip = {root, hide: () => root.classList.remove("on")};
  let shown = null;

  tip.forget = () => { shown = null; tip.hide(); };

  tip.show = (says, cell, event) => {
    const frame = host.getBoundingClientRect();
    if (shown !== says) root.replaceChildren(element("b", {class: "figure"}, says[0]), ...says.slice(1).map((line) => element("div", {}, line)));
    shown = says;
    const box = cell.getBoundingClientRect();
    const [x, y] = event ? [event.clientX, event.clientY] : [box.left + box.width / 2, box.bottom];
    root.classList.add("on");
    const left = Math.max(0, Math.min(x - frame.left + 14, frame.width - root.offsetWidth - 4));
    const isLow = y + 22 + root.offsetHeight > window.innerHeight;
    root.style.transform = `translate(${left}px, ${y - frame.top + (isLow ? -12 - root.offsetHeight : 20)}px)`;
  };

  return tip;
}
