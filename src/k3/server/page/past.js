/**
 * Events about Nodes, for their history. They are listed once the Nodes are there, and what has been written since is asked for when
 * a Node has changed its state: by a watch that ends after a second, as a browser has six connections for a server.
 */

const EVENTS = "/api/v1/namespaces/default/events";
const PAGE = 1_000;
/** So many are kept, and read of a list, in which those of Pods may stand, too. Where there are more, those of a Node are fetched when it is opened or has changed. */
const MOST = 20_000;
/** An agent writes the Event after the Node. */
const LATER_MS = 800;
/** The watch is to bring what has been written already, and then gives its connection back. */
const WATCH_SECONDS = 1;
/** A watch that has not ended by then is given up: the server may be gone without a word. */
const LONGEST_MS = 30_000;
/** Fetching that took long is followed by a rest so many times as long. */
const REST = 5;
const LONGEST_REST_MS = 60_000;
/** Where not all are kept, those of so many Nodes are fetched at a time; the other Nodes wait for the next time. */
const FEW = 16;
const FORGOTTEN = 410;

export class Past extends EventTarget {
  #api;
  #events = new Map();
  #count = 0;
  #revision = "";
  #marks = new Map();
  #changed = new Set();
  #timer = 0;
  #waitMs = LATER_MS;
  #turn = Promise.resolve();
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

  /** Gives all Events that are known. */
  *all() {
    for (const some of this.#events.values()) yield* some;
  }

  /** Lists the Events about all Nodes. Whatever the server refuses, there is then no history, and nothing else is lost. */
  load() {
    return this.#inTurn(() => this.#list());
  }

  /** Does something after all that was begun before: a list that is on its way knows nothing of what a watch brings meanwhile. */
  #inTurn(work) {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  async #list() {
    const found = new Map();
    let [read, count] = [0, 0];
    let page = { metadata: {} };
    do {
      page = await this.#api.list(EVENTS, { limit: PAGE, continue: page.metadata.continue ?? "" });
      read += page.items.length;
      for (const event of page.items.filter(isAboutNode)) {
        const { name } = event.involvedObject;
        if (!found.has(name)) found.set(name, []);
        found.get(name).push(kept(event));
        count += 1;
      }
    } while (page.metadata.continue && read < MOST);
    this.#revision = page.metadata.resourceVersion;
    this.isWhole = !page.metadata.continue;
    this.#events = found;
    this.#count = count;
    this.#tell(null);
  }

  /** Fetches the Events of one Node. */
  async fetch(name) {
    const { items } = await this.#api.list(EVENTS, { fieldSelector: `involvedObject.kind=Node,involvedObject.name=${name}` });
    this.#keep(name, items.map(kept));
    this.#tell(new Set([name]));
  }

  /** Some Machines have come, gone or changed: of those whose state has changed, the Events are looked up a little later. */
  show(names, machines) {
    for (const name of names) {
      const mark = machines.get(name)?.readySince;
      if (mark !== this.#marks.get(name) && mark !== undefined && (this.isWhole || this.#marks.has(name))) this.#changed.add(name);
      if (mark === undefined) this.#marks.delete(name);
      else this.#marks.set(name, mark);
    }
    this.#plan();
  }

  #plan() {
    if (this.#changed.size && !this.#timer) this.#timer = setTimeout(() => this.#refresh(), this.#waitMs);
  }

  async #refresh() {
    await this.#inTurn(() => this.#lookUp());
    this.#timer = 0;
    this.#plan();
  }

  async #lookUp() {
    const began = performance.now();
    const names = [...this.#changed].slice(0, this.isWhole ? Infinity : FEW);
    for (const name of names) this.#changed.delete(name);
    this.#waitMs = LATER_MS;
    try {
      if (this.isWhole) await this.#follow();
      else await Promise.all(names.map((name) => this.fetch(name)));
    } catch (refusal) {
      // where the server is away, the list that follows when it is back brings them
      if (refusal.code === FORGOTTEN) await this.#list().catch(() => {});
    }
    if (!this.isWhole) this.#waitMs = Math.min(Math.max(LATER_MS, REST * (performance.now() - began)), LONGEST_REST_MS);
  }

  /** Takes in what has been written since. */
  async #follow() {
    const names = new Set();
    const take = (type, event) => {
      this.#revision = event.metadata.resourceVersion;
      if (!isAboutNode(event)) return;
      const { name } = event.involvedObject;
      const others = this.of(name).filter((each) => each.metadata.name !== event.metadata.name);
      this.#keep(name, type === "DELETED" ? others : [...others, kept(event)]);
      names.add(name);
    };
    const query = { resourceVersion: this.#revision, timeoutSeconds: WATCH_SECONDS };
    await this.#api.watch(EVENTS, query, take, AbortSignal.timeout(LONGEST_MS));
    if (names.size) this.#tell(names);
  }

  /** Keeps the Events of a Node; where there are too many, those of which nothing was heard for the longest time go. */
  #keep(name, events) {
    this.#count += events.length - this.of(name).length;
    this.#events.delete(name);
    this.#events.set(name, events);
    for (const [other, some] of this.#events) {
      if (this.#count <= MOST) break;
      this.isWhole = false;
      this.#count -= some.length;
      this.#events.delete(other);
    }
  }

  /** `names`: whose past is another one now; null: everybody's. */
  #tell(names) {
    this.dispatchEvent(new CustomEvent("change", { detail: names }));
  }
}

const isAboutNode = ({ involvedObject }) => involvedObject?.kind === "Node" && typeof involvedObject.name === "string";

/** Returns of an Event what is shown of it: there may be many. */
function kept({ involvedObject, metadata, reason, type, message, firstTimestamp, lastTimestamp, eventTime, count, source, series }) {
  const { name, creationTimestamp, resourceVersion } = metadata;
  return {
    metadata: { name, creationTimestamp, resourceVersion },
    involvedObject: { kind: "Node", name: involvedObject.name, uid: involvedObject.uid },
    reason, type, message, firstTimestamp, lastTimestamp, eventTime, count, source, series,
  };
}
