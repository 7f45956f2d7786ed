// One step of the tour: a card beside the thing it speaks of, which stays usable. The server knows the step from the address.
const AGAIN_MS = 250, MARGIN = 12, PAD = 5;

export default function (component) {
  const tour = mount(component.parentElement, makeTour);
  tour.go = (step) => component.setTriggerValue("go", step);
  tour.show(component.data.step);
  return tour.leave;
}

function makeTour(host) {
  const tour = {step: null, go: null};
  const rings = [0, 1].map((place) => host.appendChild(element("div", {class: place ? "ring second" : "ring", hidden: true})));
  const card = host.appendChild(element("section", {class: "tour-card", role: "dialog", "aria-labelledby": "qk-tour-title", hidden: true}));
  let again = 0, found = [], before = null;

  tour.show = (step) => {
    const isNew = JSON.stringify(step) !== JSON.stringify(tour.step);
    tour.step = step;
    card.hidden = !step;
    clearInterval(again);
    if (!step) { for (const ring of rings) ring.hidden = true; return; }
    document.addEventListener("keydown", onKey, true);
    again = setInterval(place, AGAIN_MS);
    if (!isNew) return place();
    found = [];
    build(step);
    place();
    before ??= document.activeElement;
    card.querySelector(".next").focus({preventScroll: true});
  };
  tour.leave = () => { clearInterval(again); document.removeEventListener("keydown", onKey, true); };

  function build(step) {
    const back = step.now > 1 ? [element("button", {type: "button", class: "back", onclick: () => tour.go(step.now - 1)}, "Back")] : [];
    const isLast = step.now === step.of;
    const next = element("button", {type: "button", class: "next", onclick: () => isLast ? end() : tour.go(step.now + 1)}, isLast ? "Finish" : "Next");
    card.replaceChildren(
      element("div", {class: "top"}, element("span", {class: "quiet"}, `${step.now} of ${step.of}`), element("button", {type: "button", class: "end", onclick: end}, "End tour")),
      element("h2", {id: "qk-tour-title"}, step.title), element("p", {"aria-live": "polite"}, step.text), element("div", {class: "doors"}, back, next));
  }

  function end() {
    card.hidden = true;
    for (const ring of rings) ring.hidden = true;
    clearInterval(again);
    document.removeEventListener("keydown", onKey, true);
    if (before?.isConnected) before.focus({preventScroll: true});
    before = null;
    tour.go(0);
  }

  function onKey(event) {
    if (event.key !== "Escape" || card.hidden) return;
    event.stopPropagation();
    event.preventDefault();
    end();
  }

  // Targets come late and move: they are looked for until they are there, and followed while the step lasts.
  function place() {
    const step = tour.step;
    if (!step || card.hidden) return;
    step.targets.forEach((selectors, at) => {
      if (found[at]?.element.isConnected && found[at].rank === 0) return;
      const rank = selectors.findIndex((selector) => deep(selector));
      if (rank < 0) return;
      const isFirstTime = !found[at];
      found[at] = {element: deep(selectors[rank]), rank};
      if (isFirstTime && at === 0) reveal(found[at].element);
    });
    const boxes = rings.map((ring, at) => {
      const box = found[at]?.element.isConnected && step.targets[at] ? visible(found[at].element.getBoundingClientRect()) : null;
      ring.hidden = !box;
      if (box) Object.assign(ring.style, {left: `${box.left - PAD}px`, top: `${box.top - PAD}px`, width: `${box.width + 2 * PAD}px`, height: `${box.height + 2 * PAD}px`});
      return box;
    });
    rings[0].dataset.for = found[0] ? step.targets[0][found[0].rank] : "";
    beside(boxes[0]);
  }

  function beside(box) {
    const {offsetWidth: wide, offsetHeight: tall} = card, W = window.innerWidth, H = window.innerHeight, gap = PAD + MARGIN;
    const within = (value, most) => Math.max(MARGIN, Math.min(value, most - MARGIN));
    let left = W - wide - MARGIN, top = H - tall - MARGIN;
    if (box) {
      if (box.right + gap + wide <= W) [left, top] = [box.right + gap, within(box.top, H - tall)];
      else if (box.left - gap - wide >= 0) [left, top] = [box.left - gap - wide, within(box.top, H - tall)];
      else if (box.bottom + gap + tall <= H) [left, top] = [within(box.left, W - wide), box.bottom + gap];
      else if (box.top - gap - tall >= 0) [left, top] = [within(box.left, W - wide), box.top - gap - tall];
    }
    Object.assign(card.style, {left: `${left}px`, top: `${top}px`});
  }

  return tour;
}

// The part of a box that can be seen, or null.
function visible(box) {
  const left = Math.max(box.left, 0), top = Math.max(box.top, 0);
  const width = Math.min(box.right, window.innerWidth) - left, height = Math.min(box.bottom, window.innerHeight) - top;
  return width > 1 && height > 1 ? {left, top, width, height, right: left + width, bottom: top + height} : null;
}

function reveal(target) {
  const box = target.getBoundingClientRect();
  if (box.top < 60 || box.top > window.innerHeight * 0.8) target.scrollIntoView({block: "center"});
}

// The first match, inside components too: each has its own shadow root.
function deep(selector, root = document) {
  const own = [...root.querySelectorAll(selector)].find((each) => each.getBoundingClientRect().width > 0);
  if (own) return own;
  for (const each of root.querySelectorAll(root === document ? '[data-testid="stMain"] *' : "*")) {
    const inner = each.shadowRoot && deep(selector, each.shadowRoot);
    if (inner) return inner;
  }
  return null;
}
