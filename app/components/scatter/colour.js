// Colours of points: a ramp of 256 steps as a texture, and the same colours for the legend and the fallback.
function rampPixels(colour) {
  const pixels = new Uint8Array(256 * 4);
  const rgb = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  const stops = colour.stops.map(rgb);
  for (let step = 0; step < 256; step++) {
    let mixed;
    if (colour.categories) mixed = stops[Math.min(step, stops.length - 1)];
    else {
      const at = step / 255 * (stops.length - 1), low = Math.floor(at), high = Math.min(low + 1, stops.length - 1);
      mixed = stops[low].map((value, channel) => value + (stops[high][channel] - value) * (at - low));
    }
    pixels.set([...mixed.map(Math.round), 255], step * 4);
  }
  return pixels;
}

// Where on the ramp each value lies, 0 to 255; -1 where there is no value.
function rampSteps(values, colour) {
  const steps = new Float32Array(values.length);
  const span = colour.high - colour.low || 1;
  for (let at = 0; at < values.length; at++) {
    const value = values[at];
    steps[at] = Number.isNaN(value) ? -1 : colour.categories ? value : Math.min(Math.max((value - colour.low) / span, 0), 1) * 255;
  }
  return steps;
}
