// What is said of what is shown: how much is hidden, and how it differs from the attention itself.
const NAMED_SINKS = 3;

// How much of the heads' attention is hidden with their sinks: `HiddenHere.sentence` of app/views/input_parts/hiding.py.
function sinksSentence(heads, hidden, columns, names, picked) {
  const of = (figure) => hidden.reduce((sum, each) => sum + each[figure], 0) / hidden.length, places = [...columns.keys()].filter((at) => columns[at]), isOne = hidden.length === 1;
  const which = isOne && places.length && places.length <= NAMED_SINKS ? ` (${places.map((at) => `“${names[at]}” at ${at}`).join(", ")})` : "", whose = isOne ? `${headName(heads[0])}’s attention here` : "these heads’ attention here";
  const own = of("learned") > 0.005 ? ` The softmax has a sink of its own, which took ${share(of("learned"))}: it is left out of the rows too.` : "";
  if (!of("n_columns")) return `No token is a sink here, so none is hidden.${own}${emptiedSentence(heads, hidden)}`;
  const said = `${share(of("share"))} of ${whose}, on ${counted(of("n_columns"), "token", "tokens")}${isOne ? "" : " a head"}${which}, is hidden; rows are scaled to sum to 1.${own}`;
  const mine = picked === null ? "" : ` Of the picked query’s it is ${share(hidden.reduce((sum, each) => sum + each.mass[picked], 0) / hidden.length)}.`;
  return `${said}${mine}${emptiedSentence(heads, hidden)}`;
}

// Queries of which no head has anything left.
function emptiedSentence(heads, hidden) {
  const n = hidden[0].left.reduce((sum, _, query) => sum + Number(hidden.every((each) => !each.left[query]) && hidden.some((each) => each.mass[query] > 0)), 0);
  return n ? ` Nothing is left of ${counted(n, "query", "queries")}, which ${n === 1 ? "looks" : "look"} at sinks only.` : "";
}

function counted(number, one, many) {
  const said = number >= 0.05 ? number.toLocaleString("en", {maximumFractionDigits: 1}) : "less than 0.1";
  return `${said} ${said === "1" ? one : many}`;
}

const headName = ({site, head}) => `L${site.depth}H${head}`;
const headNames = (heads) => (heads.length === 1 ? headName(heads[0]) : `the mean of ${heads.map(headName).join(", ")}`);

// How what is shown differs from the attention itself.
function notesOf({shown, gone, isWeighed, isGrouped, asksWeight}, unit, isTokenHidden) {
  const n = total_of(gone), says = [], [begin, end] = shown.spans[0], usual = shown.hidden_mass.slice(begin, end).reduce((sum, each) => sum + each, 0) / (end - begin);
  if (asksWeight && !isWeighed) says.push("This run holds no value vectors of this head, so weights are not multiplied by their norm.");
  if (n) {
    const own = unit === null ? "" : `, ${share(shown.hidden_mass[unit])} of the picked one's`;
    says.push(`${n.toLocaleString("en")} hidden token${n > 1 ? "s" : ""} held ${share(usual)} of a query's weight on average${own}; rows are scaled up to their old sum.`);
    if (shown.n_emptied) says.push(`${shown.n_emptied.toLocaleString("en")} queries looked at hidden tokens only: their rows are 0.`);
    if (isTokenHidden) says.push("The picked token is hidden.");
  }
  if (isGrouped) says.push("A word attends as the mean of its tokens and receives their sum.");
  if (isWeighed) says.push("Weights are multiplied by the length of the key's value vector: rows do not sum to 1.");
  return says;
}
