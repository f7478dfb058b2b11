// One machine in full: what it is, why it is shown as it is, what has happened to it, and what may be done to it.
//
// It is a modal dialog at the side of the window, on a phone the whole of it. While it is open it is told of every change of
// the Node; a part is made anew only where what it shows has changed, so a person's place, focus and input stay.

import * as actions from "/page/actions.js";
import { chip, showChip } from "/page/columns.js";
import { copy } from "/page/dialogs.js";
import { make, write } from "/page/dom.js";
import { Editor } from "/page/editor.js";
import { intervals } from "/page/history.js";
import { meaning } from "/page/meaning.js";
import * as sections from "/page/sections.js";
import * as states from "/page/states.js";
import { printable, time } from "/page/text.js";
import { yaml } from "/page/yaml.js";

const TICK_MS = 1000;
const HISTORY_MS = 30_000;
const COPIED_MS = 2000;
const YAML_CHARACTERS = 500_000;
/** What the page says of itself in `data-standing` while what it shows is not what is. */
const STALE = new Set(["lost", "store", "refused", "denied"]);
const HINDRANCE = "Nothing can be changed until it is up to date again.";

/** Each part: its title, how it is made, and what it is made of: it is made anew when that has changed. */
const PARTS = [
  { id: "history", title: "History", make: sections.history, of: ({ known, now, events }) => [known.map(({ from, state }) => [from, state]), Math.floor(now / HISTORY_MS), events.length] },
  { id: "addresses", title: "Addresses", make: sections.addressList, of: ({ node }) => node.status?.addresses },
  { id: "evidence", title: "Evidence", make: sections.evidence, of: ({ node }) => [states.annotations(node), states.labels(node), node.status?.conditions, node.status?.addresses] },
  { id: "conditions", title: "Conditions", make: sections.conditions, of: ({ node }) => withoutHeartbeats(node.status?.conditions) },
  { id: "events", title: "Events", make: sections.eventList, of: ({ events }) => events.map((each) => [each.metadata?.name, each.lastTimestamp, each.reason, each.message, each.count]) },
  { id: "facts", title: "Facts", make: sections.facts, of: ({ node }) => [node.status?.nodeInfo, node.status?.capacity, node.spec, node.metadata?.creationTimestamp] },
  { id: "annotations", title: "Other annotations", make: (seen) => sections.annotationList(seen, actions.NOTE), of: ({ node }) => states.annotations(node) },
];

