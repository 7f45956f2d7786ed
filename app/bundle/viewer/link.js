// The address holds the whole view, as in the app: what stands behind its address stands here behind the #.
const NUMBERS = ["head", "input", "token"];

// {view, words}: words of the link as text, numbers as numbers where they are some.
function readLink() {
  const [path, query] = decodeHash().split("?");
  const words = Object.fromEntries(new URLSearchParams(query ?? ""));
  for (const word of NUMBERS) {
    if (word in words && !/^\d{1,12}$/.test(words[word])) delete words[word];
    else if (word in words) words[word] = Number(words[word]);
  }
  return {view: path.replace(/^\/+|\/+$/g, "") || "atlas", words};
}

function decodeHash() {
  const hash = location.hash.replace(/^#/, "");
  return hash || location.search;  // a host of static pages may keep the app's own form
}

function linkOf(view, words) {
  const said = Object.entries(words).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(said.map(([word, value]) => [word, String(value)])).toString();
  return `#/${view === "atlas" ? "" : view}${query ? `?${query}` : ""}`;
}

// What the link says, checked against what the bundle has, with a sentence for each thing it has not.
function resolve({view, words}, about) {
  const notes = [], sites = about.sites;
  const known = (word, value, all, what) => {
    if (value === undefined || all.includes(value)) return value === undefined ? 0 : all.indexOf(value);
    notes.push(`This bundle has no ${what} “${value}” (it has: ${all.slice(0, 6).join(", ")}${all.length > 6 ? " and more" : ""}); ${all[0] ?? "none"} is shown.`);
    return 0;
  };
  if (words.run && words.run !== about.run) notes.push(`The link is of run ${words.run}; this bundle holds ${about.run}.`);
  const site = sites[known("site", words.site, sites.map((each) => each.label), "attention site")];
  let head = words.head ?? 0;
  if (head >= site.n_heads) { notes.push(`${site.label} has heads 0 to ${site.n_heads - 1}; head 0 is shown.`); head = 0; }
  const map = about.maps.length ? known("map", words.map, about.maps.map((each) => each.name), "map") : null;
  const colour = known("colour", words.colour, about.colours.map(([name]) => name), "token column");
  const score = words.score === undefined ? null : about.scores.findIndex((each) => each.name === words.score);
  if (score === -1) notes.push(`This bundle has no head score “${words.score}”.`);
  const input = about.inputs.find((each) => each.id === words.input) ?? (words.input === undefined && words.token !== undefined ? about.inputs[0] : null);
  if (words.input !== undefined && !input) notes.push(`This bundle has no input ${words.input}.`);
  let token = input ? words.token ?? null : null;
  if (token !== null && token >= input.n_tokens) { notes.push(`Input ${input.id} has tokens 0 to ${input.n_tokens - 1}; none is picked.`); token = null; }
  const kind = words.kind === "key" ? "key" : "query";
  return {view, words, notes, site, head, map, colour, score: score === -1 ? null : score, input, token, kind};
}
