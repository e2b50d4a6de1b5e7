// Pictures and boxes arrive apart: a picture waits for the boxes of its own capture time, so that what is drawn belongs together.

const KEEP = 12;
const HOLD_MIN_MS = 120;
const HOLD_MAX_MS = 900;
/** Without any boxes for this long the channel is not analysed now: pictures need not wait. */
const QUIET_MS = 5000;
/** Boxes of another frame are drawn on a picture only when they are this close. */
const NEAR_NS = 150e6;
/** A capture time this far back is a camera that began anew, not an old picture. */
const RESET_NS = 5e9;

export class FrameSync {
  #waiting = [];
  #boxes = [];
  #arrived = []; // when pictures came, also of those that were shown already
  #shownNs = 0;
  #boxesAt = -Infinity;
  #lagMs = 150;

  /** How long pictures wait for boxes now, milliseconds. */
  holdMs(now) {
    if (now - this.#boxesAt > QUIET_MS) return 0;
    return Math.min(HOLD_MAX_MS, Math.max(HOLD_MIN_MS, this.#lagMs * 2 + 60));
  }

  picture(picture, now) {
    if (picture.captureNs < this.#shownNs - RESET_NS) {
      this.#shownNs = 0;
      this.clear();
      this.#boxes = [];
    }
    if (picture.captureNs <= this.#shownNs) {
      picture.bitmap.close();
      return;
    }
    const early = this.#boxes.some((boxes) => boxes.capture_ns === picture.captureNs);
    if (early) this.#lagMs *= 0.9; // the boxes were here first: no need to wait
    this.#arrived.push({ captureNs: picture.captureNs, at: now });
    while (this.#arrived.length > KEEP) this.#arrived.shift();
    this.#waiting.push({ ...picture, at: now });
    while (this.#waiting.length > KEEP) this.#waiting.shift().bitmap.close();
  }

  boxes(detections, now) {
    this.#boxesAt = now;
    const picture = this.#arrived.find((arrival) => arrival.captureNs === detections.capture_ns);
    if (picture) this.#lagMs = this.#lagMs * 0.8 + (now - picture.at) * 0.2;
    this.#boxes.push(detections);
    while (this.#boxes.length > KEEP) this.#boxes.shift();
  }

  /** The picture to draw now with its boxes, or null: keep what is shown. The caller owns the bitmap. */
  take(now) {
    let at = this.#waiting.findLastIndex((picture) => this.#boxes.some((boxes) => boxes.capture_ns === picture.captureNs));
    if (at < 0) at = this.#waiting.findLastIndex((picture) => now - picture.at >= this.holdMs(now));
    if (at < 0) return null;
    const picture = this.#waiting[at];
    for (const older of this.#waiting.splice(0, at + 1)) if (older !== picture) older.bitmap.close();
    this.#shownNs = picture.captureNs;
    return { picture, detections: this.#nearest(picture.captureNs) };
  }

  /** Boxes of the same frame, else of the nearest one that is near enough, else null. */
  #nearest(captureNs) {
    let best = null;
    for (const boxes of this.#boxes) {
      const distance = Math.abs(boxes.capture_ns - captureNs);
      if (distance <= NEAR_NS && (!best || distance < Math.abs(best.capture_ns - captureNs))) best = boxes;
    }
    return best;
  }

  /** Nothing is shown any more of what waits. */
  clear() {
    for (const picture of this.#waiting.splice(0)) picture.bitmap.close();
  }
}