export class Drawer {
  /**
   * @param {{root: HTMLElement, api: any, words: any, may?: (verb: string, resource: string, name: string) => Promise<boolean>}} options
   * `words`: `{states, reasons, conditions, situations}`; what is missing there is not said.
   */
  constructor({ root, api, words = {}, may = (...asked) => api.may(...asked) }) {
    this.root = root;
    this.api = api;
    this.words = words;
    /** Called when the drawer has been closed, by whomever. */
    this.onclose = () => {};
    this.node = null;
    this.editor = new Editor({ api, may, fail: (error) => this.#fail(error), done: (node) => node && this.update(node), say: (text) => this.#say(text) });
    this.#build();
  }

  get isOpen() {
    return this.dialog.open;
  }

  /**
   * Opens the drawer with a Node; where it is open already, it shows that one from now on.
   * @param {any} node @param {any[]} [events] @param {boolean} [isObserved] whether an agent looks after it
   */
  show(node, events = [], isObserved = true) {
    this.#clear();
    this.node = null;
    this.update(node, events, isObserved);
    this.editor.begin(node);
    this.stand();
    if (this.dialog.open) return;
    this.root.hidden = false;
    this.before = document.activeElement;
    this.dialog.showModal();
    this.title.focus();
    this.dialog.scrollTop = 0;
    this.ticking = setInterval(() => this.#tick(), TICK_MS);
  }

  /** The Node as it is now; null: there is none any more. What is left out stays as it was. */
  update(node, events = this.events, isObserved = this.isObserved) {
    if (node === null) return this.#gone();
    if (this.node !== null && states.nameOf(node) !== states.nameOf(this.node)) return undefined;
    if (this.isGone) this.#fail(null);
    this.isGone = false;
    this.dialog.classList.remove("gone");
    this.node = node;
    this.events = events ?? [];
    this.isObserved = isObserved;
    this.#draw();
    return undefined;
  }

  /** The connection to the server stands in another way now. */
  stand() {
    this.editor.hinder(STALE.has(document.body.dataset.standing) ? HINDRANCE : "");
  }

  close() {
    this.dialog.close();
    this.#closed(); // its event comes a moment later, when another drawer may be open
  }

  #build() {
    this.title = make("h2", { id: "drawer-title", class: "machine-text", tabindex: -1 });
    this.chip = chip();
    const closer = make("button", { type: "button", class: "icon", "aria-label": "Close", title: "Close (Esc)", onclick: () => this.close() }, make("span", { "aria-hidden": "true" }, "✕"));
    this.meaning = make("div", { class: "meaning" });
    this.tools = make("div", { class: "drawer-tools" });
    this.notice = make("p", { class: "drawer-notice", role: "alert", hidden: true });
    this.said = make("div", { class: "unseen", role: "status", "aria-live": "polite" });
    this.parts = PARTS.map((part) => ({ ...part, element: make("div", {}), section: null, key: null }));
    for (const part of this.parts) part.section = make("section", { "aria-labelledby": `part-${part.id}` }, make("h3", { id: `part-${part.id}` }, part.title), part.element);
    const sectionOf = (id) => this.parts.find((each) => each.id === id).section;
    this.pre = make("pre", { class: "yaml", role: "group", tabindex: 0, "aria-label": "The Node as YAML" });
    const copyYaml = make("button", { type: "button", class: "small", onclick: () => this.#copy(this.#yaml(), "the YAML") }, "Copy YAML");
    this.raw = make("details", { class: "raw", ontoggle: () => this.#drawYaml() }, make("summary", {}, make("h3", {}, "YAML")), copyYaml, this.pre);
    this.body = make(
      "div",
      { class: "drawer-body" },
      ...["history", "addresses", "evidence"].map(sectionOf),
      this.editor.note,
      ...["conditions", "events", "facts"].map(sectionOf),
      this.editor.labels,
      sectionOf("annotations"),
      this.raw,
      this.editor.danger,
    );
    const name = make("div", { class: "drawer-name" }, this.title, this.chip);
    const stale = make("p", { class: "drawer-stale" }, `Not up to date: this is what was known last. ${HINDRANCE}`);
    const past = make("p", { class: "drawer-past" }, "The list shows the past; this is the machine as it is now.");
    const top = make("header", { class: "drawer-top" }, make("div", { class: "drawer-title" }, name, closer), stale, past, this.notice);
    const head = make("div", { class: "drawer-head" }, this.meaning, this.tools);
    this.dialog = make("dialog", { class: "drawer", "aria-labelledby": "drawer-title" }, top, head, this.body, this.said);
    this.dialog.addEventListener("close", () => this.#closed());
    this.dialog.addEventListener("click", (event) => this.#clicked(event));
    this.root.replaceChildren(this.dialog);
    document.body.append(this.root); // a part of the page that is hidden, as an empty list is, must not take an open dialog along
  }

  #draw() {
    const { node, events } = this;
    const now = this.#now();
    const state = states.state(node, this.isObserved);
    const lostAt = state.remark === "no observer" ? time(state.since) : null;
    const known = intervals(node, events, now, Number.isNaN(lostAt) ? now : lostAt);
    write(this.title, printable(states.nameOf(node), 253));
    showChip(this.chip, state);
    this.#drawMeaning(state);
    this.#drawTools();
    const seen = { node, events, known, now, words: this.words };
    for (const part of this.parts) this.#drawPart(part, seen);
    this.editor.update(node);
    this.#drawYaml();
    sections.tick(this.dialog, now);
  }

  #drawMeaning(state) {
    const word = meaning(this.words, this.node, state);
    const cordoned = state.isCordoned && this.words.states?.SchedulingDisabled?.means;
    const key = JSON.stringify([word, state.message, state.since, cordoned]);
    if (key === this.meaningKey) return;
    this.meaningKey = key;
    const since = time(state.since);
    const isWell = state.kind === "ready";
    const command = word?.command && !isWell ? make("div", { class: "command" }, make("code", {}, word.onMachine ? `on that machine: ${word.command}` : word.command), sections.copyButton(word.command, "the command")) : null;
    this.meaning.replaceChildren(
      ...[
        word && make("p", {}, word.means),
        state.message && !isWell && make("p", { class: "machine-text told" }, printable(state.message)),
        word?.do && !isWell && make("p", { class: "do" }, make("strong", {}, "What to do: "), word.do),
        command,
        cordoned && make("p", {}, cordoned),
        make("p", { class: "quiet" }, printable(state.reason, 120), " ", Number.isNaN(since) ? null : sections.lasting(since)),
      ].filter(Boolean),
    );
  }

  #drawTools() {
    const copies = sections.commands(this.node);
    const key = JSON.stringify(copies);
    if (key === this.toolsKey) return;
    this.toolsKey = key;
    const buttons = copies.map(({ label, text }) => make("button", { type: "button", class: "small", "data-copy": text, title: text }, label));
    this.tools.replaceChildren(...buttons, this.editor.cordon);
  }

  #drawPart(part, seen) {
    const key = JSON.stringify(part.of(seen) ?? null);
    if (key === part.key) return;
    part.key = key;
    const focused = part.element.contains(document.activeElement) ? document.activeElement.getAttribute("data-copy") : null;
    const made = [part.make(seen)].flat().filter(Boolean);
    part.section.hidden = made.length === 0;
    part.element.replaceChildren(...made);
    if (focused !== null) part.element.querySelector(`[data-copy="${CSS.escape(focused)}"]`)?.focus();
  }

  #yaml() {
    const { managedFields, ...metadata } = this.node.metadata ?? {}; // as kubectl shows it
    const text = yaml({ apiVersion: "v1", kind: "Node", ...this.node, metadata });
    return text.length > YAML_CHARACTERS ? `${text.slice(0, YAML_CHARACTERS)}\n# … cut here` : text;
  }

  #drawYaml() {
    if (!this.raw.open || this.node === null) return;
    const selection = document.getSelection();
    if (!selection.isCollapsed && this.pre.contains(selection.anchorNode)) return; // a person is about to copy a part of it
    write(this.pre, this.#yaml());
  }

  #tick() {
    if (STALE.has(document.body.dataset.standing)) return; // time stands still, as in the table
    const now = this.#now();
    sections.tick(this.dialog, now);
    if (this.node !== null && Math.floor(now / HISTORY_MS) !== this.drawnAt) {
      this.drawnAt = Math.floor(now / HISTORY_MS);
      this.#draw();
    }
  }

  /** The server's time, as far as it has told it. */
  #now() {
    return Date.now() + (this.api.aheadMs ?? 0);
  }

  #clicked(event) {
    if (event.target === this.dialog && event.clientX < this.dialog.getBoundingClientRect().left) return this.close();
    const button = event.target.closest?.("[data-copy]");
    return button ? this.#copy(button.dataset.copy, button.textContent.trim().length > 1 ? button.dataset.copy : "it", button) : undefined;
  }

