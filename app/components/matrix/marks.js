// Draws nothing itself: hands what is marked and picked to the matrix and to the card, so that a search sends no thumbnails.
export default function (component) {
  const state = mount(component.parentElement, () => ({digest: null}));
  const {header, sections} = unpack(component.data);
  if (state.digest === header.digest) return undefined;
  state.digest = header.digest;
  const pictures = header.stacks.map((stack) => sections[stack.lit]);
  Promise.all(pictures.map((bytes) => bytes?.length ? createImageBitmap(new Blob([bytes], {type: "image/png"})) : null)).then((images) => {
    if (state.digest !== header.digest) return;
    board().post("atlas.marks", {...header, images, picked: header.stacks.map((stack) => sections[stack.picked])});
  });
  return undefined;
}
