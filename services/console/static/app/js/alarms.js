// The list of alarms, newest first, kept up as they happen.

import { api, snapshotUrl } from "./api.js";
import { arrange, empty, h, icon, iconButton, liken, prose, segments } from "./dom.js";
import { directionText, durationText, exceptionText, kindText, momentText, msOf, nsOf, sentence, targetText } from "./format.js";

const MOST = 200;
const PICTURE_TRIES = 4;
const RETRY_MS = 5000;
/** An alarm belongs to a moment this close to it. */
const NEAR_MS = 1000;

/** The one that was raised later comes first. Times say so only of those that the recorder did not number yet: clocks are set. */
const byAge = ({ alarm: a }, { alarm: b }) => b.sequence - a.sequence || b.start_ns - a.start_ns;

export class Alarms {
  #items = new Map(); // alarm id: {alarm, element, thumb}
  #acknowledging = new Set();
  #filter = "all";
  #problem = null;
  #chosen = null;
  #retry = 0;
  #asked = 0;
  #answered = 0; // the newest question that was answered, well or not
  #kept = null; // the alarm of a link: it stays in the list, however old
  #held = false; // the chosen alarm is kept in view, whatever comes before it in the list, until someone looks elsewhere

  constructor(element, site, live, actions) {
    this.channels = new Map(site.channels.map((channel) => [channel.id, channel]));
    this.actions = actions;
    this.badge = h("span", { class: "badge-open", hidden: true });
    this.list = h("ul", { class: "alarm-list", "aria-label": "Alarms, newest first", tabindex: 0 });
    element.append(h("div", { class: "bar" }, h("h2", {}, "Alarms"), this.badge, h("span", { class: "push" }),
      segments("Which alarms", [["all", "All"], ["open", "Not acknowledged"]], "all", (filter) => { this.#filter = filter; this.#arrange(); })), this.list);
    for (const moved of ["wheel", "pointerdown", "touchstart", "keydown"]) this.list.addEventListener(moved, () => { this.#held = false; }, { passive: true });
    live.addEventListener("alarm", ({ detail }) => this.#put(detail, true));
    this.load();
  }

  /** Names of channels and rules are those of `site`. */
  renew(site) {
    this.channels = new Map(site.channels.map((channel) => [channel.id, channel]));
    for (const { alarm } of [...this.#items.values()]) this.#draw(alarm);
    this.#arrange();
  }

  async load() {
    const asked = ++this.#asked;
    clearTimeout(this.#retry);
    let problem = null;
    try {
      const { alarms } = await api("/api/alarms", { query: { limit: MOST } });
      for (const alarm of [...alarms].reverse()) this.#put(alarm, false);
    } catch (error) {
      problem = error;
    }
    if (asked > this.#answered) {
      this.#answered = asked;
      this.#problem = problem?.message ?? null;
      this.actions.trouble("The alarms", problem);
      if (problem) this.#retry = setTimeout(() => this.load(), RETRY_MS);
    }
    this.#arrange();
  }

  /** The id of the alarm of a moment, or null. It is in the list then. Asked again, when there is no answer, for as long as it is `wanted`. */
  async find(channel, ms, wanted) {
    try {
      const { alarms } = await api("/api/alarms", { query: { channel, from_ns: nsOf(ms - NEAR_MS), to_ns: nsOf(ms + NEAR_MS), limit: MOST } });
      const off = (alarm) => Math.abs(msOf(alarm.start_ns) - ms);
      const alarm = alarms.reduce((best, each) => (best && off(best) <= off(each) ? best : each), null);
      if (!alarm) return null;
      this.#kept = alarm.alarm_id;
      this.#put(alarm, false);
      this.#arrange();
      return alarm.alarm_id;
    } catch { // the list says that the alarms cannot be read
      await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
      return wanted() ? this.find(channel, ms, wanted) : null;
    }
  }

  /** Mark the alarm that plays, or none. */
  choose(id, { reveal = false } = {}) {
    this.#chosen = id;
    this.#held = reveal;
    for (const [each, { element }] of this.#items) this.#mark(element, each);
    this.#hold();
  }

  #hold() {
    if (this.#held) this.#items.get(this.#chosen)?.element.scrollIntoView({ block: "nearest" });
  }

  #mark(element, id) {
    element.classList.toggle("chosen", id === this.#chosen);
    if (id === this.#chosen) element.setAttribute("aria-current", "true");
    else element.removeAttribute("aria-current");
  }

  #put(alarm, live) {
    const known = this.#items.get(alarm.alarm_id);
    if (known && alarm.revision < known.alarm.revision) return;
    const element = this.#draw(alarm);
    element.classList.toggle("new", live && !known);
    if (live) this.#arrange();
  }

  #draw(alarm) {
    const id = alarm.alarm_id;
    const known = this.#items.get(id);
    const title = this.#title(alarm);
    const thumb = known?.thumb ?? this.#thumb(id);
    const fresh = h("li", { class: `entry ${alarm.acknowledged_by ? "acked" : "open"}`, data: { alarm: id } }, this.#what(alarm, title), this.#ack(alarm, title));
    const element = known?.element ?? h("li", { class: fresh.className, data: { alarm: id } }, thumb, fresh.children[0].cloneNode(), h("span"));
    const [, what, ack] = element.children;
    liken(what, fresh.children[0]);
    liken(ack, fresh.children[1]);
    for (const name of ["acked", "open"]) element.classList.toggle(name, fresh.classList.contains(name));
    this.#picture(thumb, alarm, known?.alarm);
    thumb.setAttribute("aria-label", `Play back: ${title}`);
    this.#mark(element, id);
    this.#items.set(id, { alarm, element, thumb });
    return element;
  }

  #arrange() {
    const sorted = [...this.#items.values()].sort(byAge);
    for (const item of sorted.splice(MOST)) {
      if (item.alarm.alarm_id === this.#kept) sorted.push(item);
      else this.#items.delete(item.alarm.alarm_id);
    }
    const open = sorted.filter(({ alarm }) => !alarm.acknowledged_by).length;
    this.badge.hidden = open === 0;
    this.badge.textContent = String(open);
    this.badge.title = `${open} not acknowledged`;
    this.actions.count(open);
    this.actions.moments(sorted.map(({ alarm }) => ({ channel: alarm.channel, ms: msOf(alarm.start_ns) })));
    const shown = this.#filter === "all" ? sorted : sorted.filter(({ alarm }) => !alarm.acknowledged_by);
    arrange(this.list, shown.length ? shown.map(({ element }) => element) : [h("li", {}, this.#nothing())]);
    this.#hold();
  }

  #nothing() {
    if (this.#problem) return empty("exception", "The alarms cannot be read", this.#problem);
    if (this.#items.size) return empty("check", "All acknowledged", "New alarms show here the moment they happen.");
    const rules = [...this.channels.values()].some((channel) => channel.rules.length);
    return rules ? empty("bell", "No alarms", "They show here the moment they happen.")
      : empty("bell", "No rules yet", "Give a channel `rules` in the site's file to get alarms.");
  }

  #title(alarm) {
    if (alarm.kind === "exception") return exceptionText(alarm.source);
    return this.channels.get(alarm.channel)?.rules.find((rule) => rule.id === alarm.source)?.name ?? alarm.source;
  }

  #what(alarm, title) {
    const start = msOf(alarm.start_ns);
    const ongoing = alarm.state !== "ended" && !alarm.end_ns;
    const what = [alarm.target ? targetText(alarm.target) : null, directionText(alarm.direction)].filter(Boolean).join(" ");
    const end = alarm.end_ns && alarm.end_ns - alarm.start_ns >= 1e9 ? durationText(msOf(alarm.end_ns) - start) : null;
    const where = this.channels.get(alarm.channel)?.title ?? (alarm.channel === "@device" ? "This recorder" : alarm.channel);
    return h("div", { class: "alarm-what" },
      h("div", { class: "name", title: kindText(alarm.kind) }, icon(alarm.kind === "smd" && alarm.target && alarm.target !== "human" ? "vehicle" : alarm.kind), h("span", {}, title)),
      h("div", { class: "where" }, [where, what].filter(Boolean).join("  ·  ")),
      alarm.message && alarm.kind === "exception" ? h("div", { class: "message", title: alarm.message }, prose(sentence(alarm.message))) : null,
      h("div", { class: "when" }, h("b", {}, momentText(start)), alarm.hits > 1 ? h("span", { class: "hits" }, `× ${alarm.hits}`) : null,
        ongoing ? h("span", { class: "ongoing" }, "ongoing") : end ? h("span", {}, end) : null));
  }

  #ack({ alarm_id: id, acknowledged_by: by }, title) {
    if (by) return h("span", { class: "ack", title: `Acknowledged by ${by}` }, icon("check"));
    const button = iconButton("check", `Acknowledge ${title}`, () => this.#acknowledge(id), { className: "icon ack" });
    button.disabled = this.#acknowledging.has(id);
    return button;
  }

  /** Of one alarm for as long as it is in the list. What it plays is looked up when it is pressed: its channel may be new to this page. */
  #thumb(id) {
    return h("button", { type: "button", class: "thumb", title: "Play back this moment", on: { click: () => {
      const { alarm } = this.#items.get(id);
      if (this.channels.has(alarm.channel)) this.actions.play(alarm.channel, msOf(alarm.start_ns), id);
    } } }, h("span", { class: "wait" }), h("span", { class: "play" }, icon("play")));
  }

  #picture(thumb, alarm, known) {
    if (known && known.snapshot === alarm.snapshot && known.snapshot_at_ns === alarm.snapshot_at_ns) return;
    const pending = !alarm.snapshot && alarm.snapshot_at_ns > 0;
    const wait = h("span", { class: `wait ${pending ? "pending" : ""}` }, icon("image"), pending ? "picture is coming" : alarm.snapshot ? "" : "no picture");
    thumb.firstElementChild.replaceWith(wait);
    if (alarm.snapshot) this.#load(wait, alarm.snapshot, PICTURE_TRIES);
  }

  #load(wait, key, tries) {
    const image = new Image();
    image.alt = "";
    image.decoding = "async";
    image.onload = () => wait.replaceWith(image);
    image.onerror = () => {
      if (tries > 1) setTimeout(() => this.#load(wait, key, tries - 1), 2000);
      else wait.replaceChildren(icon("image"), "no picture now");
    };
    image.src = snapshotUrl(key);
  }

  async #acknowledge(id) {
    this.#acknowledging.add(id);
    this.#draw(this.#items.get(id).alarm);
    try {
      const answer = await api(`/api/alarms/${encodeURIComponent(id)}/acknowledge`, { method: "POST", body: { note: "" } });
      if (answer?.alarm_id) this.#put(answer, true);
    } catch (error) {
      this.actions.toasts.error(error);
    }
    this.#acknowledging.delete(id);
    if (this.#items.has(id)) this.#draw(this.#items.get(id).alarm);
  }
}
