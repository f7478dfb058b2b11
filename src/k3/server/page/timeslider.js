// Chooses a moment of the past: "what was up at 03:12?". A slider over the last day, week or month, and a field for a date.

import { make, write } from "/page/dom.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** The spans that can be chosen: their names, lengths and steps. */
const SPANS = [
  { label: "24 h", spoken: "day", ms: 24 * HOUR_MS, step: MINUTE_MS },
  { label: "7 d", spoken: "7 days", ms: 7 * 24 * HOUR_MS, step: 10 * MINUTE_MS },
  { label: "30 d", spoken: "30 days", ms: 30 * 24 * HOUR_MS, step: HOUR_MS },
];

/** The past that is shown, or now. It is closed at first: one button. */
export class TimeSlider {
  /**
   * @param {{root: HTMLElement, onchange: (when: number|null) => void, clock?: () => number}} options
   * `onchange(null)`: now is to be shown; `clock`: the server's time, as the past is told in it, whatever the reader's clock says.
   */
  constructor({ root, onchange, clock = Date.now }) {
    this.root = root;
    this.onchange = onchange;
    this.clock = clock;
    /** @type {number|null} */
    this.when = null;
    this.span = SPANS[0];
    this.#build();
    this.#open(false);
  }

  /** Shows a moment, or now (null), as if the person had chosen it. */
  set(when) {
    if (when !== null) {
      const age = this.clock() - when;
      this.span = SPANS.find((each) => age <= each.ms) ?? SPANS.at(-1);
      this.#open(true);
    }
    this.#choose(when);
  }

  #build() {
    const opener = { type: "button", class: "time-open", onclick: () => this.#enter() };
    this.opener = make("button", opener, make("span", { "aria-hidden": "true" }, "◷"), " Look back");
    this.range = make("input", { type: "range", min: 0, class: "time-range", "aria-label": "Moment of the past", oninput: () => this.#slid() });
    this.field = make("input", { type: "datetime-local", class: "time-field", "aria-label": "Date and time", onchange: () => this.#typed() });
    this.spans = SPANS.map((each) => this.#spanButton(each));
    this.start = make("span", {});
    this.now = make("button", { type: "button", class: "time-now", onclick: () => this.#leave() });
    this.said = make("p", { class: "time-said", role: "status" });
    const spans = make("div", { class: "time-spans", role: "group", "aria-label": "How far back" }, ...this.spans);
    const scale = make("div", { class: "time-scale" }, this.range, make("div", { class: "time-ends", "aria-hidden": "true" }, this.start, make("span", {}, "now")));
    this.panel = make("div", { class: "time-panel", role: "group", "aria-label": "A moment of the past" }, spans, scale, this.field, this.now);
    this.root.classList.add("time");
    this.root.replaceChildren(this.opener, this.panel, this.said);
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.panel.hidden) return;
      event.stopPropagation();
      this.#leave();
    });
  }

  #spanButton(span) {
    const chosen = () => {
      this.span = span;
      this.#draw();
    };
    return make("button", { type: "button", "aria-label": `The last ${span.spoken}`, onclick: chosen }, span.label);
  }

  #enter() {
    this.#open(true);
    this.range.focus();
  }

  #leave() {
    this.#open(false);
    this.#choose(null);
    this.opener.focus();
  }

  #open(isOpen) {
    this.panel.hidden = !isOpen;
    this.opener.hidden = isOpen;
    this.root.classList.toggle("open", isOpen);
    this.#draw();
  }

  #slid() {
    const back = (Number(this.range.max) - Number(this.range.value)) * this.span.step;
    this.#choose(back === 0 ? null : Math.floor((this.clock() - back) / MINUTE_MS) * MINUTE_MS);
  }

  #typed() {
    const when = new Date(this.field.value).getTime();
    if (Number.isNaN(when)) return this.#choose(null);
    const now = this.clock();
    if (now - when > this.span.ms) this.span = SPANS.find((each) => now - when <= each.ms) ?? SPANS.at(-1);
    this.#choose(when >= now ? null : Math.max(when, now - SPANS.at(-1).ms));
  }

  #choose(when) {
    const isNew = when !== this.when;
    this.when = when;
    this.#draw();
    if (!isNew) return;
    cancelAnimationFrame(this.waiting);
    this.waiting = requestAnimationFrame(() => this.onchange(this.when)); // a slider that is dragged says more than can be drawn
  }

  #draw() {
    const now = this.clock();
    const steps = Math.round(this.span.ms / this.span.step);
    this.range.max = String(steps);
    this.range.value = String(this.when === null ? steps : steps - Math.floor((now - this.when) / this.span.step));
    for (const [index, each] of this.spans.entries()) each.setAttribute("aria-pressed", String(SPANS[index] === this.span));
    write(this.start, `${this.span.label} ago`);
    this.field.max = fieldText(now);
    this.field.min = fieldText(now - SPANS.at(-1).ms);
    if (document.activeElement !== this.field) this.field.value = fieldText(this.when ?? now);
    const text = this.when === null ? "now" : moment(this.when);
    this.range.setAttribute("aria-valuetext", text);
    this.root.classList.toggle("past", this.when !== null);
    write(this.now, this.when === null ? "Close" : "Back to now");
    write(this.said, this.when === null ? "" : `This is the past: the machines as they were on ${text}, as far as their Events tell.`);
    this.said.hidden = this.when === null;
  }
}

/** A moment as people say it, to the minute, by the reader's clock. */
export function moment(when) {
  const form = { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false };
  return new Date(when).toLocaleString("en-GB", form);
}

/** A moment as the field for it has it: local, to the minute. */
function fieldText(when) {
  const local = new Date(when - new Date(when).getTimezoneOffset() * MINUTE_MS);
  return local.toISOString().slice(0, 16);
}
