/** Which Machines are shown, in which order and in which groups. Pure. */

/** What a Node may be counted as, the worst first; the order of the table unless another one is chosen. */
export const KINDS = ["notready", "unknown", "suspect", "none", "ready"];
export const KIND_WORDS = { notready: "not ready", unknown: "unknown", suspect: "in doubt", none: "not known then", ready: "ready" };
const RANK = Object.fromEntries(KINDS.map((kind, rank) => [kind, rank]));
const NONE = "(none)";
/** How a group by a label begins, that has its key behind it: a label may be named `zone`, too. */
export const LABEL = "label:";

/** By name of a column: what is compared. Texts and numbers are compared as they are; what is missing comes last. */
const KEYS = {
  name: (each) => each.nameKey,
  state: (each) => RANK[each.state.kind] * 2 + (each.state.isCordoned ? 0 : 1),
  seen: (each) => -each.lastSeen,
  address: (each) => each.address.replace(/\d+/g, (digits) => digits.padStart(3, "0")),
  source: (each) => each.sourceName,
  age: (each) => -each.created,
};
export const SORTS = Object.keys(KEYS);

/** Returns how many there are of each kind. */
export function counted(machines) {
  const counts = { ...Object.fromEntries(KINDS.map((kind) => [kind, 0])), all: 0 };
  for (const each of machines) {
    counts[each.state.kind] += 1;
    counts.all += 1;
  }
  return counts;
}

/**
 * Returns the Machines that fit, in order; heads of groups, `{group, count, troubled}`, among them.
 *
 * `wanted`: `words` (each must be found somewhere), `selects` (labels), `kind` (empty: all), `sort`, `isDown`, `group`.
 */
export function chosen(machines, wanted) {
  const words = wanted.words.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [];
  for (const each of machines) {
    if (wanted.kind && each.state.kind !== wanted.kind) continue;
    if (words.length && !words.every((word) => each.words.includes(word))) continue;
    if (wanted.selects(each.labels)) found.push(each);
  }
  found.sort(comparison(KEYS[wanted.sort] ?? KEYS.state, wanted.isDown ? -1 : 1));
  return wanted.group ? grouped(found, groupOf(wanted.group)) : found;
}

function comparison(key, direction) {
  return (one, other) => {
    const a = key(one), b = key(other);
    if (a !== b) {
      if (a === "" || Number.isNaN(a)) return Number.isNaN(b) ? tie(one, other) : 1;
      if (b === "" || Number.isNaN(b)) return -1;
      return a < b ? -direction : direction;
    }
    return tie(one, other);
  };
}

const tie = (one, other) => (one.nameKey < other.nameKey ? -1 : one.nameKey > other.nameKey ? 1 : 0);

/** Returns the key of the label that a group is by; empty: it is by something else, or there is none. */
export const labelOf = (group) => (group.startsWith(LABEL) ? group.slice(LABEL.length) : "");

/** Returns by what a Machine is grouped: `zone`, `source`, `state`, or a label (`label:KEY`). */
function groupOf(group) {
  if (group === "zone") return (each) => each.zone;
  if (group === "source") return (each) => each.sourceName;
  if (group === "state") return (each) => each.state.label;
  const key = labelOf(group);
  return (each) => (Object.hasOwn(each.labels, key) ? String(each.labels[key]) : "");
}

function grouped(machines, of) {
  const groups = new Map();
  for (const each of machines) {
    const name = of(each) || NONE;
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(each);
  }
  const heads = [...groups].map(([group, members]) => ({ group, members, troubled: members.filter((each) => each.state.kind !== "ready").length }));
  heads.sort((one, other) => (one.group === NONE) - (other.group === NONE) || Math.sign(other.troubled) - Math.sign(one.troubled) || (one.group < other.group ? -1 : 1));
  return heads.flatMap(({ group, members, troubled }) => [{ group, count: members.length, troubled }, ...members]);
}

/** Returns the keys of labels by which Machines can be told apart, the most common first. */
export function labelKeys(machines, limit = 40) {
  const counts = new Map();
  for (const { labels } of machines) for (const key of Object.keys(labels)) counts.set(key, (counts.get(key) ?? 0) + 1);
  return [...counts].sort((one, other) => other[1] - one[1] || (one[0] < other[0] ? -1 : 1)).slice(0, limit).map(([key]) => key);
}
