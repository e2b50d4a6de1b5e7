// Totals of the counting rules, live.

import { api } from "./api.js";
import { h, iconButton } from "./dom.js";
import { msOf, momentText } from "./format.js";

const RETRY_MS = 5000;
const COLUMNS = [["enter", "In"], ["leave", "Out"], ["stay", "Inside"]];

export class Counts {
  #rows = new Map();
  #retry = 0;
  #asked = 0;
  #answered = 0; // the newest question that was answered, well or not
  #tellings = 0; // counts that came by themselves
  #key = null;

  constructor(element, site, live, actions) {
    this.actions = actions;
    this.element = element;
    this.body = h("tbody");
    element.append(h("div", { class: "bar" }, h("h2", {}, "Counts"), h("span", { class: "push" }),
      iconButton("refresh", "Read the counts again", () => this.load())),
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Rule"), COLUMNS.map(([, text]) => h("th", { scope: "col" }, text)))), this.body));
    live.addEventListener("counts", ({ detail }) => this.#told(detail));
    this.renew(site);
  }

  /** Show the counting rules of `site`. */
  renew(site) {
    const rules = site.channels.flatMap((channel) =>
      channel.rules.filter((rule) => rule.kind === "people_counting").map((rule) => ({ channel, rule })));
    const key = JSON.stringify(rules.map(({ channel, rule }) => [channel.id, channel.title, rule.id, rule.name]));
    if (key === this.#key) return;
    this.#key = key;
    this.#rows = new Map();
    this.body.replaceChildren(...rules.map(({ channel, rule }) => this.#row(channel, rule)));
    this.element.hidden = rules.length === 0;
    this.load();
  }

  async load() {
    const asked = ++this.#asked;
    const told = this.#tellings;
    clearTimeout(this.#retry);
    let problem = null;
    try {
      const { counts } = this.#rows.size ? await api("/api/counts") : { counts: [] }; // a site that counts nothing needs no analytics
      if (asked > this.#answered) for (const each of counts) this.#read(each, told);
    } catch (error) { // without analytics the rows say so: they stay at "-"
      problem = error;
    }
    if (asked <= this.#answered) return;
    this.#answered = asked;
    this.actions.trouble("The counts", problem);
    if (problem) this.#retry = setTimeout(() => this.load(), RETRY_MS);
  }

  #row(channel, rule) {
    const since = h("small", {}, channel.title);
    const cells = Object.fromEntries(COLUMNS.map(([name]) => [name, h("span", { class: "number" }, "–")]));
    this.#rows.set(`${channel.id}/${rule.id}`, { cells, since, title: channel.title, telling: 0, atNs: 0 });
    return h("tr", {}, h("td", {}, h("b", {}, rule.name), since), COLUMNS.map(([name]) => h("td", {}, cells[name])));
  }

  #told({ channel, source, counts, at_ns: atNs }) {
    const row = this.#rows.get(`${channel}/${source}`);
    if (!row) return;
    Object.assign(row, { telling: ++this.#tellings, atNs });
    this.#show(row, counts);
  }

  /** An answer that was asked for when `told` counts had come: of a rule that was told a newer one since, it came late. */
  #read(counts, told) {
    const row = this.#rows.get(`${counts.channel}/${counts.rule}`);
    if (!row || (row.telling > told && (counts.as_of_ns ?? 0) < row.atNs)) return;
    this.#show(row, counts);
    if (counts.since_ns) row.since.textContent = `${row.title}  ·  since ${momentText(msOf(counts.since_ns))}`;
  }

  #show(row, counts) {
    for (const [name] of COLUMNS) {
      const text = String(counts[name] ?? "–");
      const cell = row.cells[name];
      if (cell.textContent === text) continue;
      cell.classList.remove("bump");
      void cell.offsetWidth; // so that the same animation runs again
      if (cell.textContent !== "–") cell.classList.add("bump");
      cell.textContent = text;
    }
  }
}
