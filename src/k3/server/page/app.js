/** The page: puts its parts together, and keeps what is chosen. */

import { Api } from "/page/api.js";
import { chosen, counted, KIND_WORDS, KINDS, labelKeys, SORTS } from "/page/choice.js";
import { columns } from "/page/columns.js";
import { askForToken, copyable, showKeys } from "/page/dialogs.js";
import { byId, make, mark, write } from "/page/dom.js";
import { Fleet } from "/page/fleet.js";
import { Follower } from "/page/follow.js";
import { Grid } from "/page/grid.js";
import * as link from "/page/link.js";
import { Past } from "/page/past.js";
import { parseSelector } from "/page/selector.js";
import { clock, count, printable } from "/page/text.js";

const TOKEN = "k3-token";
const THEME = "k3-theme";
/** While rows are sorted by what every refresh changes, they change places so often at the most. */
const SETTLED_MS = 2_000;

class Page {
  #isWaiting = false;
  #sortedAt = 0;
  #selects = () => true;
  #isAsked = false;
  #shape = "";

  constructor() {
    this.choice = link.read(location);
    this.api = new Api(takenToken());
    this.fleet = new Fleet();
    this.past = new Past(this.api);
    this.follower = new Follower(this.api, this.fleet);
    this.grid = new Grid({
      root: byId("table"),
      columns: columns({ now: () => this.now(), bar: () => ({ background: "", words: "" }) }),
      onopen: (name) => this.open(name),
      onsort: (id) => this.sort(id),
      onmove: () => {},
    });
  }

  start() {
    this.fleet.addEventListener("change", () => this.changed());
    this.follower.addEventListener("standing", () => this.showStanding());
    this.follower.addEventListener("listed", () => this.past.load().catch(() => {}));
    setInterval(() => this.tick(), 1_000);
    this.#listen();
    this.#fillControls();
    this.select(this.choice.selector);
    void this.follower.run();
  }

