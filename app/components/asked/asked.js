// Session storage is of one tab and one origin, and outlives the visit to the provider.
const KEPT = "qk-asked";

export default function (component) {
  const here = location.pathname + location.search;
  if (component.data.keep) {
    sessionStorage.setItem(KEPT, here);
    return;
  }
  const asked = sessionStorage.getItem(KEPT);
  sessionStorage.removeItem(KEPT);
  if (asked && asked !== here && !location.search && location.pathname.endsWith("/")) location.replace(location.origin + asked);
}
