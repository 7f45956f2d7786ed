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
