/** The page: puts its parts together, and keeps what is chosen. */

import { Api } from "/page/api.js";
import { asOf, bar } from "/page/back.js";
import { KINDS, SORTS } from "/page/choice.js";
import { columns } from "/page/columns.js";
import { askForToken, showKeys } from "/page/dialogs.js";
import { byId, mark, write } from "/page/dom.js";
import { Drawer } from "/page/drawer.js";
import { WORDS } from "/page/facts.js";
import { findings, FindingsView, prepare } from "/page/findings.js";
import { Fleet } from "/page/fleet.js";
import { Follower } from "/page/follow.js";
import { Grid } from "/page/grid.js";
import * as head from "/page/head.js";
import * as link from "/page/link.js";
import { Order } from "/page/order.js";
import { Past } from "/page/past.js";
import { parseSelector } from "/page/selector.js";
import { TimeSlider } from "/page/timeslider.js";

const TOKEN = "k3-token";
/** What the browser keeps with an address at which the details of a machine were opened by hand. */
const OPENED = { isOpened: true };
const UNAUTHORIZED = 401;
/** How often it is looked for what takes time to find. */
const RARELY_MS = 2_000;
const BAR_MS = 60_000;
/** Where more than this part of the Machines has changed at once, all are put in order anew. */
const MANY = 0.1;
const NO_SELECTOR = "No label selector. Terms look like zone=a, gpu, !old, role in (web,db), joined by commas.";

class Page {
  #isWaiting = false;
  #selects = () => true;
  #order = null;
  #isAsked = false;
  #bars = new WeakMap();
  #opened = null;
  #findAt = 0;
  #isFound = false;

  constructor() {
    this.choice = link.read(location);
    if (!SORTS.includes(this.choice.sort)) this.choice.sort = "state";
    if (!KINDS.includes(this.choice.kind)) this.choice.kind = "";
    if (!head.isGroup(this.choice.group)) this.choice.group = "";
    this.api = new Api(takenToken());
    this.fleet = new Fleet();
    this.past = new Past(this.api);
    this.follower = new Follower(this.api, this.fleet);
    this.grid = new Grid({
      root: byId("table"),
      columns: columns({ now: () => this.now(), bar: (machine) => this.bar(machine) }),
      onopen: (name) => this.open(name),
      onsort: (id) => this.choose({ sort: id, isDown: this.choice.sort === id && !this.choice.isDown }),
    });
    this.drawer = new Drawer({ root: byId("drawer"), api: this.api, words: WORDS });
    this.drawer.onclose = () => this.closed();
    this.findings = new FindingsView({ root: byId("findings"), onopen: (name) => this.open(name) });
    const onchange = (when) => this.choose({ at: when === null ? "" : String(when) });
    this.slider = new TimeSlider({ root: byId("time"), onchange, clock: () => this.now() });
  }

  start() {
    this.fleet.addEventListener("change", () => this.changed());
    this.past.addEventListener("change", ({ detail }) => this.pastChanged(detail));
    this.follower.addEventListener("standing", () => this.standing());
    this.follower.addEventListener("listed", () => this.listed());
    setInterval(() => this.tick(), 1_000);
    this.#listen();
    byId("search").value = this.choice.words;
    byId("selector").value = this.choice.selector;
    head.makeParts((kind) => this.choose({ kind: this.choice.kind === kind ? "" : kind }));
    this.select(this.choice.selector);
    if (this.when) this.slider.set(this.when);
    void this.follower.run();
  }

  /** The server's time in milliseconds; it stands still while the server is lost. */
  now() {
    const { kind, since } = this.follower.standing;
    return (kind === "live" || kind === "starting" ? Date.now() : since) + this.api.aheadMs;
  }

  /** The moment of the past that is shown; 0: now is. */
  get when() {
    return Number(this.choice.at) || 0;
  }

  /** Something is to be shown anew, once in a frame. */
  changed() {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    const soon = document.hidden ? (call) => setTimeout(call, 250) : requestAnimationFrame;
    soon(() => {
      this.#isWaiting = false;
      this.show();
    });
  }

