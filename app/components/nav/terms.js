// The glossary: whatever carries data-term, in the page or in a component, is explained under the pointer and on focus.
function makeTerms(host) {
  let said = {}, shown = null, leaving = 0;
  const tip = host.appendChild(element("div", {class: "means", role: "tooltip", id: "qk-means"}));
  const termOf = (event) => event.composedPath().find((each) => each.dataset?.term in said);

  function show(term) {
    clearTimeout(leaving);
    if (!term) return;
    shown = term;
    tip.replaceChildren(element("b", {}, term.dataset.term), ` ${said[term.dataset.term]}`);
    term.setAttribute("aria-description", said[term.dataset.term]);
    tip.classList.add("on");
    const box = term.getBoundingClientRect();
    const left = Math.max(8, Math.min(box.left, window.innerWidth - tip.offsetWidth - 8));
    const below = box.bottom + 6;
    const top = below + tip.offsetHeight > window.innerHeight - 4 ? box.top - tip.offsetHeight - 6 : below;
    Object.assign(tip.style, {left: `${left}px`, top: `${Math.max(4, top)}px`});
  }

  function hide() {
    shown = null;
    tip.classList.remove("on");
  }

  const hideSoon = () => { clearTimeout(leaving); leaving = setTimeout(hide, 120); };
  const listeners = {
    pointerover: (event) => { const term = termOf(event); if (term && term !== shown) show(term); },
    pointerout: (event) => { if (shown && termOf(event) === shown) hideSoon(); },
    focusin: (event) => show(termOf(event)),
    focusout: () => { if (shown) hide(); },
    scroll: () => { if (shown) hide(); },
    keydown: (event) => { if (event.key === "Escape" && shown) { hide(); event.stopPropagation(); } },
  };
  tip.addEventListener("pointerenter", () => clearTimeout(leaving));
  tip.addEventListener("pointerleave", hideSoon);
  const leave = () => { for (const [name, listener] of Object.entries(listeners)) document.removeEventListener(name, listener, true); };
  const say = (terms) => {
    said = terms;
    for (const [name, listener] of Object.entries(listeners)) document.addEventListener(name, listener, true);
  };
  return {say, leave};
}
