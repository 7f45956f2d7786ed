// Drawing points: WebGL2 where the browser has it, a plain canvas where it has not. Both take the same calls:
// load(points, steps, kinds, pixels), marks(states), frame(camera, size, opacity).
const VERTEX = `#version 300 es
in vec3 place; in float step_; in float state; in float kind;
uniform mat3 turn; uniform vec3 middle; uniform vec2 scale, shift; uniform float size; uniform vec3 quiet; uniform sampler2D ramp; uniform float opacity;
out vec4 colour; flat out float shape; flat out float wide;
void main() {
  vec3 turned = turn * (place - middle);
  gl_Position = vec4(turned.xy * scale + shift, clamp(turned.z * 0.001, -1.0, 1.0) * -0.5, 1.0);
  wide = size * (state > 1.5 ? 1.5 : 1.0);
  gl_PointSize = wide + 1.0;
  vec3 plain = step_ < 0.0 ? quiet : texelFetch(ramp, ivec2(int(step_ + 0.5), 0), 0).rgb;
  float strength = state < 0.5 ? 0.14 : state > 1.5 ? 1.0 : opacity;
  colour = vec4(plain, strength);
  shape = kind;
  if (state < -0.5) gl_Position = vec4(9.0);
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 colour; flat in float shape; flat in float wide; out vec4 drawn;
void main() {
  vec2 from = abs(gl_PointCoord - 0.5) * (wide + 1.0);
  float reach = shape > 0.5 ? (from.x + from.y) * 0.78 : length(from);
  float cover = clamp(wide * 0.5 - reach + 0.5, 0.0, 1.0);
  drawn = vec4(colour.rgb, 1.0) * (colour.a * cover);
}`;

function makeDrawer(canvas) {
  const gl = canvas.getContext("webgl2", {antialias: false, alpha: true, premultipliedAlpha: true, powerPreference: "high-performance"});
  return gl ? gpuDrawer(gl, canvas) : plainDrawer(canvas);
}

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
  const uniform = (name) => gl.getUniformLocation(program, name);
  const at = Object.fromEntries(["turn", "middle", "scale", "shift", "size", "quiet", "opacity"].map((name) => [name, uniform(name)]));
  const buffers = {};
  const texture = gl.createTexture();
  let count = 0, quiet = [0.5, 0.55, 0.6];
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);

  function fill(name, values, width) {
    const place = gl.getAttribLocation(program, name);
    buffers[name] ??= gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, width, gl.FLOAT, false, 0, 0);
  }

  return {
    kind: "webgl2",
    load(points, steps, kinds, pixels) {
      count = kinds.length;
      fill("place", points, 3);
      fill("step_", steps, 1);
      fill("kind", kinds, 1);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    },
    marks(states) { fill("state", states, 1); },
    frame(camera, size, opacity) {
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
      gl.uniform3fv(at.quiet, quiet);
      gl.drawArrays(gl.POINTS, 0, count);
    },
    leave() { gl.getExtension("WEBGL_lose_context")?.loseContext(); },
  };
}

function plainDrawer(canvas) {
  const context = canvas.getContext("2d");
  let points, steps, kinds, pixels, states;
  return {
    kind: "canvas",
    load(...loaded) { [points, steps, kinds, pixels] = loaded; },
    marks(given) { states = given; },
    frame(camera, size, opacity) {
      context.clearRect(0, 0, canvas.width, canvas.height);
      for (let at = 0; at < kinds.length; at++) {
        if (states[at] < -0.5) continue;
        const [x, y] = seen(camera, points, at);
        const left = canvas.width / 2 + x, top = canvas.height / 2 + y;
        if (left < 0 || top < 0 || left > canvas.width || top > canvas.height) continue;
        const step = Math.round(steps[at]) * 4;
        context.globalAlpha = states[at] < 0.5 ? 0.14 : states[at] > 1.5 ? 1 : opacity;
        context.fillStyle = step < 0 ? "#8A9099" : `rgb(${pixels[step]} ${pixels[step + 1]} ${pixels[step + 2]})`;
        context.fillRect(left - size / 2, top - size / 2, size, size);
      }
    },
    leave() {},
  };
}

// Where a point is seen, in device pixels from the middle of the canvas, down positive.
function seen(camera, points, at) {
  const [x, y, z] = [points[3 * at] - camera.middle[0], points[3 * at + 1] - camera.middle[1], points[3 * at + 2] - camera.middle[2]];
  const m = camera.turn;
  return [(m[0] * x + m[3] * y + m[6] * z) * camera.zoom + camera.x, -(m[1] * x + m[4] * y + m[7] * z) * camera.zoom + camera.y];
}

const FLAT = new Float32Array([1, 0, 0, 0, 1, 0, 0, 0, 1]);

function turned(yaw, pitch) {
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  return new Float32Array([cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy]);
}
