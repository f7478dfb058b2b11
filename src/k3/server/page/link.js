/** All that is chosen on the page, as its address: who opens the link sees the same. What is not chosen is left out. */

const NAMES = { words: "q", selector: "l", kind: "state", sort: "sort", group: "group", node: "node", at: "at" };
const DEFAULT_SORT = "state";

/** Returns what an address says. */
export function read(location) {
  const said = new URLSearchParams(location.search);
  const found = Object.fromEntries(Object.entries(NAMES).map(([key, name]) => [key, said.get(name) ?? ""]));
  const isDown = found.sort.startsWith("-");
  const at = /^\d{1,15}$/.test(found.at) ? found.at : ""; // milliseconds that a Date can have
  return { ...found, at, sort: found.sort.replace(/^-/, "") || DEFAULT_SORT, isDown };
}

/** Returns the address of a choice. */
export function written(choice) {
  const sort = (choice.isDown ? "-" : "") + choice.sort;
  const said = new URLSearchParams();
  for (const [key, name] of Object.entries(NAMES)) {
    const value = key === "sort" ? (sort === DEFAULT_SORT ? "" : sort) : choice[key];
    if (value) said.set(name, value);
  }
  return said.size ? `?${said}` : "/";
}

/** Returns the token in the fragment of an address (`#token=…`), which is never sent to a server; empty: there is none. */
export const tokenIn = (location) => new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
