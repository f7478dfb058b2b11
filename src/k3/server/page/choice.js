/**
 * Which Machines are shown, in which order and in which groups; `order.js` puts them there. Pure.
 *
 * What is wanted has `words` (each must be found somewhere), `selects` (labels), `kind` (empty: all), `sort`, `isDown`, `group`.
 */

/** What a Node may be counted as, the worst first; the order of the table unless another one is chosen. */
export const KINDS = ["notready", "unknown", "suspect", "none", "ready"];
export const KIND_WORDS = { notready: "not ready", unknown: "unknown", suspect: "in doubt", none: "not known then", ready: "ready" };
const RANK = Object.fromEntries(KINDS.map((kind, rank) => [kind, rank]));
/** The group of the Machines that have nothing to be grouped by. */
export const NONE = "(none)";
/** How a group by a label begins, that has its key behind it: a label may be named `zone`, too. */
export const LABEL = "label:";

/** By name of a column: what is compared. Texts and numbers are compared as they are; what is missing comes last. */
const KEYS = {
  name: (each) => each.nameKey,
  state: (each) => RANK[each.state.kind] * 2 + (each.state.isCordoned ? 0 : 1),
  seen: (each) => -each.lastSeen,
  address: (each) => each.addressKey,
  source: (each) => each.sourceName,
  age: (each) => -each.created,
};
export const SORTS = Object.keys(KEYS);

/** Returns a function that says whether a Machine fits. */
export function fitting({ words, selects, kind }) {
  const terms = words.toLowerCase().split(/\s+/).filter(Boolean);
  return (each) => (!kind || each.state.kind === kind) && terms.every((term) => each.words.includes(term)) && selects(each.labels);
}

/** Returns a function that compares two Machines, a total order: it is never 0 for two different Machines. */
export function comparison({ sort, isDown }) {
  const key = KEYS[sort] ?? KEYS.state;
  const direction = isDown ? -1 : 1;
  return (one, other) => {
    const a = key(one), b = key(other);
    if (a === b) return byName(one, other);
    if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b) || byName(one, other);
    return a < b ? -direction : direction;
  };
}

const isMissing = (key) => key === "" || Number.isNaN(key);
const byText = (one, other) => (one < other ? -1 : one > other ? 1 : 0);
const byName = (one, other) => byText(one.nameKey, other.nameKey) || byText(one.name, other.name);

/** Returns the key of the label that a group is by; empty: it is by something else, or there is none. */
export const labelOf = (group) => (group.startsWith(LABEL) ? group.slice(LABEL.length) : "");

/** Returns by what a Machine is grouped: `zone`, `source`, `state`, or a label (`label:KEY`); null: by nothing. */
export function grouping(group) {
  if (!group) return null;
  if (group === "zone") return (each) => each.zone;
  if (group === "source") return (each) => each.sourceName;
  if (group === "state") return (each) => each.state.label;
  const key = labelOf(group);
  return (each) => (Object.hasOwn(each.labels, key) ? String(each.labels[key]) : "");
}

/** Compares two groups: those with troubled Machines first, and last the one of those that have nothing to be grouped by. */
export const compareGroups = (one, other) =>
  (one.name === NONE) - (other.name === NONE) || (other.troubled > 0) - (one.troubled > 0) || byText(one.name, other.name);
