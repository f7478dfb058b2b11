// The parts of the drawer by which a person changes a Node. Each is there only where the server says that the person may.

import * as actions from "/page/actions.js";
import { retryMs } from "/page/api.js";
import { make, mark, write } from "/page/dom.js";
import { LABELS } from "/page/facts.js";
import { oddPart } from "/page/selector.js";
import { annotations, labels, nameOf, owner } from "/page/states.js";
import { printable } from "/page/text.js";

const SHOWN = 200;
/** The server has answered: no. Of any other failure it is not known what it would have said. */
const DENIED = [401, 403];
/** Labels that agents write again: to take them off by the page would last for seconds, or give the Node away. */
const KEPT = /^(k3\.(network|discovery)\/|kubernetes\.io\/(hostname|os|arch)$)/;

export class Editor {
  /**
   * `fail(error)` shows what went wrong, null takes it away; `done(node)` shows a Node as it is after a change; `say(text)` tells
   * who cannot see.
   */
  constructor({ api, may, fail, done, say }) {
    Object.assign(this, { api, may, fail, done, say });
    this.node = null;
    this.isAllowed = { patch: false, delete: false };
    /** Why nothing can be changed now; empty: it can. */
    this.hindrance = "";
    /** How often the rights have been asked for: only the newest answer counts. */
    this.asked = 0;
    this.cordon = make("button", { type: "button", class: "small cordon", onclick: () => this.#cordon() });
    this.#buildNote();
    this.#buildLabels();
    this.#buildDanger();
  }

  /** Another Node is shown. */
  begin(node) {
    this.isEditing = false;
    this.confirm.hidden = true;
    this.form.reset();
    this.isAllowed = { patch: false, delete: false };
    this.#allow(nameOf(node));
  }

  /** Nothing can be changed from now on, for a reason, or (an empty one) it can again: then the rights are asked again. */
  hinder(why) {
    if (why === this.hindrance) return;
    this.hindrance = why;
    this.labelsKey = undefined; // the buttons of the labels are made anew, so that their titles come back
    this.#draw();
    if (!why && this.node !== null) this.#allow(nameOf(this.node));
  }

  /** The Node as it is now. */
  update(node) {
    this.node = node;
    this.#draw();
  }

  end() {
    this.node = null;
    this.asked += 1;
  }

  /** Asks for the rights. Where the server cannot say, what it said last stays, and it is asked again later. */
  async #allow(name, failures = 0) {
    const asked = (this.asked += 1);
    this.#draw();
    const ask = (verb) => this.may(verb, "nodes", name).catch((error) => (DENIED.includes(error.code) ? false : null));
    const [patch, remove] = await Promise.all([ask("patch"), ask("delete")]);
    if (asked !== this.asked) return;
    this.isAllowed = { patch: patch ?? this.isAllowed.patch, delete: remove ?? this.isAllowed.delete };
    this.#draw();
    if (patch !== null && remove !== null) return;
    setTimeout(() => asked === this.asked && !this.hindrance && this.#allow(name, failures + 1), retryMs(failures + 1));
  }

  #draw() {
    if (this.node === null) return;
    const { patch } = this.isAllowed;
    write(this.cordon, this.node.spec?.unschedulable === true ? "Uncordon" : "Cordon");
    this.cordon.title = this.node.spec?.unschedulable === true ? "Allow new work on it again" : "Keep new work off it";
    this.cordon.hidden = !patch;
    this.danger.hidden = !this.isAllowed.delete;
    this.form.hidden = !patch;
    this.#drawNote(patch);
    this.#drawLabels(patch);
    const parts = [this.note, this.labels, this.danger].flatMap((part) => [...part.querySelectorAll("button:not(.harmless)")]);
    for (const button of [this.cordon, ...parts]) {
      button.disabled = this.hindrance !== "";
      const hasTitle = button === this.cordon || button.matches(".take");
      if (this.hindrance || !hasTitle) mark(button, "title", this.hindrance || null);
    }
  }

  /** Does something to the Node as the person sees it, once at a time, and shows how that went. */
  async #do(work, said) {
    const { node } = this;
    if (node === null || this.isBusy) return false;
    this.isBusy = true;
    this.fail(null);
    try {
      const found = await work(node);
      this.say(said);
      if (found?.kind === "Node" && this.node !== null && nameOf(this.node) === nameOf(found)) this.done(found);
      return true;
    } catch (error) {
      this.fail(error);
      return false;
    } finally {
      this.isBusy = false;
    }
  }

