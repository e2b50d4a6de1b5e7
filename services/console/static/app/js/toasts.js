// Live notices.

import { h, icon, iconButton } from "./dom.js";

const SHOWN_MS = 8000;
const MOST = 4;

export class Toasts {
  constructor(element) { this.element = element; }

  /** `kind`: alarm, error or info. */
  show(title, text = "", kind = "info") {
    const toast = h("div", { class: `toast ${kind}` }, icon(kind === "alarm" ? "bell" : kind === "error" ? "exception" : "info"),
      h("div", {}, h("b", {}, title), text ? h("p", {}, text) : null),
      iconButton("close", "Dismiss", () => toast.remove()));
    this.element.append(toast);
    while (this.element.children.length > MOST) this.element.firstElementChild.remove();
    setTimeout(() => toast.remove(), SHOWN_MS);
  }

  error(error) { this.show("That did not work", error.message, "error"); }
}
