/**
 * The Nodes as the page knows them: one `Machine` for each, with all that a row shows or is sorted by.
 *
 * Whether an agent looks after a Node stands in no Node. The server works it out (`k3.server.observed`) and its table says so:
 * a Node that is stored as Ready is there called Unknown. The page takes that word, with every list and change. Where nothing
 * comes any more, no change tells it; so once a time stamp has become too old to be believed, the page asks the server again.
 */

import * as states from "/page/states.js";
import { printable } from "/page/text.js";

const ASK_AGAIN_MS = 5_000;
const ASK_RARELY_MS = 60_000;
/** So many Nodes are asked for one by one, more by a list. */
const FEW = 8;

/** One row. A new one is made for each change, so who holds an old one still has what was shown. */
class Machine {
  constructor(node, isObserved) {
    const ready = states.condition(node, "Ready");
    const source = states.owner(node, ready);
    this.node = node;
    this.name = states.nameOf(node);
    this.isObserved = isObserved;
    this.isStoredReady = ready?.status === "True";
    this.source = source;
    this.sourceName = states.isUnreadable(source, ready) ? "unreadable" : source?.name ?? "controller";
    this.state = states.state(node, isObserved, ready, source);
    this.readySince = ready?.since ?? "";
    this.lastSeen = states.lastSeen(node, source, ready);
    this.address = states.addresses(node, "InternalIP")[0] ?? states.addresses(node, "ExternalIP")[0] ?? "";
    this.created = states.createdAt(node);
    this.zone = states.zoneOf(node);
    this.labels = states.labels(node);
    this.shownName = printable(this.name, 253);
  }

  /** What sorting by name compares: numbers in it by their size. Made when it is asked for, once, as all that follows. */
  get nameKey() {
    return (this.key ??= padded(this.name, 12));
  }

  /** What sorting by address compares. */
  get addressKey() {
    return (this.numbers ??= padded(this.address, 3));
  }

  /** What is searched. */
  get words() {
    return (this.text ??= [
      this.name, this.state.label, this.state.word, this.state.reason, this.state.message, this.sourceName, this.zone,
      ...states.addresses(this.node, "InternalIP"), ...states.addresses(this.node, "Hostname"),
      ...Object.entries(this.labels).map(([key, value]) => `${key}=${value}`),
    ].join("\n").toLowerCase());
  }

  /** From when on the time stamp of a Node that is called Ready is too old to be believed, in milliseconds. */
  get doubtfulAt() {
    return (this.until ??= this.isObserved && this.isStoredReady && this.source !== null ? states.believedUntil(this.node, this.source, this.lastSeen) : Infinity);
  }
}

const padded = (text, digits) => text.replace(/\d+/g, (each) => each.padStart(digits, "0"));

export class Fleet extends EventTarget {
  constructor() {
    super();
    /** By name. */
    this.machines = new Map();
    this.#askAgain();
  }

  #wait = ASK_AGAIN_MS;
  #askAt = 0;
  #doubted = 0;
  #changed = new Set();

  /** Returns the names of the Machines that have come, gone or changed since this was asked last. */
  changed() {
    const found = this.#changed;
    this.#changed = new Set();
    return found;
  }

  /** Some Machines are to be shown anew. */
  touch(names) {
    for (const name of names) this.#changed.add(name);
    this.#tell();
  }

  /** Takes in rows of the server's table: `{object, cells}`; `place` is where a row has the state. */
  take(rows, place) {
    for (const { object, cells } of rows) this.#put(object, !isLost(object, cells[place]));
    this.#tell();
  }

  /** There is no such Node any more. */
  drop(name) {
    this.#remove(name);
    this.#tell();
  }

  /** Keeps the Nodes of a whole list, and no others. */
  keep(names) {
    for (const name of this.machines.keys()) if (!names.has(name)) this.#remove(name);
    this.#askAt = 0;
    this.#tell();
  }

  /**
   * Asks the server about the Nodes whose time stamp is too old, where there are such. `ask` takes names, or null for all, and
   * returns pairs of a name and the word of the server's table. `now` is the server's time.
   */
  async settle(ask, now) {
    if (now < this.#askAt) return;
    const doubted = [...this.machines.values()].filter((each) => each.doubtfulAt < now).map((each) => each.name);
    if (doubted.length > this.#doubted) this.#askAgain();
    this.#doubted = doubted.length;
    this.#askAt = now + this.#wait;
    if (!doubted.length) return;
    this.#wait = Math.min(2 * this.#wait, ASK_RARELY_MS);
    for (const [name, word] of await ask(doubted.length <= FEW ? doubted : null)) {
      const former = this.machines.get(name);
      if (former !== undefined && isLost(former.node, word) === former.isObserved) this.#put(former.node, !former.isObserved);
    }
    this.#tell();
  }

  #askAgain() {
    this.#wait = ASK_AGAIN_MS;
  }

  #put(node, isObserved) {
    const machine = new Machine(node, isObserved);
    this.machines.set(machine.name, machine);
    this.#changed.add(machine.name);
  }

  #remove(name) {
    if (this.machines.delete(name)) this.#changed.add(name);
  }

  #tell() {
    if (this.#changed.size) this.dispatchEvent(new Event("change"));
  }
}

/** Whether the server calls a Node Unknown that is stored as Ready: no agent looks after it. */
function isLost(node, word) {
  return states.condition(node, "Ready")?.status === "True" && String(word).startsWith("Unknown");
}