  show() {
    const { standing, progress } = this.follower;
    const { machines } = this.fleet;
    const names = this.fleet.changed();
    const order = this.#ordered(names);
    const items = order.items();
    this.grid.show(items, (name) => order.placeOf(name), this.choice); // first, as it reads how far the table is scrolled
    const isAsking = !machines.size && standing.kind !== "live";
    head.showCounts(order.counts, { total: progress?.total ?? machines.size, kind: this.choice.kind, isAsking, isDenied: standing.kind === "denied", when: this.when });
    head.showNone(machines.size > 0 && !items.length, () => this.#chooseAll());
    head.showGroups(order.labelKeys, this.choice.group);
    head.showNext(standing.kind === "live" && !progress ? machines.size : null, this.api);
    this.past.show(names, machines);
    this.#showOpened();
    this.#isFound &&= !names.size;
  }

  /** Returns all Machines in order; of those that have changed, it is seen to now. */
  #ordered(names) {
    const { machines } = this.fleet;
    if (this.#order === null || names.size > MANY * machines.size) {
      this.#order = new Order(Array.from(machines.values(), (each) => this.#asOf(each)), { ...this.choice, selects: this.#selects });
    } else for (const name of names) this.#order.put(name, this.#asOf(machines.get(name)));
    return this.#order;
  }

