// What stands out in every view: the points a lasso holds, or else the tokens a search finds. As `marks` of app/marks.py.
async function marksOf(state, about) {
  const {words, notes} = state, asked = (words.find ?? "").trim();
  if (!words.lasso && !asked) return null;
  const tokens = await load("tokens"), found = words.lasso ? await lassoed(tokens, words.lasso, about, notes) : searched(tokens, asked, notes);
  if (!found) return null;
  const {flags, half} = found, n = total_of(flags), {n: n_tokens} = tokens.header, inputs = new Set();
  flags.forEach((flag, row) => { if (flag) inputs.add(tokens.sections.at_input_id[row]); });
  const [queries, keys] = half ? [total_of(half.subarray(0, n_tokens)), total_of(half.subarray(n_tokens))] : [n, n];
  return {...found, n, queries, keys, inputs, n_inputs: inputs.size, key: `${words.lasso ?? ""} ${asked}`};
}

const total_of = (flags) => flags.reduce((sum, flag) => sum + flag, 0);

// How much is marked, as the Head page says it under its picture.
const saidOf = ({title, queries, keys}) => `${title}: ${count(queries, "1 query", "queries")}, ${count(keys, "1 key", "keys")}`;
