// Where the map is looked at from, as a word of the link: which picture, the place in the middle of the screen, how many
// times larger than the whole, and in 3-D the turn, as in `camera=4f2a:0.31,-1.2,3`. It is written without the server
// and leaves no step in the history. A page without a server brings its own `board().link`.
const CAMERA = "camera", SETTLED_MS = 350;

function linkWords() {
  board().link ??= {
    read: (word) => new URLSearchParams(location.search).get(word),
    write: (word, value) => {
      const address = new URL(location.href);
      if (value === null) address.searchParams.delete(word); else address.searchParams.set(word, value);
      history.replaceState(history.state, "", address);
    },
  };
  return board().link;
}

function makeCameraLink(scatter) {
  const {camera} = scatter, number = (value) => String(Number(value.toPrecision(4)));
  let waiting = null;

  // Four digits of the picture's name: another head is another picture, with a place of its own.
  function picture() {
    let sum = 0x811c9dc5;
    for (const letter of scatter.header.view) sum = Math.imul(sum ^ letter.codePointAt(0), 0x01000193);
    return (sum >>> 16).toString(16).padStart(4, "0");
  }

  function word() {
    if (camera.isWhole()) return null;
    const turn = scatter.header.dims === 3 ? [camera.yaw, camera.pitch] : [];
    return `${picture()}:${[...camera.plane(0, 0), camera.zoom / camera.fitted, ...turn].map(number).join(",")}`;
  }

  function write() {
    if (!scatter.host.isConnected || !scatter.header || scatter.header.side) return;
    const said = linkWords().read(CAMERA), now = word();
    // What another picture left stays until this one has a place of its own.
    if (now !== said && (now !== null || said?.startsWith(`${picture()}:`))) linkWords().write(CAMERA, now);
  }

  return {
    note: () => { clearTimeout(waiting); waiting = setTimeout(write, SETTLED_MS); },
    apply: () => {
      const [name, numbers] = (linkWords().read(CAMERA) ?? "").split(":"), said = (numbers ?? "").split(",").map(Number);
      if (scatter.header.side || name !== picture() || said.length !== (scatter.header.dims === 3 ? 5 : 3) || !said.every(Number.isFinite)) return;
      camera.lookAt(...said);
    },
    leave: () => clearTimeout(waiting),
  };
}
