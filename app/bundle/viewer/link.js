// The address holds the whole view, as in the app: what stands behind its address stands here behind the #.
const NUMBERS = ["head", "input", "token"];

// {view, words, notes}: words of the link as text, numbers as numbers where they are some, and a sentence for each that is none.
function readLink() {
  const [path, query] = decodeHash().split("?"), words = Object.fromEntries(new URLSearchParams(query ?? "")), notes = [];
  for (const word of NUMBERS.filter((each) => each in words)) {
    if (/^\d{1,12}$/.test(words[word])) { words[word] = Number(words[word]); continue; }
    notes.push(`The link says ${word} “${words[word].slice(0, 40)}”, but ${word === "input" ? "an" : "a"} ${word} is a whole number from 0; it was left out.`);
    delete words[word];
  }
  if (words.kind && words.kind !== "key" && words.kind !== "query") notes.push(`The link says kind “${words.kind.slice(0, 40)}”, but a point is a query or a key; query was taken.`);
  return {view: path.replace(/^\/+|\/+$/g, "") || "atlas", words, notes};
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
function resolve({view, words, notes: unread}, about) {
  const notes = [...unread], {sites} = about, hides = words.sinks === "hidden";
  const known = (word, value, all, what, first = 0) => {
    if (value === undefined || all.includes(value)) return value === undefined ? first : all.indexOf(value);
    notes.push(`This bundle has no ${what} “${value}” (it has: ${all.slice(0, 6).join(", ")}${all.length > 6 ? " and more" : ""}); ${all[first] ?? "none"} is shown.`);
    return first;
  };
  if (words.run && words.run !== about.run) notes.push(`The link is of run ${words.run}; this bundle holds ${about.run}.`);
  const site = sites[known("site", words.site, sites.map((each) => each.label), "attention site")];
  let head = words.head ?? 0;
  if (head >= site.n_heads) { notes.push(`${site.label} has heads 0 to ${site.n_heads - 1}; head 0 is shown.`); head = 0; }
  const names = about.maps.map((each) => each.name), twin = hides ? names.indexOf(about.maps[0]?.without_sinks) : 0;
  const map = names.length ? known("map", words.map, names, "map", Math.max(twin, 0)) : null;
  const colour = cycleOf(words.colour) ? words.colour : about.colours[known("colour", words.colour, about.colours.map(([name]) => name), "token column")][0];
  const score = words.score === undefined ? null : about.scores.findIndex((each) => each.name === words.score);
  if (score === -1) notes.push(`This bundle has no head score “${words.score}”.`);
  const input = about.inputs.find((each) => each.id === words.input) ?? (words.input === undefined && words.token !== undefined ? about.inputs[0] : null);
  if (words.input !== undefined && !input) notes.push(`This bundle has no input ${words.input}.`);
  let token = input ? words.token ?? null : null;
  if (token !== null && token >= input.n_tokens) { notes.push(`Input ${input.id} has tokens 0 to ${input.n_tokens - 1}; none is picked.`); token = null; }
  const kind = words.kind === "key" ? "key" : "query";
  notes.push(...unheard(view, words, about));
  return {view, words, notes, site, head, map, colour, hides, score: score === -1 ? null : score, input, token, kind};
}

// Changes of the link that hide sinks, or show them again: `switch_sinks` of app/state.py.
function switchSinks(words, about) {
  const twinOf = (name) => about.maps.find((each) => each.name === name)?.without_sinks ?? null, {map, was, sinks} = words;
  if (sinks === "hidden") return {sinks: null, was: null, ...(was && twinOf(was) === map ? {map: was} : {})};
  const twin = twinOf(map);
  return {sinks: "hidden", was: twin ? map : null, ...(twin ? {map: twin} : {})};
}
