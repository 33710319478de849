import { h } from './dom.js';

/** The seat map: a button for each seat, of which the Tab key reaches one, and the arrow keys the others. */

/** @typedef {import('../src/venue.store.js').Booking} Booking */

const COLUMNS = 10;

export class SeatMap {
  /** @type {HTMLButtonElement[]} */
  #buttons = [];
  #element;
  #book;
  /** Those that were asked for here, and are not answered yet. @type {Set<number>} */
  #asked = new Set();

  /**
   * @param {HTMLElement} element
   * @param {(seat: number) => Promise<boolean>} book whether it was sold
   */
  constructor(element, book) {
    this.#element = element;
    this.#book = book;
    element.addEventListener('keydown', (event) => this.#move(event));
  }

  /**
   * @param {number} seats
   * @param {Booking[]} bookings
   * @param {string} me the customer at this page
   * @param {(pid: number) => number | undefined} colourOf
   */
  show(seats, bookings, me, colourOf) {
    if (this.#buttons.length !== seats) this.#build(seats);
    const sold = Map.groupBy(bookings, ({ seat }) => seat);
    for (const [index, button] of this.#buttons.entries()) {
      const sales = sold.get(index + 1) ?? [];
      if (sales.length > 0) this.#asked.delete(index + 1);
      this.#draw(button, index + 1, sales, me, colourOf(sales[0]?.pid ?? 0));
    }
  }

  /** @param {number} seats */
  #build(seats) {
    this.#buttons = Array.from({ length: seats }, (_, index) => {
      const button = /** @type {HTMLButtonElement} */ (h('button'));
      button.tabIndex = index === 0 ? 0 : -1;
      button.addEventListener('click', () => void this.#ask(index + 1));
      return button;
    });
    this.#element.replaceChildren(...this.#buttons);
  }

  /**
   * @param {HTMLButtonElement} button
   * @param {number} seat
   * @param {Booking[]} sales
   * @param {string} me
   * @param {number | undefined} colour
   */
  #draw(button, seat, sales, me, colour) {
    const [first] = sales;
    const isYours = sales.some(({ customer }) => customer === me);
    const isAsked = !first && this.#asked.has(seat);
    const kind = sales.length > 1 ? 'oversold' : isYours ? 'yours' : first ? 'sold' : isAsked ? 'asked' : 'free';
    const names = sales.map(({ customer, pid }) => `${customer} by process ${pid}`);
    const what = {
      oversold: `sold ${sales.length === 2 ? 'twice' : `${sales.length} times`}: to ${names.join(' and to ')}`,
      yours: `yours, sold by process ${first?.pid}`,
      sold: `sold to ${names[0]}`,
      asked: 'waiting for your turn',
      free: 'free',
    }[kind];
    const label = `seat ${seat}, ${what}`;
    const look = `seat ${kind} ${colour === undefined ? '' : `process-${colour}`}`;
    if (button.ariaLabel === label && button.className === look) return;
    button.ariaLabel = label;
    button.title = label;
    button.className = look;
    if (first) button.setAttribute('aria-disabled', 'true');
    else button.removeAttribute('aria-disabled');
    button.textContent = String(seat);
    // Drawn by the style sheet, because the label says it already.
    button.dataset.sign = { oversold: `×${sales.length}`, yours: '✓', sold: '', asked: '…', free: '' }[kind];
  }

  /** @param {number} seat */
  async #ask(seat) {
    const button = this.#buttons[seat - 1];
    if (this.#asked.has(seat) || button?.getAttribute('aria-disabled')) return;
    this.#asked.add(seat);
    // Who has got it waits until it is seen to be sold.
    if (!(await this.#book(seat))) this.#asked.delete(seat);
  }

  /** @param {KeyboardEvent} event */
  #move(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -COLUMNS, ArrowDown: COLUMNS };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    const from = this.#buttons.indexOf(/** @type {HTMLButtonElement} */ (event.target));
    const to = step && this.#buttons[from + step];
    if (!to) return;
    event.preventDefault();
    for (const button of this.#buttons) button.tabIndex = button === to ? 0 : -1;
    to.focus();
  }
}
