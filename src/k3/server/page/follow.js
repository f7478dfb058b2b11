/**
 * List, then watch, for ever (design of every Kubernetes client): what the page shows is what the server has, or the page says
 * since when it is not. A watch that ends is taken up where it ended; where the server was out of reach, or has forgotten that
 * revision (410), everything is listed again.
 */

import { Refusal, retryMs, TABLE_TYPE } from "/page/api.js";

const NODES = "/api/v1/nodes";
/** The first page of the list is short, so that something is to be seen at once. */
const FIRST_PAGE = 200;
const PAGE = 1_000;
/** A server from which nothing has come for so long is asked whether it is there, and has so long to answer. */
const QUIET_MS = 2_000;
const ANSWER_MS = 3_000;
const LOOK_MS = 1_000;
/** A page that is not in sight for so long gives its connection back: a browser has six for one server. */
const HIDDEN_MS = 60_000;
const DENIED = [401, 403];
const UNAVAILABLE = 503;
/** What the server has sent cannot be shown: the page says so, and asks again. */
const UNREADABLE = 500;

export class Follower extends EventTarget {
  #api;
  #fleet;
  #revision = "";
  #place = 1;
  #tries = 0;
  #heardAt = 0;
  #stopped = new AbortController();
  #wake = () => {};
  #isAsking = false;
  #hiddenSince = NaN;
  #isLeft = false;

  constructor(api, fleet) {
    super();
    this.#api = api;
    this.#fleet = fleet;
    /** How things stand: `kind` is starting, live, lost, store (the server cannot read it), refused or denied. */
    this.standing = { kind: "starting", since: Date.now(), message: "", code: 0 };
    /** How many Nodes of the list have come, and how many there are; null where nothing is being listed. */
    this.progress = null;
  }

