// Drawing points: WebGL2 where the browser has it, a plain canvas where it has not. Both take the same calls:
// load(points, steps, kinds, pixels), sizes(factors), tiles(sheet, places), move(points), marks(states), frame(...).
//
// State of a point: 0 filtered away (a trace), 0.25 dimmed, 0.6 half, 1 plain. Strong points are drawn last.
const TRACE = 0.07, DIMMED = 0.2, HALF = 0.42;
const VERTEX = `#version 300 es
in vec3 place; in float step_; in float state; in float kind; in float bulk; in float tile;
uniform mat3 turn; uniform vec3 middle; uniform vec2 scale, shift; uniform float size, patchSize, turnOf; uniform vec3 quiet; uniform sampler2D ramp; uniform float opacity;
out vec4 colour; flat out float shape; flat out float wide; flat out float part;
void main() {
  vec3 turned = turn * (place - middle);
  gl_Position = vec4(turned.xy * scale + shift, clamp(turned.z * 0.001, -1.0, 1.0) * -0.5, 1.0);
  part = patchSize > 0.0 && tile > -0.5 ? tile : -1.0;
  wide = part > -0.5 ? patchSize * bulk * (state < 0.4 ? 0.5 : 1.0) : size * bulk;
  gl_PointSize = wide + 1.0;
  vec3 plain = step_ < 0.0 ? quiet : texelFetch(ramp, ivec2(int(step_ + 0.5), 0), 0).rgb;
  float strength = state < 0.1 ? ${TRACE} : state < 0.4 ? ${DIMMED} : state < 0.8 ? ${HALF} : part > -0.5 ? 1.0 : opacity;
  colour = vec4(plain, strength);
  shape = kind;
  bool strong = state > 0.4;
  if (turnOf > -0.5 && strong != (turnOf > 0.5)) gl_Position = vec4(3.0, 3.0, 0.0, 1.0);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec4 colour; flat in float shape; flat in float wide; flat in float part; out vec4 drawn;
uniform sampler2D sheet; uniform float across; uniform vec3 edges[2];
void main() {
  vec2 from = abs(gl_PointCoord - 0.5) * (wide + 1.0);
  if (part > -0.5) {
    float reach = max(from.x, from.y), edge = wide * 0.5;
    vec2 corner = vec2(mod(part, across), floor(part / across));
    vec2 within = clamp((gl_PointCoord - 0.5) * (wide + 1.0) / max(wide - 3.2, 1.0) + 0.5, 0.02, 0.98);
    vec3 pixel = reach > edge - (wide > 9.0 ? 1.6 : 0.8) ? edges[shape > 0.5 ? 1 : 0] : texture(sheet, (corner + within) / across).rgb;
    drawn = vec4(pixel, 1.0) * (colour.a * clamp(edge - reach + 0.5, 0.0, 1.0));
    return;
  }
  float reach = shape > 0.5 ? (from.x + from.y) * 0.78 : length(from);
  float cover = clamp(wide * 0.5 - reach + 0.5, 0.0, 1.0);
  drawn = vec4(colour.rgb, 1.0) * (colour.a * cover);
}`;

function makeDrawer(canvas) {
  const gl = canvas.getContext("webgl2", {antialias: false, alpha: true, premultipliedAlpha: true, powerPreference: "high-performance"});
  return gl ? gpuDrawer(gl, canvas) : plainDrawer(canvas);
}

const asRgb = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));