  async #copy(text, what, button = null) {
    if (!(await copy(text))) return this.#fail(new Error("The browser did not allow to copy."));
    this.#say(`Copied ${printable(what, 120)}`);
    if (button === null) return undefined;
    button.dataset.copied = "";
    setTimeout(() => delete button.dataset.copied, COPIED_MS);
    return undefined;
  }

  #say(text) {
    this.said.textContent = "";
    requestAnimationFrame(() => write(this.said, text));
  }

  #fail(error) {
    this.notice.hidden = error === null;
    write(this.notice, error === null ? "" : printable(error.message || String(error)));
  }

  #gone() {
    if (this.isGone || this.node === null) return;
    this.isGone = true;
    this.dialog.classList.add("gone");
    this.#fail(new Error(`${states.nameOf(this.node)} is not on the list any more: what is shown is how it was.`));
  }

  #clear() {
    this.#fail(null);
    this.isGone = false;
    this.meaningKey = this.toolsKey = undefined;
    this.raw.open = false;
    for (const part of this.parts) part.key = null;
  }

  #closed() {
    if (this.node === null) return;
    clearInterval(this.ticking);
    this.root.hidden = true;
    this.node = null;
    this.editor.end();
    this.before?.focus?.();
    this.onclose();
  }
}

function withoutHeartbeats(found) {
  return Array.isArray(found) ? found.map((each) => ({ ...each, lastHeartbeatTime: "" })) : found;
}
