// What a link of the app asks for that a page without a server cannot show: said in one sentence, instead of silently
// showing another view. Words of each page of the app, as phrases; what a word asks for by its own default is no wish.
const PICTURES = {lines: "the weights as lines", table: "the table of pairs", all: "the mean over all inputs", arrows: "the arrows of patches", flows: "the strong flows"};
const UNHEARD = {
  atlas: {},
  head: {
    want: (value) => `the map “${value.slice(0, 40)}”, which was still to be made`,
    beside: () => "a second head beside this one",
    beside_map: () => "the same head under another map beside it",
    near: () => "the points most like the picked one",
    new: newInput,
    size: (value, about) => (about.sizes.includes(value) ? null : `sizes by “${value.slice(0, 40)}”`),
  },
  input: {
    new: newInput,
    show: (value) => PICTURES[value] ?? null,
    part: (value) => (value === "content" || value === "position" ? `weights by ${value} alone` : null),
    step: (_, about) => (about.has_written ? "one step of what the model wrote" : null),
    smooth: (value, about) => (value === "1" && !about.is_text ? "smooth shading" : null),
    order: (value, about) => (about.head_scores.some((each) => each.name === value.replace(/^-/, "")) ? "the list of inputs ordered by a score" : null),
    rhythm: () => "how far each token looks back",
  },
};

function newInput(_, about) {
  return about.is_text ? "a text that is not in the run" : "an image that is not in the run";
}

// One sentence, or none.
function unheard(view, words, about) {
  const wishes = Object.entries({tour: () => "the tour", ...UNHEARD[view]}).filter(([word]) => words[word]).map(([word, phrase]) => phrase(String(words[word]), about)).filter(Boolean);
  if (!wishes.length || !UNHEARD[view]) return [];
  return [`This link also asked for ${wishes.length > 1 ? `${wishes.slice(0, -1).join(", ")} and ${wishes.at(-1)}` : wishes[0]}: open it in the app.`];
}
