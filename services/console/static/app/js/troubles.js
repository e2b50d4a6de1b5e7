// What cannot be read now: said in one line below the header, for as long as it lasts.

export class Troubles {
  #known = new Map();

  constructor(element) { this.element = element; }

  /** `what`: "The alarms"; `error`: why they cannot be read, null: they can. */
  set(what, error) {
    // No answer at all is the connection's trouble, which is said already; an ended session leads to the login.
    if (error && error.status > 0 && error.status !== 401) this.#known.set(what, error.message);
    else this.#known.delete(what);
    const reasons = Map.groupBy(this.#known.keys(), (each) => this.#known.get(each));
    const text = [...reasons].map(([reason, names]) => `${names.join(", ")} cannot be read: ${reason.replace(/\.$/, "")}.`).join(" ");
    this.element.hidden = !text;
    const all = text && `${text} Tried again by itself.`;
    if (this.element.textContent !== all) this.element.textContent = all;
  }
}