  #cordon() {
    const isCordoned = this.node.spec?.unschedulable === true;
    return this.#do((node) => actions.setCordon(this.api, node, !isCordoned), isCordoned ? "Uncordoned" : "Cordoned");
  }

  // ── the note ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #buildNote() {
    this.noteText = make("p", { class: "machine-text note-text" });
    this.noteEdit = make("button", { type: "button", class: "small note-edit", onclick: () => this.#editNote(true) });
    this.noteField = make("textarea", { rows: 3, maxlength: 4000, "aria-label": "Note" });
    const buttons = make("div", { class: "buttons" }, make("button", { type: "submit", class: "small primary" }, "Save"), make("button", { type: "button", class: "small harmless", onclick: () => this.#editNote(false) }, "Cancel"));
    this.noteForm = make("form", { class: "note-form", onsubmit: (event) => this.#saveNote(event) }, this.noteField, buttons);
    this.noteForm.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      this.#editNote(false);
    });
    this.note = make("section", { "aria-labelledby": "part-note" }, make("h3", { id: "part-note" }, "Note"), this.noteText, this.noteEdit, this.noteForm);
  }

  #drawNote(mayPatch) {
    const text = String(annotations(this.node)[actions.NOTE] ?? "");
    write(this.noteText, text.slice(0, 4000).split("\n").map((line) => printable(line)).join("\n"));
    this.noteText.hidden = text === "" || this.isEditing;
    write(this.noteEdit, text ? "Edit" : "Add a note");
    this.noteEdit.hidden = !mayPatch || this.isEditing;
    this.noteForm.hidden = !this.isEditing;
    this.note.hidden = !text && !mayPatch;
  }

  #editNote(isEditing) {
    this.isEditing = isEditing;
    /** What the person began with: a note that somebody else has written meanwhile is not overwritten. */
    this.noteNode = this.node;
    if (isEditing) this.noteField.value = String(annotations(this.node)[actions.NOTE] ?? "");
    this.#draw();
    (isEditing ? this.noteField : this.noteEdit).focus();
  }

  async #saveNote(event) {
    event.preventDefault();
    if (await this.#do(() => actions.setNote(this.api, this.noteNode, this.noteField.value), "Saved the note")) this.#editNote(false);
  }

  // ── labels ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #buildLabels() {
    this.list = make("ul", { class: "label-list" });
    this.key = make("input", { name: "key", placeholder: "key", "aria-label": "Key of the label", autocomplete: "off", autocapitalize: "none", spellcheck: "false", required: true });
    this.value = make("input", { name: "value", placeholder: "value", "aria-label": "Value of the label", autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
    this.form = make("form", { class: "label-form", onsubmit: (event) => this.#addLabel(event) }, this.key, make("span", { "aria-hidden": "true" }, "="), this.value, make("button", { type: "submit", class: "small" }, "Set label"));
    this.labels = make("section", { "aria-labelledby": "part-labels" }, make("h3", { id: "part-labels" }, "Labels"), this.list, this.form);
  }

  #drawLabels(mayPatch) {
    const found = Object.entries(labels(this.node)).sort(([a], [b]) => (a < b ? -1 : 1));
    const key = JSON.stringify([found, mayPatch]);
    this.labels.hidden = found.length === 0 && !mayPatch;
    if (key === this.labelsKey) return;
    this.labelsKey = key;
    const focused = this.list.contains(document.activeElement);
    this.list.replaceChildren(...found.slice(0, SHOWN).map(([name, value]) => this.#label(name, value, mayPatch)));
    if (focused) (this.list.querySelector("button") ?? this.key).focus();
  }

  #label(name, value, mayPatch) {
    const text = printable(value === "" ? name : `${name}=${value}`, 400);
    const take = () => this.#do((node) => actions.setLabel(this.api, node, name, null), `Removed the label ${name}`);
    const button = mayPatch && !KEPT.test(name) && make("button", { type: "button", class: "take", "aria-label": `Remove the label ${text}`, title: "Remove", onclick: take }, make("span", { "aria-hidden": "true" }, "×"));
    return make("li", {}, make("span", { class: "machine-text" }, text), button || null);
  }

  async #addLabel(event) {
    event.preventDefault();
    let [name, value] = [this.key.value.trim(), this.value.value.trim()];
    if (name.includes("=") && value === "") [name, value] = [name.slice(0, name.indexOf("=")), name.slice(name.indexOf("=") + 1)];
    const odd = oddPart(name, value);
    if (odd) return this.fail(new Error(LABELS[odd]));
    if (KEPT.test(name)) return this.fail(new Error(`${name} is a label that k3 writes itself.`));
    if (await this.#do((node) => actions.setLabel(this.api, node, name, value), `Set the label ${name}`)) {
      this.form.reset();
      this.key.focus();
    }
    return undefined;
  }

  // ── deletion ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #buildDanger() {
    this.ask = make("button", { type: "button", class: "small danger", onclick: () => this.#askToDelete() }, "Delete this Node…");
    this.question = make("p", { id: "delete-question" });
    this.sure = make("button", { type: "button", class: "small danger filled", onclick: () => this.#delete() });
    this.not = make("button", { type: "button", class: "small harmless", onclick: () => this.#askToDelete(false) }, "Keep it");
    this.confirm = make("div", { class: "confirm", role: "alertdialog", "aria-labelledby": "delete-question", hidden: true }, this.question, make("div", { class: "buttons" }, this.sure, this.not));
    this.confirm.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      this.#askToDelete(false);
    });
    this.danger = make("section", { class: "danger-zone", "aria-label": "Delete" }, this.ask, this.confirm);
  }

  #askToDelete(isAsked = true) {
    const name = printable(nameOf(this.node), 253);
    this.deleted = this.node;
    write(this.question, `Delete the Node ${name}, with its labels and its note? ${comesBack(this.node)}`);
    write(this.sure, `Delete ${name}`);
    this.confirm.hidden = !isAsked;
    this.ask.hidden = isAsked;
    (isAsked ? this.not : this.ask).focus();
  }

  async #delete() {
    if (await this.#do(() => actions.remove(this.api, this.deleted), `Deleted ${nameOf(this.deleted)}`)) {
      this.confirm.hidden = true;
      this.ask.hidden = false;
    }
  }
}

/** When a Node that is deleted comes back. */
function comesBack(node) {
  const source = owner(node)?.name;
  if (source === "network") return "If that machine still runs k3 network, its Node returns at its next probe.";
  if (source === "discovery") return "If that machine is still in Consul, its Node returns with the next look there.";
  return "Whatever made it may make it again.";
}
