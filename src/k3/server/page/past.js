/**
 * Events about Nodes, for their history. They are listed once the Nodes are there, and those of a Node again when its state has
 * changed: a second watch would take one more of the six connections that a browser has for a server.
 */

import { condition } from "/page/states.js";

const EVENTS = "/api/v1/namespaces/default/events";
const PAGE = 1_000;
/** With more than so many, those of a Node are fetched when it is opened. */
const MOST = 20_000;
/** An agent writes the Event after the Node. */
const LATER_MS = 800;
/** A look-up that took long is followed by a rest so many times as long: the server has to look through all Events for it. */
const REST = 5;
const LONGEST_REST_MS = 60_000;
const FEW = 16;

export class Past extends EventTarget {
  #api;
  #events = new Map();
  #marks = new Map();
  #changed = new Set();
  #timer = 0;
  #waitMs = LATER_MS;
  /** Whether those of all Nodes are here. */
  isWhole = false;

  constructor(api) {
    super();
    this.#api = api;
  }

  /** Returns the Events about a Node. */
  of(name) {
    return this.#events.get(name) ?? [];
  }

  /** Returns all Events that are known. */
  all() {
    return [...this.#events.values()].flat();
  }

  /** Lists the Events about all Nodes. Whatever the server refuses, there is then no history, and nothing else is lost. */
  async load() {
    const found = new Map();
    let next = "";
    let count = 0;
    do {
      const page = await this.#api.list(EVENTS, { limit: PAGE, continue: next });
      for (const event of page.items) add(found, event);
      count += page.items.length;
      next = page.metadata.continue ?? "";
    } while (next && count < MOST);
    this.isWhole = !next;
    this.#events = found;
    this.dispatchEvent(new Event("change"));
  }

  /** Fetches the Events of one Node. */
  async fetch(name) {
    const found = new Map();
    const { items } = await this.#api.list(EVENTS, { fieldSelector: `involvedObject.name=${name}` });
    for (const event of items) add(found, event);
    this.#events.set(name, found.get(name) ?? []);
  }

  /** The Machines as they are now: what has changed its state is looked up a little later. */
  show(machines) {
    for (const { name, node } of machines) {
      const mark = condition(node, "Ready")?.since ?? "";
      if (this.#marks.has(name) && this.#marks.get(name) !== mark) this.#changed.add(name);
      this.#marks.set(name, mark);
    }
    if (this.#marks.size > machines.length) this.#forget(new Set(machines.map(({ name }) => name)));
    this.#plan();
  }

  #plan() {
    if (this.#changed.size && !this.#timer) this.#timer = setTimeout(() => this.#refresh(), this.#waitMs);
  }

  #forget(kept) {
    for (const name of this.#marks.keys()) {
      if (kept.has(name)) continue;
      this.#marks.delete(name);
      this.#changed.delete(name);
      this.#events.delete(name);
    }
  }

  async #refresh() {
    const began = performance.now();
    const isAll = this.isWhole && this.#changed.size > FEW;
    const names = [...this.#changed].slice(0, isAll ? Infinity : FEW);
    for (const name of names) this.#changed.delete(name);
    try {
      if (isAll) await this.load();
      else await Promise.all(names.map((name) => this.fetch(name)));
      this.dispatchEvent(new Event("change"));
    } catch {
      // the server is away: the list that follows when it is back brings them
    }
    this.#waitMs = Math.min(Math.max(LATER_MS, REST * (performance.now() - began)), LONGEST_REST_MS);
    this.#timer = 0;
    this.#plan();
  }
}

/** Keeps of an Event what is shown of it: there may be many. */
function add(found, event) {
  const { involvedObject = {}, metadata = {}, ...rest } = event;
  const { reason, type, message, firstTimestamp, lastTimestamp, eventTime, count, source, series } = rest;
  if (involvedObject.kind !== "Node" || typeof involvedObject.name !== "string") return;
  if (!found.has(involvedObject.name)) found.set(involvedObject.name, []);
  const { name, creationTimestamp, resourceVersion } = metadata;
  found.get(involvedObject.name).push({
    metadata: { name, creationTimestamp, resourceVersion },
    involvedObject: { kind: "Node", name: involvedObject.name, uid: involvedObject.uid },
    reason, type, message, firstTimestamp, lastTimestamp, eventTime, count, source, series,
  });
}
