// The camera: where a point is seen, in device pixels from the middle of the canvas, down positive.
const FLAT = new Float32Array([1, 0, 0, 0, 1, 0, 0, 0, 1]);

function seen(camera, points, at) {
  const [x, y, z] = [points[3 * at] - camera.middle[0], points[3 * at + 1] - camera.middle[1], points[3 * at + 2] - camera.middle[2]];
  const m = camera.turn;
  return [(m[0] * x + m[3] * y + m[6] * z) * camera.zoom + camera.x, -(m[1] * x + m[4] * y + m[7] * z) * camera.zoom + camera.y];
}

function turned(yaw, pitch) {
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  return new Float32Array([cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy]);
}

const ratio = () => window.devicePixelRatio || 1;

// Room at the top of the stage for the bar with the head's name, in CSS pixels.
const BAR = 40;

// How a map in three dimensions is turned at first.
const YAW = 0.6, PITCH = 0.4;

function makeCamera(scatter) {
  const camera = {x: 0, y: 0, zoom: 1, fitted: 1, yaw: YAW, pitch: PITCH, turn: FLAT, middle: new Float32Array(3), view: null};

  // Fit the canvases to the stage; `anew` shows the whole map, otherwise the view is kept.
  camera.fit = (anew) => {
    const {stage, canvas, overlay, header} = scatter;
    const [wide, tall] = [stage.clientWidth * ratio(), stage.clientHeight * ratio()];
    if (!header || !wide || !tall) return;
    if (canvas.width !== wide || canvas.height !== tall) for (const each of [canvas, overlay]) { each.width = wide; each.height = tall; }
    const now = fitted(wide, tall);
    if (!anew && camera.view === header.frame) {
      camera.zoom *= now / camera.fitted;
      camera.fitted = now;
      return;
    }
    const {low, high, dims} = header;
    camera.middle = new Float32Array([0, 1, 2].map((axis) => ((low[axis] ?? 0) + (high[axis] ?? 0)) / 2));
    camera.turn = dims === 3 ? turned(camera.yaw, camera.pitch) : FLAT;
    Object.assign(camera, {x: 0, y: lowered(), view: header.frame, fitted: now, zoom: now});
  };

  const lowered = () => (scatter.header.dims === 3 ? 0 : BAR / 2 * ratio());

  // Whether the map is seen as it opens.
  camera.isWhole = () => Math.abs(camera.zoom / camera.fitted - 1) < 1e-4 && Math.hypot(camera.x, camera.y - lowered()) < 1 && (scatter.header.dims !== 3 || (camera.yaw === YAW && camera.pitch === PITCH));

  // See the place (x, y) of the plane in the middle, so many times larger than the whole, turned so in 3-D.
  camera.lookAt = (x, y, larger, yaw, pitch) => {
    camera.zoom = camera.fitted * Math.min(Math.max(larger, 0.5), 400);
    if (yaw !== undefined) Object.assign(camera, {yaw, pitch, turn: turned(yaw, pitch)});
    Object.assign(camera, {x: -x * camera.zoom, y: y * camera.zoom});
  };

  function fitted(wide, tall) {
    const {low, high, dims} = scatter.header;
    const spans = low.map((value, axis) => Math.max(high[axis] - value, 1e-6));
    if (dims === 3) return 0.94 * Math.min(wide, tall) / Math.hypot(...spans) * 1.25;
    return 0.92 * Math.min(wide / spans[0], (tall - BAR * ratio()) / spans[1]);
  }

  camera.zoomAt = (factor, x, y) => {
    const next = Math.min(Math.max(camera.zoom * factor, camera.fitted * 0.5), camera.fitted * 400);
    const real = next / camera.zoom;
    camera.x = x + (camera.x - x) * real;
    camera.y = y + (camera.y - y) * real;
    camera.zoom = next;
    scatter.redraw();
  };

  camera.turnBy = (x, y) => {
    camera.yaw += x / 200 / ratio();
    camera.pitch = Math.min(Math.max(camera.pitch + y / 200 / ratio(), -1.5), 1.5);
    camera.turn = turned(camera.yaw, camera.pitch);
  };

  camera.turnTo = (turn) => {
    Object.assign(camera, {yaw: Math.atan2(turn[6], turn[0]), pitch: Math.atan2(turn[5], turn[4]), turn: new Float32Array(turn)});
  };

  // A place on the screen in the plane the map is seen in: turned, relative to `middle`, up positive. And back.
  camera.plane = (x, y) => [(x - camera.x) / camera.zoom, -(y - camera.y) / camera.zoom];
  camera.screen = ([x, y]) => [x * camera.zoom + camera.x, -y * camera.zoom + camera.y];

  return camera;
}
