// Draw a group of controls anew without taking the keyboard's place away: who had the focus gets it back, by name.
function keepFocus(root, draw) {
  const active = root.getRootNode().activeElement, name = active && root.contains(active) ? active.dataset.focus : null;
  draw();
  if (name) root.querySelector(`[data-focus="${CSS.escape(name)}"]`)?.focus({preventScroll: true});
}
