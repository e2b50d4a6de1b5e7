// Puts the page together.

import { Alarms } from "./alarms.js";
import { api, toLogin } from "./api.js";
import { now } from "./clock.js";
import { Counts } from "./counts.js";
import { Dock } from "./dock.js";
import { empty, h, icon } from "./dom.js";
import { DEVICE, forgetLink, readLink } from "./link.js";
import { dayText, msOf, nsOf, setZone, timeText, zoneText } from "./format.js";
import { Live } from "./live.js";
import { Player } from "./player.js";
import { System } from "./system.js";
import { Toasts } from "./toasts.js";
import { Troubles } from "./troubles.js";
import { Wall } from "./wall.js";

/** An alarm plays from a little before it. */
const BEFORE_ALARM_MS = 3000;
const BEFORE_NOW_MS = 60_000;
const DAY_MS = 86_400_000;
const RETRY_MS = 5000;

const $ = (id) => document.getElementById(id);
const toasts = new Toasts($("toasts"));

function startClock() {
  const element = $("clock");
  const day = h("span", { class: "day" });
  const time = h("b");
  const zone = h("small");
  element.append(day, time, zone);
  const show = () => {
    const ms = now();
    day.textContent = dayText(ms);
    time.textContent = timeText(ms);
    zone.textContent = zoneText(ms);
    element.dateTime = new Date(ms).toISOString();
    setTimeout(show, 1000 - (ms % 1000));
  };
  show();
}

function startTabs() {
  const views = [["live", "Live", "live"], ["alarms", "Alarms", "bell"], ["recordings", "Recordings", "record"], ["system", "System", "system"]];
  const badge = h("span", { class: "badge", hidden: true });
  const buttons = views.map(([view, text, name]) =>
    h("button", { type: "button", "aria-pressed": String(view === "live"), data: { view }, on: { click: () => show(view) } }, icon(name), text, view === "alarms" ? badge : null));
  $("tabbar").append(...buttons);
  const listeners = [];
  function show(view) {
    document.body.dataset.view = view;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.view === view));
    for (const listener of listeners) listener(view);
  }
  return { show, onShow: (listener) => listeners.push(listener), count: (n) => { badge.hidden = !n; badge.textContent = n > 99 ? "99+" : String(n); } };
}

/** When a channel was recorded last, within a day; milliseconds or undefined. */
async function lastRecorded(channel) {
  const ms = now();
  const { spans } = await api("/api/timeline", { query: { channel, from_ns: nsOf(ms - DAY_MS), to_ns: nsOf(ms) } });
  return spans.length ? msOf(spans.at(-1).to_ns) : undefined;
}

async function logOut() {
  await api("/api/session", { method: "DELETE" }).catch(() => null);
  toLogin({ keep: false });
}

async function main() {
  $("log-out").prepend(icon("leave"));
  $("log-out").addEventListener("click", logOut);
  let site;
  try {
    site = await api("/api/site");
  } catch (error) {
    $("stage").append(empty("exception", "The recorder does not answer", error.message, "This page tries again in a few seconds."));
    setTimeout(() => location.reload(), 5000);
    return;
  }
  const name = () => {
    setZone(site.time_zone);
    document.title = `${site.name} - Vedette`;
    $("site-name").textContent = site.name;
    $("user").textContent = site.user;
  };
  name();
  startClock();
  const tabs = startTabs();
  const live = new Live();
  const stage = $("stage");

  const troubles = new Troubles($("banner"));
  const trouble = (what, error) => troubles.set(what, error);

  const player = new Player(site, { toasts, closed: () => { leaveLink(); showWall(); }, moved: (channel, ms) => dock.cursor(channel, ms), changed: (channel) => dock.changed(channel) });
  const playback = (id) => play(id, now() - BEFORE_NOW_MS);
  const wall = new Wall(site, live, { playback, lastRecorded });
  const dock = new Dock($("dock"), site, live, { trouble, play: (id, ms) => play(id, ms) });
  const alarms = new Alarms($("alarms"), site, live, { toasts, trouble, count: tabs.count, moments: (moments) => dock.alarms(moments), play: (id, ms, alarm) => play(id, ms - BEFORE_ALARM_MS, alarm) });
  const counts = new Counts($("counts"), site, live, { trouble });
  const system = new System($("system"), site, $("health-chip"), { toasts, channels: (statuses) => wall.statuses(statuses) });

  /** The site may have another configuration: shown in place, whatever is being looked at. */
  let asked = 0;
  const renew = async () => {
    const mine = ++asked;
    const fresh = await api("/api/site").catch(() => null);
    if (mine !== asked) return; // a newer answer is on its way
    if (!fresh) { setTimeout(() => { if (mine === asked) renew(); }, RETRY_MS); return; }
    if (JSON.stringify(fresh) === JSON.stringify(site)) return;
    Object.assign(site, fresh);
    name();
    for (const part of [wall, dock, alarms, counts, player]) part.renew(site);
  };
  live.addEventListener("site", renew);

  function play(channel, ms, alarm = null) {
    leaveLink();
    show(channel, ms, alarm);
  }
  function show(channel, ms, alarm) {
    alarms.choose(alarm);
    stage.classList.add("playing");
    stage.replaceChildren(...player.elements);
    wall.hide(true);
    dock.follow(ms);
    tabs.show("recordings");
    player.play(channel, ms);
  }
  let link = readLink(site); // null as soon as something else is opened
  let nowhere = null; // the notice that says so of a link
  function leaveLink() {
    forgetLink();
    link = null;
    nowhere?.remove();
  }
  const lost = (why) => { nowhere = toasts.show("This link leads nowhere", why, "error", { stays: true }); };
  async function follow({ channel, ms, problem }) {
    if (problem) { lost(problem); return; }
    const alarm = await alarms.find(channel ?? DEVICE, ms, () => link);
    if (!link) return;
    if (alarm) alarms.choose(alarm, { reveal: true });
    else if (!channel) lost("The recorder has no such alarm.");
  }
  function showWall() {
    stage.classList.remove("playing");
    stage.replaceChildren(...wall.elements);
    wall.hide(false);
    dock.cursor(null, 0);
    alarms.choose(null);
    if (document.body.dataset.view === "recordings") tabs.show("live");
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && stage.classList.contains("playing")) player.close(); });
  tabs.onShow(() => nowhere?.remove());
  tabs.onShow((view) => { if (view === "live" && stage.classList.contains("playing")) player.close(); });
  if (link?.channel) show(link.channel, link.ms, null);
  else { forgetLink(); showWall(); }
  if (link) follow(link);

  $("health-chip").addEventListener("click", () => {
    tabs.show(matchMedia("(max-width: 760px)").matches ? "system" : document.body.dataset.view);
    $("system").scrollIntoView({ block: "nearest" });
  });
  live.addEventListener("notice", ({ detail }) => {
    const channel = site.channels.find((each) => each.id === detail.channel);
    const title = channel?.title ?? "Vedette";
    toasts.show(detail.text.includes(title) ? "" : title, detail.text, "alarm");
  });
  const readAgain = () => { // what was told while nothing was heard
    renew();
    for (const part of [alarms, counts, dock, system]) part.load();
  };
  live.addEventListener("resync", readAgain);
  live.addEventListener("link", ({ detail }) => {
    if (detail) readAgain();
    $("link").hidden = detail;
    $("link").textContent = detail ? "" : "Connection lost, trying again";
  });
  live.connect();
}

main();