  /** The server's time in milliseconds; it stands still while the server is lost. */
  now() {
    const { kind, since } = this.follower.standing;
    return (kind === "live" || kind === "starting" ? Date.now() : since) + this.api.aheadMs;
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
    const machines = [...this.fleet.machines.values()];
    this.showCounts(counted(machines));
    this.grid.show(chosen(machines, { ...this.choice, selects: this.#selects }), this.choice);
    this.#showNext(machines);
    this.#fillGroups(machines);
  }

  showCounts(counts) {
    const { progress, standing } = this.follower;
    const all = progress ? progress.total : counts.all;
    const isEmpty = !counts.all && standing.kind !== "live";
    write(byId("count"), isEmpty ? "Asking the server…" : `${counts.ready.toLocaleString("en")} of ${count(all, "machine", "machines")} ready`);
    for (const button of byId("parts").children) {
      const { kind } = button.dataset;
      button.hidden = kind !== this.choice.kind && !counts[kind];
      write(button.lastChild, `${counts[kind].toLocaleString("en")} ${KIND_WORDS[kind]}`);
      mark(button, "aria-pressed", kind === this.choice.kind);
    }
    const troubled = counts.notready + counts.unknown;
    document.title = counts.all ? `${troubled ? `(${troubled}) ` : ""}${counts.ready} of ${all} ready · k3` : "k3: machines";
  }

  showStanding() {
    const { kind, since, message, code } = this.follower.standing;
    const bar = byId("bar");
    document.body.dataset.standing = kind;
    bar.hidden = kind === "live" || kind === "starting";
    const again = make("button", { type: "button", onclick: () => this.follower.again() }, "Try now");
    const words = {
      lost: ["Not connected since ", time(since), " — what you see is from then. It comes back by itself."],
      store: ["The server cannot read its store since ", time(since), ` — what you see is from then. ${printable(message.trim(), 200)}`],
      denied: [code === 401 ? "The server does not take this token." : `The server does not show this: ${printable(message, 300)}`],
    }[kind];
    if (words) bar.replaceChildren(make("span", {}, ...words), kind === "denied" ? this.#tokenButton() : again);
    if (kind === "denied" && !this.#isAsked) void this.askForToken(message);
    if (kind === "live") this.#isAsked = false;
    this.grid.tick();
    this.changed();
  }

  async askForToken(why) {
    this.#isAsked = true;
    const token = await askForToken(printable(why, 300));
    if (!token) return;
    sessionStorage.setItem(TOKEN, token);
    this.api.token = token;
    this.#isAsked = false;
    this.follower.again();
  }

  tick() {
    if (document.hidden || this.follower.standing.kind !== "live") return;
    this.grid.tick();
    this.fleet.settle((names) => this.follower.words(names), this.now()).catch(() => {});
  }

  choose(change) {
    Object.assign(this.choice, change);
    history.replaceState(null, "", link.written(this.choice));
    this.show();
  }

  select(text) {
    const selects = parseSelector(text);
    const input = byId("selector");
    mark(input, "aria-invalid", selects === null);
    write(byId("selector-error"), selects === null ? "No label selector. Terms look like zone=a, gpu, !old, role in (web,db), joined by commas." : "");
    if (selects === null) return;
    this.#selects = selects;
    this.choose({ selector: text });
  }

  sort(id) {
    const isDown = this.choice.sort === id && !this.choice.isDown;
    this.choose({ sort: id, isDown });
  }

  open(_name) {}

  #tokenButton() {
    return make("button", { type: "button", onclick: () => this.askForToken(this.follower.standing.message) }, "Give a token");
  }

  #fillControls() {
    byId("search").value = this.choice.words;
    byId("selector").value = this.choice.selector;
    if (!SORTS.includes(this.choice.sort)) this.choice.sort = "state";
    byId("parts").append(...KINDS.map((kind) => partButton(kind, () => this.choose({ kind: this.choice.kind === kind ? "" : kind }))));
    this.#fillGroups([]);
  }

  #fillGroups(machines) {
    const select = byId("group");
    if (document.activeElement === select) return;
    const keys = machines.length ? labelKeys(machines) : [];
    if (this.choice.group && !["zone", "source", "state", ...keys].includes(this.choice.group)) keys.push(this.choice.group);
    const shape = keys.join("\n");
    if (shape === this.#shape && select.options.length) return;
    this.#shape = shape;
    const option = (value, title) => make("option", { value, selected: value === this.choice.group }, title);
    const labels = make("optgroup", { label: "By label" }, ...keys.map((key) => option(key, printable(key, 80))));
    select.replaceChildren(option("", "No groups"), option("zone", "By zone"), option("source", "By source"), option("state", "By state"), ...(keys.length ? [labels] : []));
    select.value = this.choice.group;
  }

  #showNext(machines) {
    const next = byId("next");
    const isFew = this.follower.standing.kind === "live" && !this.follower.progress && machines.length < 2;
    if (isFew === !next.hidden) return;
    next.hidden = !isFew;
    if (!isFew) return;
    const title = machines.length ? "One machine so far. Add a second one:" : "No machine yet. Add the first one:";
    next.replaceChildren(
      make("h2", {}, title),
      make("p", {}, "Run this on it, in the same network. It shows up here within a second."),
      copyable("k3 up"),
    );
  }

  #listen() {
    byId("search").addEventListener("input", (event) => this.choose({ words: event.target.value }));
    byId("selector").addEventListener("input", (event) => this.select(event.target.value));
    byId("group").addEventListener("change", (event) => this.choose({ group: event.target.value }));
    byId("theme").addEventListener("click", switchTheme);
    byId("keys").addEventListener("click", showKeys);
    addEventListener("keydown", (event) => this.#key(event));
    addEventListener("popstate", () => location.reload());
  }

  #key(event) {
    const isTyping = event.target.matches?.("input, select, textarea, dialog *");
    if (event.ctrlKey || event.metaKey || event.altKey || byId("dialog").open) return;
    if (event.key === "Escape") return this.#escape(event, isTyping);
    if (isTyping) return this.#leave(event);
    const does = {
      "/": () => byId("search").focus(),
      l: () => byId("selector").focus(),
      j: () => this.#move(1),
      k: () => this.#move(-1),
      t: switchTheme,
      "?": showKeys,
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }

  /** From a field, Enter and the arrow down lead to the table. */
  #leave(event) {
    if (event.target.matches("input[type=search]") && (event.key === "Enter" || event.key === "ArrowDown")) {
      event.preventDefault();
      this.#move(1);
    }
  }

  #move(rows) {
    byId("table").focus({ preventScroll: true });
    this.grid.moveBy(rows);
  }

  #escape(event, isTyping) {
    if (!isTyping) return;
    if (event.target.value) {
      event.target.value = "";
      event.target.dispatchEvent(new Event("input"));
      event.preventDefault();
    } else byId("table").focus({ preventScroll: true });
  }
}

const time = (milliseconds) => make("time", { datetime: new Date(milliseconds).toISOString() }, clock(milliseconds));

function partButton(kind, onclick) {
  return make("button", { type: "button", class: "chip part", "data-kind": kind, "aria-pressed": "false", hidden: true, onclick },
    make("span", { class: "shape", "aria-hidden": "true" }), make("span", { class: "word" }));
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

function switchTheme() {
  const root = document.documentElement;
  const former = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = former === "dark" ? "light" : "dark";
  localStorage.setItem(THEME, root.dataset.theme);
}

const theme = localStorage.getItem(THEME);
if (theme) document.documentElement.dataset.theme = theme;
new Page().start();