function gpuDrawer(gl, canvas) {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  gl.useProgram(program);
  const names = ["turn", "middle", "scale", "shift", "size", "quiet", "opacity", "patchSize", "turnOf", "ramp", "sheet", "across", "edges"];
  const at = Object.fromEntries(names.map((name) => [name, gl.getUniformLocation(program, name)]));
  const buffers = {}, quiet = [0.5, 0.55, 0.6];
  const [ramp, sheet] = [texture(0), texture(1)];
  let count = 0, mixed = false, hasTiles = false;
  gl.uniform1i(at.ramp, 0);
  gl.uniform1i(at.sheet, 1);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);

  function texture(unit) {
    const made = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, made);
    const filter = unit ? gl.LINEAR : gl.NEAREST;
    for (const which of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, which, filter);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
    return made;
  }

  function fill(name, values, width) {
    const place = gl.getAttribLocation(program, name);
    buffers[name] ??= gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, width, gl.FLOAT, false, 0, 0);
  }

  // One value for all points needs no buffer.
  function constant(name, value) {
    const place = gl.getAttribLocation(program, name);
    gl.disableVertexAttribArray(place);
    gl.vertexAttrib1f(place, value);
  }

  return {
    kind: "webgl2",
    load(points, steps, kinds, pixels) {
      count = kinds.length;
      fill("place", points, 3);
      fill("step_", steps, 1);
      fill("kind", kinds, 1);
      constant("tile", -1);
      hasTiles = false;
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D, ramp);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    },
    sizes(factors) { if (factors) fill("bulk", factors, 1); else constant("bulk", 1); },
    tiles(picture, places, across, colours) {
      hasTiles = Boolean(picture);
      if (!picture) return;
      fill("tile", places, 1);
      gl.activeTexture(gl.TEXTURE1);
      gl.bindTexture(gl.TEXTURE_2D, sheet);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, picture);
      gl.uniform1f(at.across, across);
      gl.uniform3fv(at.edges, colours.flatMap(asRgb).map((value) => value / 255));
    },
    move(points) { fill("place", points, 3); },
    marks(states) {
      fill("state", states, 1);
      mixed = states.some((state) => state < 0.8);
    },
    frame(camera, size, opacity, patchSize) {
      const {width, height} = canvas;
      gl.viewport(0, 0, width, height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniformMatrix3fv(at.turn, false, camera.turn);
      gl.uniform3fv(at.middle, camera.middle);
      gl.uniform2f(at.scale, 2 * camera.zoom / width, 2 * camera.zoom / height);
      gl.uniform2f(at.shift, 2 * camera.x / width, -2 * camera.y / height);
      gl.uniform1f(at.size, size);
      gl.uniform1f(at.opacity, opacity);
      gl.uniform1f(at.patchSize, hasTiles ? patchSize : 0);
      gl.uniform3fv(at.quiet, quiet);
      for (const turnOf of mixed ? [0, 1] : [-1]) {
        gl.uniform1f(at.turnOf, turnOf);
        gl.drawArrays(gl.POINTS, 0, count);
      }
    },
    leave() { gl.getExtension("WEBGL_lose_context")?.loseContext(); },
  };
}

function plainDrawer(canvas) {
  const context = canvas.getContext("2d");
  let points, steps, kinds, pixels, states, bulk = null, sheet = null;
  return {
    kind: "canvas",
    load(...loaded) { [points, steps, kinds, pixels] = loaded; sheet = null; },
    sizes(factors) { bulk = factors; },
    tiles(picture, places, across, colours) { sheet = picture && {picture, places, across, colours, pixels: picture.width / across}; },
    move(moved) { points = moved; },
    marks(given) { states = given; },
    frame(camera, size, opacity, patchSize) {
      context.clearRect(0, 0, canvas.width, canvas.height);
      for (const strong of [false, true]) {
        for (let at = 0; at < kinds.length; at++) {
          if (states[at] > 0.4 !== strong) continue;
          const [x, y] = seen(camera, points, at);
          const left = canvas.width / 2 + x, top = canvas.height / 2 + y;
          if (left < 0 || top < 0 || left > canvas.width || top > canvas.height) continue;
          const state = states[at], step = Math.round(steps[at]) * 4, tile = sheet ? sheet.places[at] : -1;
          context.globalAlpha = state < 0.1 ? TRACE : state < 0.4 ? DIMMED : state < 0.8 ? HALF : tile >= 0 ? 1 : opacity;
          const wide = (tile >= 0 ? patchSize * (state < 0.4 ? 0.5 : 1) : size) * (bulk ? bulk[at] : 1);
          context.fillStyle = tile >= 0 ? sheet.colours[kinds[at]] : step < 0 ? "#8A9099" : `rgb(${pixels[step]} ${pixels[step + 1]} ${pixels[step + 2]})`;
          context.fillRect(left - wide / 2, top - wide / 2, wide, wide);
          if (tile < 0) continue;
          const edge = sheet.pixels;
          context.drawImage(sheet.picture, tile % sheet.across * edge, Math.floor(tile / sheet.across) * edge, edge, edge, left - wide / 2 + 1.6, top - wide / 2 + 1.6, wide - 3.2, wide - 3.2);
        }
      }
    },
    leave() {},
  };
}
