// Points as they come: places in two or three dimensions, and flags packed eight to a byte, the first in the highest bit.
function spread(places, dims) {
  if (dims === 3) return places;
  const points = new Float32Array(places.length / 2 * 3);
  for (let at = 0; at < places.length / 2; at++) { points[3 * at] = places[2 * at]; points[3 * at + 1] = places[2 * at + 1]; }
  return points;
}

function unpackBits(text, length) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)), bits = new Uint8Array(length);
  for (let at = 0; at < length; at++) bits[at] = bytes[at >> 3] >> (7 - (at & 7)) & 1;
  return bits;
}

// The point under the pointer, or the patch; dimmed ones have to be nearer, filtered ones are not found.
const NEAR = 9;

function nearest(scatter, x, y) {
  const {camera} = scatter, {points, states, n} = scatter.data, m = camera.turn, {zoom} = camera;
  const fresh = nearestNew(scatter, x, y);
  if (fresh !== null) return fresh;
  let best = null, closest = Math.max(NEAR * ratio(), scatter.patchReach()) ** 2;
  for (let at = 0; at < 2 * n; at++) {
    if (states[at] === 0) continue;
    const px = points[3 * at] - camera.middle[0], py = points[3 * at + 1] - camera.middle[1], pz = points[3 * at + 2] - camera.middle[2];
    const dx = (m[0] * px + m[3] * py + m[6] * pz) * zoom + camera.x - x, dy = -(m[1] * px + m[4] * py + m[7] * pz) * zoom + camera.y - y;
    const far = (dx * dx + dy * dy) / (states[at] > 0.9 ? 1 : 0.5);
    if (far < closest) { closest = far; best = at; }
  }
  return best;
}
