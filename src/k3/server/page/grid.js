/**
 * The table: rows for what is in sight, and no others, so that ten thousand Machines scroll as ten do.
 *
 * To assistive technology it is a grid (WAI-ARIA 1.2) that says how many rows there are and which of them each one is. The focus
 * stays on the grid, and `aria-activedescendant` names the row of the cursor. The cursor is on a Machine, not on a place: it stays
 * with it when others come, go or change; so does what is in sight.
 */

import { make, mark, write } from "/page/dom.js";

/** Rows that are kept above and below what is in sight. */
const MARGIN = 8;

export class Grid {
  #root;
  #columns;
  #head;
  #body;
  #items = [];
  #placeOf = () => undefined;
  #cursorPlace = undefined;
  #rows = new Map();
  #spare = [];
  #made = 0;
  #cursor = "";
  #rowHeight = 40;
  #frame = 0;

  /**
   * `columns`: each with `id`, `title`, `isSorted` (whether it can be), `make` (returns the elements of a cell), `fill` (writes a
   * Machine into them) and `tick` (writes what time changes). `onopen(name)` and `onsort(id)` are called.
   */
  constructor({ root, columns, onopen, onsort }) {
    this.#root = root;
    this.#columns = columns;
    this.onopen = onopen;
    this.#head = make("div", { role: "row", class: "row heads", "aria-rowindex": 1 }, ...columns.map((each) => this.#heading(each, onsort)));
    this.#body = make("div", { role: "rowgroup", class: "rows" });
    root.append(make("div", { role: "rowgroup", class: "head" }, this.#head), this.#body);
    root.setAttribute("aria-colcount", columns.length);
    root.addEventListener("scroll", () => this.#later(), { passive: true });
    root.addEventListener("keydown", (event) => this.#key(event));
    this.#body.addEventListener("click", (event) => this.#click(event));
    new ResizeObserver(() => this.#resized()).observe(root);
  }

  /** The name of the Machine that the cursor is on; empty: none. */
  get cursor() {
    return this.#cursor;
  }

  /**
   * Shows other items, or the same ones in another order: Machines, and heads of groups. `placeOf(name)`: where a Machine is among
   * them; undefined: it is not.
   */
  show(items, placeOf, { sort, isDown }) {
    const anchor = this.#anchor();
    this.#items = items;
    this.#placeOf = placeOf;
    if (this.#cursor && placeOf(this.#cursor) === undefined) this.#cursor = this.#nearest(this.#cursorPlace ?? 0);
    this.#cursorPlace = placeOf(this.#cursor);
    mark(this.#root, "aria-rowcount", items.length + 1);
    this.#stretch();
    for (const each of this.#head.children) {
      const isIt = each.dataset.id === sort;
      mark(each, "aria-sort", isIt ? (isDown ? "descending" : "ascending") : each.firstChild.tagName === "BUTTON" ? "none" : null);
    }
    this.#restore(anchor);
    this.#draw();
  }

  /** Writes everything in sight anew. */
  refresh() {
    for (const row of this.#rows.values()) row.item = null;
    this.#draw();
  }

  /** Writes what time changes, of the rows in sight. */
  tick() {
    for (const row of this.#rows.values()) {
      if (row.item?.name === undefined) continue;
      this.#columns.forEach((each, place) => each.tick?.(row.parts[place], row.item));
    }
  }

  /** Puts the cursor on a Machine, and it into sight. */
  moveTo(name) {
    const place = this.#placeOf(name);
    if (place === undefined) return;
    this.#cursor = name;
    this.#cursorPlace = place;
    this.#reveal(place);
    this.#draw();
  }

  /** Moves the cursor by some rows. */
  moveBy(rows) {
    if (!this.#items.length) return;
    const from = this.#cursorPlace ?? (rows > 0 ? -1 : this.#items.length);
    const step = Math.sign(rows);
    let to = Math.max(0, Math.min(this.#items.length - 1, from + rows));
    while (this.#items[to]?.name === undefined && this.#items[to + step]) to += step;
    if (this.#items[to]?.name === undefined) return;
    this.moveTo(this.#items[to].name);
  }

  /** Returns the Machines in sight. */
  inSight() {
    return [...this.#rows.values()].map((row) => row.item).filter((each) => each?.name !== undefined);
  }

  #heading(column, onsort) {
    const title = column.isSorted
      ? make("button", { type: "button", tabindex: -1, onclick: () => onsort(column.id) }, column.title)
      : make("span", {}, column.title);
    return make("div", { role: "columnheader", class: `cell ${column.id}`, "data-id": column.id }, title);
  }

  #resized() {
    const height = parseFloat(getComputedStyle(this.#root).getPropertyValue("--row")) || 40;
    if (height !== this.#rowHeight) {
      const anchor = this.#anchor();
      this.#rowHeight = height;
      this.#stretch();
      for (const row of this.#rows.values()) row.place = -1;
      this.#restore(anchor);
    }
    this.#draw();
  }

  /** Makes room for all rows. Where they are as many as before, nothing is written, which would cost a layout. */
  #stretch() {
    const height = `${this.#items.length * this.#rowHeight}px`;
    if (this.#body.style.height !== height) this.#body.style.height = height;
  }

  #later() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  /** Returns what is to stay where it is: the cursor's row if it is in sight, else the first row in sight; null: the top. */
  #anchor() {
    const { scrollTop, clientHeight } = this.#root;
    if (scrollTop <= 0) return null;
    const at = this.#cursorPlace;
    const offset = at === undefined ? -1 : at * this.#rowHeight - scrollTop;
    if (offset >= 0 && offset < clientHeight - this.#headHeight) return { name: this.#cursor, offset };
    const first = Math.ceil(scrollTop / this.#rowHeight);
    const place = this.#items[first]?.name === undefined ? first + 1 : first; // behind the head of a group is a Machine
    const item = this.#items[place];
    return item ? { name: item.name, offset: place * this.#rowHeight - scrollTop } : null;
  }

  #restore(anchor) {
    const place = anchor && this.#placeOf(anchor.name);
    if (place !== null && place !== undefined) this.#root.scrollTop = place * this.#rowHeight - anchor.offset;
  }

  get #headHeight() {
    return this.#head.offsetHeight;
  }

  #reveal(place) {
    const { scrollTop, clientHeight } = this.#root;
    const top = place * this.#rowHeight, room = clientHeight - this.#headHeight;
    if (top < scrollTop) this.#root.scrollTop = top - (place === 1 && this.#items[0].name === undefined ? this.#rowHeight : 0);
    else if (top + this.#rowHeight > scrollTop + room) this.#root.scrollTop = top + this.#rowHeight - room;
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const { scrollTop, clientHeight } = this.#root;
    const first = Math.max(0, Math.floor(scrollTop / this.#rowHeight) - MARGIN);
    const last = Math.min(this.#items.length, Math.ceil((scrollTop + clientHeight) / this.#rowHeight) + MARGIN);
    for (const [place, row] of this.#rows) {
      if (place >= first && place < last) continue;
      this.#rows.delete(place);
      this.#spare.push(row);
    }
    for (let place = first; place < last; place += 1) this.#drawRow(place);
    while (this.#spare.length > 2 * MARGIN) this.#spare.pop().element.remove();
    for (const row of this.#spare) row.element.hidden = true;
    const at = this.#rows.get(this.#cursorPlace);
    mark(this.#root, "aria-activedescendant", at ? at.element.id : null);
  }

  #drawRow(place) {
    let row = this.#rows.get(place);
    if (row === undefined) {
      row = this.#spare.pop() ?? this.#newRow();
      row.place = -1;
      this.#rows.set(place, row);
    }
    const { element } = row;
    const item = this.#items[place];
    if (row.place !== place) {
      row.place = place;
      element.hidden = false;
      element.style.transform = `translateY(${place * this.#rowHeight}px)`;
      mark(element, "aria-rowindex", place + 2);
    }
    if (row.item !== item) {
      row.item = item;
      this.#fill(row, item);
    }
    const isCursor = item.name !== undefined && item.name === this.#cursor;
    if (row.isCursor !== isCursor) {
      row.isCursor = isCursor;
      mark(element, "aria-selected", isCursor);
    }
  }

  #fill(row, item) {
    const { element, parts } = row;
    const isHead = item.name === undefined;
    element.classList.toggle("group", isHead);
    if (isHead) {
      write(row.title, item.group);
      write(row.count, `${item.count}${item.troubled ? ` · ${item.troubled} not well` : ""}`);
      return;
    }
    element.dataset.kind = item.state.kind;
    this.#columns.forEach((each, place) => {
      each.fill(parts[place], item);
      each.tick?.(parts[place], item);
    });
  }

  #newRow() {
    this.#made += 1;
    const title = make("span", { class: "group-title" });
    const count = make("span", { class: "group-count" });
    const parts = this.#columns.map((each) => each.make());
    const cells = this.#columns.map((each, place) => make("div", { role: "gridcell", class: `cell ${each.id}` }, ...Object.values(parts[place])));
    cells.push(make("div", { role: "gridcell", class: "cell group-cell" }, title, count));
    const element = make("div", { role: "row", class: "row", id: `row-${this.#made}`, "aria-selected": "false" }, ...cells);
    this.#body.append(element);
    return { element, parts, title, count, item: null, place: -1, isCursor: false };
  }

  #nearest(place) {
    for (let at = Math.min(place, this.#items.length - 1); at >= 0; at -= 1) if (this.#items[at].name !== undefined) return this.#items[at].name;
    return "";
  }

  #click(event) {
    const element = event.target.closest(".row");
    const row = [...this.#rows.values()].find((each) => each.element === element);
    if (row?.item?.name === undefined || getSelection().toString()) return;
    this.moveTo(row.item.name);
    this.onopen(row.item.name);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.#root.clientHeight / this.#rowHeight) - 2);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity, " ": page };
    const rows = moves[event.key];
    if (rows !== undefined) {
      event.preventDefault();
      this.moveBy(Math.max(-this.#items.length, Math.min(this.#items.length, rows)));
    } else if (event.key === "Enter" && this.#cursor) {
      event.preventDefault();
      this.onopen(this.#cursor);
    }
  }
}
