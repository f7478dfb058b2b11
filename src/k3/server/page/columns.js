/** The columns of the table: how a cell is made, written, and changed by time. */

import { make, mark, write } from "/page/dom.js";
import { isAhead } from "/page/states.js";
import { duration, printable } from "/page/text.js";

/**
 * Returns the columns. `now()` is the server's time in milliseconds, which stands still while the server is lost; `bar(machine)`
 * is its history: `image`, a CSS gradient, and `words`.
 */
export function columns({ now, bar }) {
  return [
    {
      id: "name", title: "Name", isSorted: true,
      make: () => ({ name: make("bdi") }),
      fill: ({ name }, machine) => {
        write(name, machine.shownName);
        mark(name, "title", machine.shownName);
      },
    },
    {
      id: "state", title: "State", isSorted: true,
      make: () => ({ chip: chip(), reason: make("span", { class: "reason" }) }),
      fill: (parts, { state }) => {
        showChip(parts.chip, state);
        const reason = state.kind === "ready" ? "" : printable(state.reason, 80);
        write(parts.reason, reason);
        mark(parts.reason, "title", state.kind === "ready" ? null : printable(`${state.reason}: ${state.message}`, 500));
      },
    },
    {
      id: "seen", title: "Last seen", isSorted: true,
      make: () => ({ text: make("span") }),
      fill: () => {},
      tick: ({ text }, machine) => write(text, ago(machine.lastSeen, now())),
    },
    textColumn("address", "Address", (machine) => printable(machine.address, 60) || "–"),
    textColumn("source", "Source", (machine) => machine.sourceName),
    {
      id: "age", title: "Age", isSorted: true,
      make: () => ({ text: make("span") }),
      fill: () => {},
      tick: ({ text }, { created }) => write(text, Number.isNaN(created) ? "–" : duration(now() - created)),
    },
    {
      id: "history", title: "Last 24 h", isSorted: false,
      make: () => ({ bar: make("div", { class: "bar24", role: "img" }) }),
      fill: (parts, machine) => {
        const { image, words } = bar(machine);
        if (parts.image !== image) parts.bar.style.backgroundImage = parts.image = image;
        mark(parts.bar, "aria-label", words);
        mark(parts.bar, "title", words);
      },
    },
  ];
}

/** Returns how long ago a machine was seen. A stamp of the future is of a wrong clock, and says nothing. */
export function ago(seen, now) {
  if (Number.isNaN(seen)) return "–";
  return isAhead(seen, now) ? "clock ahead" : `${duration(now - seen)} ago`;
}

/** Returns an empty chip: a shape and a word. */
export function chip() {
  return make("span", { class: "chip" }, make("span", { class: "shape", "aria-hidden": "true" }), make("span", { class: "word" }));
}

/** Writes a state into a chip. */
export function showChip(element, state) {
  mark(element, "data-kind", state.kind);
  write(element.lastChild, state.isCordoned ? `${state.label}, cordoned` : state.label);
}

function textColumn(id, title, of) {
  return {
    id, title, isSorted: true,
    make: () => ({ text: make("bdi") }),
    fill: ({ text }, machine) => {
      write(text, of(machine));
      mark(text, "title", of(machine));
    },
  };
}