  /** Follows for ever. */
  async run() {
    setInterval(() => this.#look(), LOOK_MS);
    document.addEventListener("visibilitychange", () => this.#seen());
    addEventListener("online", () => this.again());
    addEventListener("pagehide", () => this.#left(true)); // kept by the browser to come back to, with its connection
    addEventListener("pageshow", () => this.#left(false));
    for (;;) {
      try {
        if (this.#isAway()) await this.#pause(HIDDEN_MS);
        else await this.#turn();
      } catch (error) {
        if (!(error instanceof Refusal)) reportError(error);
        await this.#refused(error instanceof Refusal ? error : new Refusal(UNREADABLE, String(error)));
      }
    }
  }

  /** Tries again now. */
  again() {
    this.#tries = 0;
    this.#wake();
  }

  /** Returns pairs of a name and the word of the server's table, for some Nodes, or all. */
  async words(names) {
    const found = [];
    const ask = async (query) => {
      const { metadata, columnDefinitions, rows } = await this.#api.list(NODES, { includeObject: "Object", ...query }, { accept: TABLE_TYPE });
      const place = placeOf(columnDefinitions);
      found.push(...(rows ?? []).map(({ object, cells }) => [object.metadata.name, cells[place]]));
      return metadata.continue;
    };
    if (names !== null) await Promise.all(names.map((name) => ask({ fieldSelector: `metadata.name=${name}` })));
    else for (let next = ""; next !== undefined; ) next = await ask({ limit: PAGE, continue: next });
    return found;
  }

  async #turn() {
    this.#stopped = new AbortController();
    if (!this.#revision) await this.#list();
    await this.#watch();
  }

  async #list() {
    const names = new Set();
    let page = { metadata: { continue: "" } };
    let limit = FIRST_PAGE;
    do {
      const query = { limit, continue: page.metadata.continue, includeObject: "Object" };
      page = await this.#api.list(NODES, query, { accept: TABLE_TYPE, signal: this.#stopped.signal });
      this.#heard();
      this.#place = placeOf(page.columnDefinitions);
      const rows = page.rows ?? [];
      for (const { object } of rows) names.add(object.metadata.name);
      const rest = page.metadata.remainingItemCount ?? 0;
      this.progress = page.metadata.continue ? { loaded: names.size, total: names.size + rest } : null;
      this.#fleet.take(rows, this.#place);
      limit = PAGE;
    } while (page.metadata.continue);
    this.#fleet.keep(names);
    this.#revision = page.metadata.resourceVersion;
    this.#stand("live");
    this.dispatchEvent(new Event("listed"));
  }

  async #watch() {
    const query = { resourceVersion: this.#revision, allowWatchBookmarks: "true", includeObject: "Object" };
    let rows = [];
    const flush = () => {
      if (rows.length) this.#fleet.take(rows, this.#place);
      rows = [];
    };
    const take = (type, table) => {
      this.#heard();
      this.#revision = table.metadata.resourceVersion ?? this.#revision;
      if (table.columnDefinitions) this.#place = placeOf(table.columnDefinitions);
      if (type === "BOOKMARK") return;
      if (type === "DELETED") {
        flush();
        this.#fleet.drop(table.rows[0].object.metadata.name);
        return;
      }
      if (!rows.length) queueMicrotask(flush);
      rows.push(table.rows[0]);
    };
    await this.#api.watch(NODES, query, take, this.#stopped.signal, { accept: TABLE_TYPE });
    this.#tries = 0;
  }

  async #refused(error) {
    if (this.#isAway()) return;
    this.progress = null;
    if (error.code === 410 && this.#revision) {
      this.#revision = "";
      return;
    }
    this.#revision = "";
    if (DENIED.includes(error.code)) {
      this.#stand("denied", error.message, error.code);
      await this.#pause(HIDDEN_MS);
      return;
    }
    this.#stand(error.code === 0 ? "lost" : error.code === UNAVAILABLE ? "store" : "refused", error.message, error.code);
    this.#tries += 1;
    await this.#pause(retryMs(this.#tries));
  }

  /** Looks after the connection: a server may be gone without a word. */
  async #look() {
    if (this.#isAway() && !this.#stopped.signal.aborted) this.#stopped.abort();
    const isFollowing = this.standing.kind === "live" || this.standing.kind === "store";
    if (document.hidden || !isFollowing || this.#isAsking || performance.now() - this.#heardAt < QUIET_MS) return;
    this.#isAsking = true;
    try {
      const { isReady, text } = await this.#api.ready(ANSWER_MS);
      if (this.standing.kind === "lost") return;
      if (isReady) this.#heard();
      if (isReady && this.#revision) this.#stand("live");
      if (!isReady) this.#stand("store", text);
    } catch (error) {
      this.#stand("lost", error.message);
      this.#stopped.abort();
    } finally {
      this.#isAsking = false;
    }
  }

  #heard() {
    this.#heardAt = performance.now();
    this.heard = Date.now();
  }

  #stand(kind, message = "", code = 0) {
    if (kind === this.standing.kind && message === this.standing.message) return;
    const isStill = kind === this.standing.kind || (kind !== "live" && this.standing.kind !== "live" && this.standing.kind !== "starting");
    const since = isStill ? this.standing.since : kind === "live" ? Date.now() : this.heard ?? Date.now();
    this.standing = { kind, since, message, code };
    if (kind === "live") this.#tries = 0;
    this.dispatchEvent(new Event("standing"));
  }

  #seen() {
    this.#hiddenSince = document.hidden ? performance.now() : NaN;
    if (!document.hidden) this.#wake();
  }

  #left(isLeft) {
    this.#isLeft = isLeft;
    if (isLeft) this.#stopped.abort();
    else this.#wake();
  }

  #isAway() {
    return this.#isLeft || (document.hidden && performance.now() - this.#hiddenSince > HIDDEN_MS);
  }

  #pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

const placeOf = (columns) => Math.max(0, (columns ?? []).findIndex((each) => each.name === "Status"));
