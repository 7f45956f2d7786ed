export default function (component) {
  const {data, parentElement} = component;
  const nav = mount(parentElement, (host) => host.appendChild(element("nav", {"aria-label": "Pages"})));
  nav.go = (name) => component.setTriggerValue("go", name);
  nav.replaceChildren(...data.pages.map((page, place) => link(nav, page, place === 0, data)), copyButton());
}

function link(nav, page, isLanding, data) {
  const base = location.pathname.replace(/\/[^/]*$/, "/");
  const address = () => base + (isLanding ? "" : page.name) + location.search;
  const made = element("a", {href: address(), "aria-current": page.name === data.current ? "page" : null}, page.title);
  for (const event of ["pointerenter", "focus"]) made.addEventListener(event, () => { made.href = address(); });
  made.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    if (page.name !== data.current) nav.go(page.name);
  });
  return made;
}

function copyButton() {
  const made = element("button", {type: "button", title: "Copy the link to exactly this view"}, "Copy link");
  made.addEventListener("click", async () => {
    const done = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    made.textContent = done ? "Copied" : "Use the address bar";
    setTimeout(() => { made.textContent = "Copy link"; }, 1600);
  });
  return made;
}
