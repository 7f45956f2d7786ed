// The lasso: a line drawn round points. The polygon goes to the server, which finds the points.
const CORNER_APART = 4, MOST_CORNERS = 240;

function makeLasso(scatter) {
  let corners = null, waiting = false;

  const begin = (x, y) => { corners = [[x, y]]; scatter.drawing = corners; };

  function follow(x, y) {
    const [lastX, lastY] = corners.at(-1);
    if (Math.hypot(x - lastX, y - lastY) < CORNER_APART * ratio()) return;
    corners.push([x, y]);
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; scatter.decorate(); });
  }

  function stop() { corners = scatter.drawing = null; }

  // Corners in the plane the map is seen in, few enough to send.
  function finish() {
    const {camera, header} = scatter, every = Math.ceil(corners.length / MOST_CORNERS);
    const polygon = corners.filter((_, at) => at % every === 0).map(([x, y]) => camera.plane(x, y));
    const flat = header.dims === 2;
    stop();
    scatter.arm(false);
    if (polygon.length < 3) return scatter.decorate();
    scatter.lasso = {polygon, turn: flat ? null : [...camera.turn], middle: [...camera.middle]};
    scatter.decorate();
    scatter.send("lasso", {...scatter.lasso, view: header.view, ...scatter.filters.words(header.colour)});
  }

  return {begin, follow, finish, stop, on: () => corners !== null};
}
