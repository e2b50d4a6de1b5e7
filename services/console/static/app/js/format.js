// Times in the site's zone, and numbers for people.

import { now } from "./clock.js";

/** Milliseconds of nanoseconds. */
export const msOf = (ns) => ns / 1e6;
/** Nanoseconds as text: too large for a number. */
export const nsOf = (ms) => `${Math.round(ms)}000000`;

let zone = "UTC";
let formats = {};

function format(options) {
  return new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options });
}

export function setZone(name) {
  zone = name;
  formats = {
    time: format({ hour: "2-digit", minute: "2-digit", second: "2-digit" }),
    minute: format({ hour: "2-digit", minute: "2-digit" }),
    day: format({ weekday: "short", day: "numeric", month: "short" }),
    zone: format({ timeZoneName: "short", hour: "2-digit" }),
    parts: format({ year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" }),
  };
}

setZone(zone);

export const timeText = (ms) => formats.time.format(ms);
export const minuteText = (ms) => formats.minute.format(ms);
export const dayText = (ms) => formats.day.format(ms).replace(",", "");
export const zoneText = (ms) => formats.zone.formatToParts(ms).find((part) => part.type === "timeZoneName")?.value ?? zone;

function partsOf(ms) {
  return Object.fromEntries(formats.parts.formatToParts(ms).map((part) => [part.type, Number(part.value)]));
}

/** YYYY-MM-DD of a moment, in the site's zone. */
export function dateOf(ms) {
  const { year, month, day } = partsOf(ms);
  return `${year}-${String(month).padStart(2, "0")}-${String(day).padStart(2, "0")}`;
}

/** What the zone adds to UTC at a moment, milliseconds. */
function offsetAt(ms) {
  const p = partsOf(ms);
  return Date.UTC(p.year, p.month - 1, p.day, p.hour, p.minute, p.second) - Math.floor(ms / 1000) * 1000;
}

/** The moment a day of the site begins. Days with a clock change are 23 or 25 hours long. */
export function dayStart(date) {
  const wall = Date.parse(`${date}T00:00:00Z`);
  const guess = wall - offsetAt(wall);
  return wall - offsetAt(guess);
}

export function addDays(date, days) {
  return new Date(Date.parse(`${date}T12:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}

/** "14:03:07" today, with the day before it otherwise. */
export function momentText(ms) {
  return dateOf(ms) === dateOf(now()) ? timeText(ms) : `${dayText(ms)} ${timeText(ms)}`;
}

export function durationText(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

export function bytesText(bytes) {
  let value = bytes;
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (value < 1000 || unit === "TB") return `${value < 10 && unit !== "B" ? value.toFixed(1) : Math.round(value)} ${unit}`;
    value /= 1000;
  }
  return "";
}

export function bitrateText(bps) {
  return bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bps / 1e3)} kbit/s`;
}

const CODECS = { h264: "H.264", hevc: "H.265", h265: "H.265", mjpeg: "MJPEG" };
export const codecText = (codec) => CODECS[codec] ?? codec;

const DIRECTIONS = { a_to_b: "A → B", b_to_a: "B → A", enter: "entered", leave: "left", appear: "appeared", both: "both ways" };
export const directionText = (direction) => DIRECTIONS[direction] ?? direction;

const TARGETS = { human: "Person", motor_vehicle: "Vehicle", non_motor_vehicle: "Cycle" };
export const targetText = (target) => TARGETS[target] ?? target;

const KINDS = { tripwire: "Tripwire", intrusion: "Intrusion", smd: "Smart motion", people_counting: "People counting", exception: "Exception" };
export const kindText = (kind) => KINDS[kind] ?? kind;

const EXCEPTIONS = {
  "loop.failed": "A part failed and was restarted", "clock.jump": "The clock was set", "camera.timestamp_jump": "Camera time jumped",
  "spool.full": "Spool full", "storage.full": "Storage full", "storage.error": "Storage error", "storage.low": "Storage almost full",
  "recording.stalled": "Recording stalled", "retention.stalled": "Clearing old footage stalled", "webhook.gone": "Alarm centre switched off",
  "webhook.dead_letters": "Alarms not delivered", "queue.full": "A queue is full", "login.locked": "Repeated wrong logins",
};
export const exceptionText = (source) => EXCEPTIONS[source] ?? source;

/** With a capital first letter; an address or a name in backticks stays as it is written. */
export const sentence = (text) => (text && !/^(`|[a-z][a-z0-9+.-]*:\/\/)/i.test(text) ? text[0].toUpperCase() + text.slice(1) : text ?? "");

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
