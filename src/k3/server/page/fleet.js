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
    this.lastSeen = states.lastSeen(node, source, ready);
    this.address = states.addresses(node, "InternalIP")[0] ?? states.addresses(node, "ExternalIP")[0] ?? "";
    this.created = states.createdAt(node);
    this.zone = states.zoneOf(node);
    this.labels = states.labels(node);
    this.shownName = printable(this.name, 253);
  }

  /** What sorting by name compares: numbers in it by their size. Names have few characters, so this is made when it is asked for. */
  get nameKey() {
    return (this.key ??= this.name.replace(/\d+/g, (digits) => digits.padStart(12, "0")));
  }

  /** What is searched. */
  get words() {
    return (this.text ??= [
      this.name, this.state.label, this.state.word, this.state.reason, this.state.message, this.sourceName, this.zone,
      ...states.addresses(this.node, "InternalIP"), ...states.addresses(this.node, "Hostname"),
      ...Object.entries(this.labels).map(([key, value]) => `${key}=${value}`),
    ].join("\n").toLowerCase());
  }

  /** Whether the time stamp of a Node that is called Ready has become too old to be believed. */
  isDoubtful(now) {
    return this.isObserved && this.isStoredReady && this.source !== null
      && !states.agrees(this.node, this.source, this.lastSeen, true, now) && !states.isAhead(this.lastSeen, now);
  }
}

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

  /** Takes in rows of the server's table: `{object, cells}`; `place` is where a row has the state. */
  take(rows, place) {
    for (const { object, cells } of rows) this.#put(object, cells[place]);
    this.#tell();
  }

  /** There is no such Node any more. */
  drop(name) {
    if (this.machines.delete(name)) this.#tell();
  }

  /** Keeps the Nodes of a whole list, and no others. */
  keep(names) {
    for (const name of this.machines.keys()) if (!names.has(name)) this.machines.delete(name);
    this.#askAt = 0;
    this.#tell();
  }

  /**
   * Asks the server about the Nodes whose time stamp is too old, where there are such. `ask` takes names, or null for all, and
   * returns pairs of a name and the word of the server's table. `now` is the server's time.
   */
  async settle(ask, now) {
    if (now < this.#askAt) return;
    const doubted = [...this.machines.values()].filter((each) => each.isDoubtful(now)).map((each) => each.name);
    if (doubted.length > this.#doubted) this.#askAgain();
    this.#doubted = doubted.length;
    this.#askAt = now + this.#wait;
    if (!doubted.length) return;
    this.#wait = Math.min(2 * this.#wait, ASK_RARELY_MS);
    let isChanged = false;
    for (const [name, word] of await ask(doubted.length <= FEW ? doubted : null)) {
      const former = this.machines.get(name);
      if (former === undefined || isLost(former.node, word) === !former.isObserved) continue;
      this.machines.set(name, new Machine(former.node, !isLost(former.node, word)));
      isChanged = true;
    }
    if (isChanged) this.#tell();
  }

  #askAgain() {
    this.#wait = ASK_AGAIN_MS;
  }

  #put(node, word) {
    this.machines.set(states.nameOf(node), new Machine(node, !isLost(node, word)));
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

/** Whether the server calls a Node Unknown that is stored as Ready: no agent looks after it. */
function isLost(node, word) {
  return states.condition(node, "Ready")?.status === "True" && String(word).startsWith("Unknown");
}
