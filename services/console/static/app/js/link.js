// A link to a moment, as webhooks carry it: /?channel=ID&at_ns=NANOSECONDS.

/** Of alarms that concern the recorder as a whole. */
export const DEVICE = "@device";
const MOST_NS = 2n ** 63n - 1n;

/** {channel, ms} of this page's address; `channel` null: the recorder as a whole; {problem}: it leads nowhere; null: it is no such link. */
export function readLink(site) {
  const query = new URLSearchParams(location.search);
  if (!query.has("channel") && !query.has("at_ns")) return null;
  const channel = query.get("channel") ?? "";
  const ns = query.get("at_ns") ?? "";
  if (channel !== DEVICE && !site.channels.some((each) => each.id === channel)) return { problem: `This recorder has no channel “${channel}”.` };
  if (!/^\d{1,19}$/.test(ns) || BigInt(ns) > MOST_NS) return { problem: `“${ns}” is no moment in nanoseconds.` };
  return { channel: channel === DEVICE ? null : channel, ms: Number(ns) / 1e6 };
}

/** Something else is shown now than the address says. */
export function forgetLink() {
  if (location.search) history.replaceState(null, "", location.pathname);
}
