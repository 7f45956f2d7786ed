// Points glide to their new places when another head or map of the same tokens is shown.
const GLIDE_MS = 260, GLIDE_MOST = 30000;

function makeGlide(scatter) {
  let running = 0;

  // What is on the screen now, to start from later.
  const freeze = () => scatter.data && {points: scatter.data.points, n: scatter.header.n, dims: scatter.header.dims, frame: scatter.header.frame,
    camera: {...scatter.camera}};

  function start(old) {
    running += 1;
    const {header, data, camera} = scatter;
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (still || !old || old.frame === header.frame || old.n !== header.n || old.dims !== header.dims || 2 * header.n > GLIDE_MOST) return finish();
    const mine = running, target = data.points, first = startPlaces(old, camera, header.dims), moving = Float32Array.from(first);
    const begin = performance.now();
    data.points = moving;
    scatter.gliding = true;
    window.__qkAtlas.glides = (window.__qkAtlas.glides ?? 0) + 1;
    const step = () => {
      if (mine !== running) return;
      const share = Math.min((performance.now() - begin) / GLIDE_MS, 1), eased = 1 - (1 - share) ** 3;
      if (share === 1) { data.points = target; scatter.gliding = false; }
      else for (let at = 0; at < moving.length; at++) moving[at] = first[at] + (target[at] - first[at]) * eased;
      scatter.drawer.move(data.points);
      scatter.redraw();
      if (share === 1) finish(); else requestAnimationFrame(step);
    };
    step();
  }

  function finish() {
    scatter.gliding = false;
    window.__qkAtlas.rested = {at: performance.now(), view: scatter.header.view};
  }

  // The old places in the coordinates of the new camera, so that the first frame looks like the last one.
  function startPlaces(old, camera, dims) {
    const first = new Float32Array(old.points.length), scale = old.camera.zoom / camera.zoom;
    const shift = dims === 3 ? [0, 0, 0] : [(old.camera.x - camera.x) / camera.zoom, -(old.camera.y - camera.y) / camera.zoom, 0];
    for (let at = 0; at < first.length; at++) first[at] = camera.middle[at % 3] + (old.points[at] - old.camera.middle[at % 3]) * scale + shift[at % 3];
    return first;
  }

  return {freeze, start};
}
