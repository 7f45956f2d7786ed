// The token table, and which tokens a search finds.
const LONGEST_SEARCH = 200;

// The rows of the token table that are of an input: they stand together.
function rowsOf(tokens, id) {
  const {at_input_id: ids} = tokens.sections, first = ids.indexOf(id);
  return [first, ids.lastIndexOf(id) + 1];
}

const textAtRow = (tokens, row) => tokens.header.texts[tokens.sections.words[row]];

// The marked set that a search finds; of one that cannot be understood the note alone.
function searched(tokens, words, notes) {
  if (words.length > LONGEST_SEARCH) { notes.push(`The search has ${words.length} letters; at most ${LONGEST_SEARCH} are looked for: shorten it.`); return null; }
  try {
    return {flags: findTokens(tokens, words), title: `search “${words}”`};
  } catch (error) {
    notes.push(`The search “${words}” is not a regular expression (${error.message}); correct it, or leave the slashes away to look for plain text.`);
    return null;
  }
}

// Which tokens a search finds: `find_tokens` of app/search.py.
function findTokens(tokens, words) {
  const {n, texts, input_texts: whole} = tokens.header, {words: codes, starts, ends} = tokens.sections, found = new Uint8Array(n);
  const equation = words.match(/^([^=]+)=(.*)$/s), column = equation && columnOf(tokens, equation[1]);
  if (column) return equals(column, equation[2], n);
  const isRegex = words.length > 2 && words.startsWith("/") && words.endsWith("/"), source = isRegex ? words.slice(1, -1) : words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const pattern = new RegExp(source, "giu"), hits = texts.map((text) => { pattern.lastIndex = 0; return pattern.test(text); });
  for (let row = 0; row < n; row++) found[row] = hits[codes[row]];
  for (const [id, text] of Object.entries(whole ?? {})) {
    const [first, end] = rowsOf(tokens, Number(id));
    if (first < 0 || !starts) continue;
    for (const match of text.matchAll(pattern)) {
      const from = [...text.slice(0, match.index)].length, to = from + [...match[0]].length;
      for (let row = first; row < end; row++) if (starts[row] < to && ends[row] > from && ends[row] > starts[row]) found[row] = 1;
      if (match[0] === "") break;
    }
  }
  return found;
}

// A column of the token table: {names, codes} of classes (a code under 0 for no value), or {numbers}; null for none.
function columnOf(tokens, name) {
  const {header, sections} = tokens, place = header.colours.findIndex((each) => each.name === name);
  if (place > 0) {
    if (sections[`codes${place}`]) return {names: header.values[place], codes: sections[`codes${place}`]};
    const values = sections[`numbers${place}`] ?? sections[`values${place}`].subarray(0, header.n), {categories} = header.colours[place];
    return categories ? {names: categories.map((each) => each.name), codes: values} : {numbers: values};
  }
  if (name === "text") return {names: header.texts, codes: sections.words};
  return name === "input_id" || name === "position" ? {numbers: sections[`at_${name}`]} : null;
}

// As numbers where all of a column are some, else as text whose case does not count.
function equals({names, codes, numbers}, value, n) {
  const asked = value.trim() === "" ? NaN : Number(value);
  if (numbers) return Uint8Array.from({length: n}, (_, row) => Number(numbers[row] === Math.fround(asked)));
  const as_number = (name) => (name === "True" ? 1 : name === "False" ? 0 : name.trim() === "" ? NaN : Number(name));
  const byNumber = !Number.isNaN(asked) && names.every((name) => !Number.isNaN(as_number(name)));
  const hits = names.map((name) => (byNumber ? as_number(name) === asked : name.toLowerCase() === value.toLowerCase()));
  return Uint8Array.from({length: n}, (_, row) => Number(hits[codes[row]] === true));
}
