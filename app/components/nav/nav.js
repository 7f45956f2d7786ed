export default function (component) {
  const {data, parentElement} = component;
  const nav = mount(parentElement, makeNav);
  nav.go = (name) => component.setTriggerValue("go", name);
  nav.terms.say(data.terms);
  if (nav.pages.dataset.current !== data.current || !nav.pages.childElementCount) {
    nav.pages.dataset.current = data.current;
    nav.pages.replaceChildren(...data.pages.map((page, place) => link(nav, page, place === 0, data)));
  }
  foldLeftColumn();
  return nav.terms.leave;
}

function makeNav(host) {
  const nav = {pages: element("span", {class: "pages"}), terms: makeTerms(host)};
  host.append(element("nav", {"aria-label": "Pages"}, skipLink(), nav.pages, tourButton(), chartsButton(), copyButton()));
  return nav;
}

function link(nav, page, isLanding, data) {
  const base = location.pathname.replace(/\/[^/]*$/, "/");
  const address = () => base + (isLanding ? "" : page.name) + withoutTour(location.search);
  const made = element("a", {href: address(), "aria-current": page.name === data.current ? "page" : null}, page.title);
  for (const event of ["pointerenter", "focus"]) made.addEventListener(event, () => { made.href = address(); });
  made.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    if (page.name !== data.current) nav.go(page.name);
  });
  return made;
}

function withoutTour(search) {
  const words = new URLSearchParams(search);
  words.delete("tour");
  return words.size ? `?${words}` : "";
}

function skipLink() {
  return element("button", {type: "button", class: "skip", onclick: () => {
    const view = document.querySelector(".st-key-view");
    if (!view) return;
    view.tabIndex = -1;
    view.focus();
    view.scrollIntoView({block: "nearest"});
  }}, "Skip to the view");
}

function tourButton() {
  const title = "What a cell, a point and a colour are, and a tour";
  return element("button", {type: "button", class: "tour", title, onclick: () => window.dispatchEvent(new CustomEvent("qk-tour"))}, "Tour");
}

function copyButton() {
  const made = element("button", {type: "button", class: "copy", title: "Copy the link to exactly this view"}, "Copy link");
  made.addEventListener("click", async () => {
    const address = location.origin + location.pathname + withoutTour(location.search);
    const done = await navigator.clipboard?.writeText(address).then(() => true, () => false);
    made.textContent = done ? "Copied" : "Use the address bar";
    setTimeout(() => { made.textContent = "Copy link"; }, 1600);
  });
  return made;
}

// On a tablet the left column would take the picture's room: it starts folded, and opens over the page. It is drawn
// after this row, so it is waited for; until then the style keeps it out of sight.
const WAIT_MS = 60, WAITS = 100;

function foldLeftColumn(waited = 0) {
  if (window.__qkFolded && waited === 0) return;
  window.__qkFolded = true;
  const column = document.querySelector("[data-testid=stSidebar]");
  const button = column?.querySelector("[data-testid=stSidebarCollapseButton] button");
  const isDone = window.innerWidth >= 1000 || column?.dataset.collapsed === "true" || waited > WAITS;
  if (!isDone && button) button.click();
  if (!isDone && !button) return setTimeout(foldLeftColumn, WAIT_MS, waited + 1);
  document.documentElement.toggleAttribute("data-qk-folded", true);
}
