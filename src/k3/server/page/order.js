/**
 * The Machines that fit, in their order and groups, and how many there are of each kind. For a few changes there is no
 * sorting, filtering or counting of all: each leaves its place, which a binary search finds, for its new one. Pure.
 */

import { compareGroups, comparison, fitting, grouping, KINDS, NONE } from "/page/choice.js";

/** So many keys of labels are offered to group by. */
const MOST_KEYS = 40;

export class Order {
  #fits;
  #compare;
  #groupOf;
  #machines = new Map();
  #groups = new Map();
  #labels = new Map();
  #labelKeys = null;
  /** How many Machines there are, of each kind and in all, whether they fit or not. */
  counts = Object.fromEntries([...KINDS, "all"].map((kind) => [kind, 0]));

  /** `wanted`: as in `choice.js`. */
  constructor(machines, wanted) {
    this.#fits = fitting(wanted);
    this.#compare = comparison(wanted);
    this.#groupOf = grouping(wanted.group);
    for (const each of machines) {
      this.#count(each, 1);
      if (this.#fits(each)) this.#join(each).push(each);
    }
    for (const { members } of this.#groups.values()) members.sort(this.#compare);
  }

  /** Takes in how a Machine is now; `undefined`: it is gone. */
  put(name, machine) {
    const former = this.#machines.get(name);
    if (former !== undefined) this.#remove(former);
    if (machine === undefined) return;
    this.#count(machine, 1);
    if (!this.#fits(machine)) return;
    const members = this.#join(machine);
    members.splice(this.#search(members, machine), 0, machine);
  }

  /** Returns what is shown, in order: Machines, and before each group its head, `{group, count, troubled}`. */
  items() {
    if (this.#groupOf === null) return [...(this.#groups.get("")?.members ?? [])];
    const found = [];
    for (const group of [...this.#groups.values()].sort(compareGroups)) {
      found.push({ group: group.name, count: group.members.length, troubled: group.troubled });
      group.start = found.length;
      for (const each of group.members) found.push(each);
    }
    return found;
  }

  /** Returns the place of a Machine among the items that were returned last; undefined: it is not shown. */
  placeOf(name) {
    const machine = this.#machines.get(name);
    const [group, place] = machine === undefined ? [] : this.#find(machine);
    return group && group.start + place;
  }

  /** The keys of labels by which Machines can be told apart, the most common first. */
  get labelKeys() {
    const byCount = ([one, few], [other, many]) => many - few || (one < other ? -1 : 1);
    return (this.#labelKeys ??= [...this.#labels].sort(byCount).slice(0, MOST_KEYS).map(([key]) => key));
  }

  #remove(machine) {
    this.#count(machine, -1);
    const [group, place] = this.#find(machine);
    if (group === undefined) return;
    group.members.splice(place, 1);
    group.troubled -= isTroubled(machine);
    if (!group.members.length) this.#groups.delete(group.name);
  }

  /** Returns the group of a Machine and the place in it; nothing: it does not fit. */
  #find(machine) {
    const group = this.#groups.get(this.#nameOf(machine));
    const place = group ? this.#search(group.members, machine) : 0;
    return group?.members[place] === machine ? [group, place] : [];
  }

  #count(machine, by) {
    if (by > 0) this.#machines.set(machine.name, machine);
    else this.#machines.delete(machine.name);
    this.counts.all += by;
    this.counts[machine.state.kind] += by;
    for (const key of Object.keys(machine.labels)) {
      const count = (this.#labels.get(key) ?? 0) + by;
      if (count) this.#labels.set(key, count);
      else this.#labels.delete(key);
      if (count === 0 || count === by) this.#labelKeys = null;
    }
  }

  #nameOf(machine) {
    return this.#groupOf === null ? "" : this.#groupOf(machine) || NONE;
  }

  /** Counts a Machine as one of its group, and returns the members. */
  #join(machine) {
    const name = this.#nameOf(machine);
    let found = this.#groups.get(name);
    if (found === undefined) this.#groups.set(name, (found = { name, members: [], start: 0, troubled: 0 }));
    found.troubled += isTroubled(machine);
    return found.members;
  }

  /** Returns the place of a Machine, or the one that it would have. */
  #search(members, machine) {
    let low = 0, high = members.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#compare(members[middle], machine) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

const isTroubled = (machine) => Number(machine.state.kind !== "ready");