  /** Returns a Machine as it is, or was at the moment that is shown. */
  #asOf(machine) {
    return this.when && machine !== undefined ? asOf(machine, this.past.of(machine.name), this.when, this.now()) : machine;
  }

  standing() {
    const { standing } = this.follower;
    const denial = head.denial(standing, this.api.token);
    const ontoken = () => void this.askForToken(denial);
    head.showStanding({ ...standing, denial, isEmpty: !this.fleet.machines.size }, { onagain: () => this.follower.again(), ontoken });
    if (standing.kind === "denied" && !this.#isAsked) ontoken();
    if (standing.kind === "live") this.#isAsked = false;
    this.grid.tick();
    this.drawer.stand();
    this.changed();
  }

  /** The whole list is there: whose link named a Machine sees it, and the past is looked up. */
  listed() {
    if (this.choice.node && this.#opened === null) this.open(this.choice.node);
    this.past.load().catch(() => {});
  }

  tick() {
    if (document.hidden || this.follower.standing.kind !== "live") return;
    this.grid.tick();
    this.fleet.settle((names) => this.follower.words(names), this.now()).catch(() => {});
    if (!this.#isFound && performance.now() > this.#findAt && !this.follower.progress) this.#find().catch(reportError);
  }

  /** Looks every Machine over. Of ten thousand that takes a hundredth of the time at the most. */
  async #find() {
    this.#isFound = true;
    this.#findAt = Infinity;
    let began = performance.now();
    try {
      const nodes = Array.from(this.fleet.machines.values(), (each) => each.node);
      await prepare(nodes);
      began = performance.now();
      this.findings.show(findings(nodes, this.past.all(), this.now()));
    } finally {
      this.#findAt = performance.now() + Math.max(RARELY_MS, 100 * (performance.now() - began));
    }
  }

  choose(change) {
    Object.assign(this.choice, change);
    if (Object.keys(change).some((key) => key !== "node")) this.#order = null;
    history.replaceState(history.state, "", link.written(this.choice));
    this.show();
  }

  select(text) {
    const selects = parseSelector(text);
    mark(byId("selector"), "aria-invalid", selects === null);
    write(byId("selector-error"), selects === null ? NO_SELECTOR : "");
    if (selects === null) return;
    this.#selects = selects;
    this.choose({ selector: text });
  }

  #chooseAll() {
    byId("search").value = byId("selector").value = "";
    this.choice.words = this.choice.kind = "";
    this.select("");
    byId("search").focus();
  }

  open(name) {
    const machine = this.fleet.machines.get(name);
    if (machine === undefined) return;
    if (!this.drawer.isOpen && name !== this.choice.node) history.pushState(OPENED, ""); // the way back closes it
    this.#opened = machine;
    this.grid.moveTo(name);
    this.drawer.show(machine.node, this.past.of(name), machine.isObserved);
    this.choose({ node: name });
    if (!this.past.isWhole) this.past.fetch(name).catch(() => {});
  }

  closed() {
    this.#opened = null;
    this.choice.node = "";
    if (history.state?.isOpened) history.back();
    else this.choose({});
    byId("table").focus({ preventScroll: true });
  }

  /** The past of some Machines is another one now; `names` is null: of all. */
  pastChanged(names) {
    if (names === null) this.#bars = new WeakMap();
    else for (const name of names) this.#bars.delete(this.fleet.machines.get(name));
    this.grid.refresh();
    this.#isFound = false;
    const isOpened = this.#opened && (names === null || names.has(this.#opened.name));
    if (isOpened) this.drawer.update(this.#opened.node, this.past.of(this.#opened.name), this.#opened.isObserved);
    if (this.when) this.fleet.touch(names ?? this.fleet.machines.keys());
  }

  /** The history of a Machine, made anew once a minute. */
  bar(machine) {
    const minute = Math.floor(this.now() / BAR_MS);
    let found = this.#bars.get(machine);
    if (found?.minute !== minute) {
      found = { minute, ...bar(machine, this.past.of(machine.name), this.now()) };
      this.#bars.set(machine, found);
    }
    return found;
  }

  async askForToken(why) {
    this.#isAsked = true;
    const token = await askForToken(why);
    if (token) {
      sessionStorage.setItem(TOKEN, token);
      this.#take(token);
    } else if (this.follower.standing.code === UNAUTHORIZED && this.api.token) {
      sessionStorage.removeItem(TOKEN); // on the server's own machine none may be wanted
      this.api.token = "";
      this.follower.again();
    }
  }

  #showOpened() {
    if (this.#opened === null) return;
    const machine = this.fleet.machines.get(this.#opened.name);
    if (machine === this.#opened) return;
    if (machine === undefined) this.drawer.update(null);
    else this.drawer.update(machine.node, this.past.of(machine.name), machine.isObserved);
    this.#opened = machine ?? this.#opened;
  }

  #listen() {
    byId("search").addEventListener("input", (event) => this.choose({ words: event.target.value }));
    byId("selector").addEventListener("input", (event) => this.select(event.target.value));
    byId("group").addEventListener("change", (event) => this.choose({ group: event.target.value }));
    byId("theme").addEventListener("click", head.switchTheme);
    byId("keys").addEventListener("click", showKeys);
    addEventListener("keydown", (event) => this.#key(event));
    addEventListener("hashchange", () => this.#given());
    addEventListener("popstate", () => this.#travelled());
  }

  /** The browser's button for back or forward has been pressed, or the details were closed. */
  #travelled() {
    this.#given(); // a new fragment is such a step, too
    const { node } = link.read(location);
    if (!node && this.drawer.isOpen) this.drawer.close();
    else if (node && !this.drawer.isOpen) {
      this.choice.node = node;
      this.open(node);
    }
    this.choose({});
  }

  /** A link with a token has been opened in this tab, which has the page already. */
  #given() {
    const token = takenToken();
    if (token === this.api.token) return;
    byId("dialog").close();
    this.#take(token);
  }

  #take(token) {
    this.api.token = token;
    this.#isAsked = false;
    this.follower.again();
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const isTyping = event.target.matches?.("input, select, textarea") ?? false;
    if (isTyping) {
      this.#typed(event);
      return;
    }
    const does = {
      "/": () => byId("search").focus(),
      l: () => byId("selector").focus(),
      j: () => this.#move(1),
      k: () => this.#move(-1),
      t: head.switchTheme,
      "?": showKeys,
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }

  /** From a field, Enter and the arrow down lead to the table; Esc empties it, then leads there, too. */
  #typed(event) {
    const field = event.target;
    if (!field.matches("input[type=search]")) return;
    if (event.key === "Enter" || event.key === "ArrowDown") this.#move(1);
    else if (event.key === "Escape" && !field.value) byId("table").focus({ preventScroll: true });
    else if (event.key === "Escape") {
      field.value = "";
      field.dispatchEvent(new Event("input"));
    } else return;
    event.preventDefault();
  }

  #move(rows) {
    byId("table").focus({ preventScroll: true });
    this.grid.moveBy(rows);
  }
}

/** Returns the token of the address, which is taken out of it at once, or that of this tab; empty: there is none. */
function takenToken() {
  const given = link.tokenIn(location);
  if (given) {
    sessionStorage.setItem(TOKEN, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(TOKEN) ?? "";
}

head.showTheme();
new Page().start();
