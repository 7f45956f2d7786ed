// Data come as scripts, which a page from a disk may load where it may not fetch: each hands its text to `take`.
"use strict";
const takers = new Map(), loaded = new Map(), KEPT = {head: 24, input: 2, atlas: 6};
QKATLAS.take = (name, text) => takers.get(name)?.(text);

// A message of `app.components.pack`: {header, sections}. The newest of each folder are kept.
function load(name) {
  if (!loaded.has(name)) {
    const folder = name.split("/")[0], old = [...loaded.keys()].filter((key) => key.startsWith(`${folder}/`));
    for (const key of old.slice(0, Math.max(0, old.length + 1 - (KEPT[folder] ?? 4)))) loaded.delete(key);
    loaded.set(name, read(name).catch((error) => { loaded.delete(name); throw error; }));
  }
  return loaded.get(name);
}

async function read(name) {
  const text = await new Promise((done, fail) => {
    takers.set(name, done);
    const script = element("script", {src: `data/${name}.js`, onerror: () => fail(new Error(`data/${name}.js is missing: copy the whole folder of the bundle.`))});
    script.addEventListener("load", () => { script.remove(); takers.delete(name); });
    document.head.append(script);
  });
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return unpack(new Uint8Array(await new Response(stream).arrayBuffer()));
}
