// What is filtered away by the legend: kinds, classes, a range of the ramp. A word of the link each.
function makeFilters() {
  const filters = {codes: new Set(), kinds: new Set(), range: null};

  filters.read = ({hide, range, kinds}, colour) => {
    const mine = (word) => (word?.startsWith(`${colour.name}:`) ? word.slice(colour.name.length + 1) : "");
    filters.codes = new Set(mine(hide).split(",").filter(Boolean).map(Number));
    filters.kinds = new Set((kinds ?? "").split(",").filter((kind) => kind === "query" || kind === "key"));
    const ends = mine(range).split("~").map(Number);
    filters.range = ends.length === 2 && ends.every(Number.isFinite) ? ends : null;
  };

  // The words of the link, null where nothing is filtered.
  filters.words = (colour) => ({
    hide: filters.codes.size ? `${colour.name}:${[...filters.codes].join(",")}` : null,
    kinds: filters.kinds.size ? [...filters.kinds].join(",") : null,
    range: filters.range ? `${colour.name}:${filters.range.map((end) => Number(end.toPrecision(4))).join("~")}` : null,
  });

  filters.any = () => filters.codes.size + filters.kinds.size > 0 || filters.range !== null;

  filters.hides = (isQuery, value, colour) => {
    if (filters.kinds.has(isQuery ? "query" : "key")) return true;
    if (colour.kind === "kind") return false;
    if (colour.categories) return filters.codes.has(Number.isNaN(value) ? -1 : value);
    return filters.range !== null && !(value >= filters.range[0] && value <= filters.range[1]);
  };

  return filters;
}
