// Follow the address: it says what is shown, and every choice is written into it.
const MAKERS = {atlas: makeAtlas, head: makeHead, input: makeInput, about: makeAbout};

async function start() {
  const about = (await load("about")).header;
  let shown = {name: null, view: null}, turns = 0;

  // Changes of the link's words (null takes one away); `quietly` leaves no step in the history.
  function go(view, changes, quietly) {
    const {view: now, words} = readLink(), next = Object.fromEntries(Object.entries({...words, ...changes}).filter(([, value]) => value !== null && value !== undefined));
    history[quietly ? "replaceState" : "pushState"](null, "", linkOf(view ?? now, next));
    follow();
  }

  // What a picture writes into the link by itself: it is seen already, so nothing follows.
  board().link = {
    read: (word) => readLink().words[word] ?? null,
    write: (word, value) => { const {view, words} = readLink(); history.replaceState(null, "", linkOf(view, {...words, [word]: value})); },
  };
  const frame = makeFrame(about, go);

  async function follow() {
    const turn = ++turns, isStale = () => turn !== turns, link = readLink(), state = resolve(link, about);
    if (!MAKERS[state.view]) { state.notes.push(`A bundle has no page “${state.view}”: it has Atlas, Head and Input; QK Atlas itself has the rest.`); state.view = "about"; }
    document.documentElement.dataset.state = "busy";
    try {
      if (shown.name !== state.view) {
        shown.view?.leave();
        frame.main.replaceChildren();
        shown = {name: state.view, view: MAKERS[state.view](about, frame, go)};
      }
      state.marks = state.view === "about" ? null : await marksOf(state, about);
      if (isStale()) return;
      frame.show(state);
      await shown.view.show(state, isStale);
    } catch (error) {
      if (!isStale()) state.notes.push(error.message);
      console.error(error);
    }
    if (isStale()) return;
    frame.show(state);
    document.documentElement.dataset.state = "still";
  }

  window.addEventListener("popstate", follow);
  window.addEventListener("hashchange", follow);
  window.addEventListener("themechange", () => { shown.view?.leave(); shown = {name: null, view: null}; frame.main.replaceChildren(); follow(); });
  await follow();
}

start().catch((error) => document.body.append(element("p", {role: "alert"}, `This bundle cannot be shown: ${error.message}`)));
