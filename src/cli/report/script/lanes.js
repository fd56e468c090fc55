// The timeline's picture: a lane for each slot, drawn pixel by pixel, and the axis above them.

const GUTTER = 34, AXIS = 34;
// What is shown: a span, and from which slot on; and how high a lane is.
const view = { from: 0, to: span, slot: 0, lane: 1 };
let selected = -1, drag = null, colours, drawn = 0, bad = 0;
const laneHeight = slots => slots <= 4 ? 36 : slots <= 12 ? 24 : slots <= 32 ? 14 : slots <= 80 ? 8 : slots <= 200 ? 4 : 2;

function channels(name) {
  const canvas = element('canvas', { width: 1, height: 1 });
  const context = canvas.getContext('2d');
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  context.fillRect(0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data;
}
const mixed = (a, b, share) => {
  const part = i => Math.round(a[i] + (b[i] - a[i]) * share);
  return (255 << 24 | part(2) << 16 | part(1) << 8 | part(0)) >>> 0;
};
// For each class: 64 shades from the empty track to its colour; then the shade of its pattern.
function palette() {
  const track = channels('--track'), card = channels('--card');
  const shades = CLASSES.map(name => {
    const colour = channels(`--${name}`);
    return Uint32Array.from({ length: 64 }, (_, i) => mixed(track, colour, i / 63));
  });
  const patterns = CLASSES.map(name => mixed(channels(`--${name}`), card, .55));
  const style = getComputedStyle(document.documentElement);
  const css = name => style.getPropertyValue(name).trim();
  colours = { shades, patterns, gap: mixed(card, card, 0), quiet: css('--quiet'), line: css('--line'), text: css('--text'), accent: css('--accent'), failed: css('--failed') };
}

// A lane in pixels: class and shade of each. It costs what the lane is wide, however many jobs there are.
function strip(slot, width, out, gaps) {
  const step = (view.to - view.from) / width, from = run.first[slot], to = run.first[slot + 1];
  let before = last(slot, view.from);
  const until = (at, moment) => at < from ? run.busy[from] : run.busy[at] + Math.min(moment - run.began[at], run.took[at]);
  let done = until(before, view.from);
  for (let x = 0; x < width; x++) {
    const begin = view.from + x * step, end = x === width - 1 ? view.to : begin + step;
    let now = before;
    // The next one is mostly far away, or only a few steps.
    for (let tries = 0; now + 1 < to && run.began[now + 1] <= end; tries++) {
      if (tries === 8) { now = last(slot, end, now + 1); break; }
      now++;
    }
    const sum = until(now, end);
    const share = Math.min(1, Math.max(0, (sum - done) / step));
    const starts = now > before;
    const runs = before >= from && run.began[before] + run.took[before] > begin;
    const lowest = Math.max(from, runs ? before : before + 1);
    let group = 0;
    if (now >= lowest && run.bad[now + 1] > run.bad[lowest]) {
      group = 1;
      if (now - lowest < 16) {
        group = 9;
        for (let at = lowest; at <= now; at++) {
          const one = CLASS_OF[run.kind[at]];
          if (one && one < group) group = one;
        }
      }
    }
    let shade = Math.round(share * 63);
    if (starts || share > 0) shade = Math.max(shade, 26);
    if (group) shade = 63;
    // Between two long ones stays a gap.
    if (gaps && runs && run.took[before] > 4 * step && run.began[before] + run.took[before] <= end + step * .5) shade = 255;
    out[x] = group << 8 | shade;
    before = now;
    done = sum;
  }
}

// Of many lanes only those are drawn that can be seen: a canvas cannot be as high as ten thousand of them.
function drawLanes() {
  const canvas = $('lanes'), ratio = window.devicePixelRatio || 1;
  const height = laneHeight(head.slots), slots = Math.max(head.slots, 1), scroll = $('scroll');
  const wide = Math.max(1, Math.round(($('scroll').clientWidth - GUTTER) * ratio));
  const left = Math.round(GUTTER * ratio), lane = Math.max(1, Math.round(height * ratio));
  view.lane = lane / ratio;
  $('tall').style.height = `${slots * view.lane}px`;
  view.slot = Math.min(slots - 1, Math.floor(scroll.scrollTop / view.lane));
  const seen = Math.min(slots, Math.ceil(scroll.clientHeight / view.lane)), end = Math.min(head.slots, view.slot + seen);
  const between = height >= 8 ? Math.max(1, Math.round(2 * ratio)) : height >= 4 ? 1 : 0;
  if (canvas.width !== left + wide || canvas.height !== lane * seen) {
    canvas.width = left + wide;
    canvas.height = lane * seen;
    canvas.style.height = `${lane * seen / ratio}px`;
  }
  const context = canvas.getContext('2d');
  context.clearRect(0, 0, canvas.width, canvas.height);
  const image = new ImageData(wide, lane * seen), pixels = new Uint32Array(image.data.buffer);
  const out = new Uint16Array(wide), plain = new Uint32Array(wide), striped = [];
  const thick = Math.max(2, Math.round(2 * ratio));
  drawn = bad = 0;
  for (let slot = view.slot; slot < end; slot++) {
    strip(slot, wide, out, height >= 8);
    // A failure is never so narrow that nobody sees it. From the right, so that none grows twice.
    for (let x = wide - 1; x >= 0; x--) {
      if (!(out[x] >> 8)) continue;
      for (let to = x + 1; to < Math.min(x + thick, wide) && !(out[to] >> 8); to++) out[to] = out[x];
    }
    striped.length = 0;
    for (let x = 0; x < wide; x++) {
      const group = out[x] >> 8, shade = out[x] & 255;
      plain[x] = shade === 255 ? colours.gap : colours.shades[group][shade];
      if (shade && shade !== 255) drawn++;
      if (group && shade !== 255) striped.push(x);
    }
    bad += striped.length;
    const top = (slot - view.slot) * lane;
    for (let y = top; y < top + lane - between; y++) {
      pixels.set(plain, y * wide);
      for (const x of striped) {
        const group = out[x] >> 8;
        const at = group === 1 ? x + y : group === 3 ? x : height < 6 ? 0 : y;
        if (Math.floor(at / thick) % 3 === 2) pixels[y * wide + x] = colours.patterns[group];
      }
    }
  }
  context.putImageData(image, left, 0);
  context.font = `${11 * ratio}px system-ui, sans-serif`;
  context.fillStyle = colours.quiet;
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  const labels = [1, 2, 5, 10, 20, 50, 100, 200, 500].find(step => step * height >= 13) ?? 1000;
  for (let slot = view.slot; slot < end; slot++) {
    if (slot > 0 && (slot + 1) % labels) continue;
    context.fillText(slot + 1, left - 8 * ratio, (slot - view.slot) * lane + Math.max(lane - between, 11 * ratio) / 2);
  }
  if (selected >= 0) outline(context, left, wide, lane, between, ratio);
}

const place = (at, wide) => (at - view.from) / (view.to - view.from) * wide;

function outline(context, left, wide, lane, between, ratio) {
  const slot = run.slot[selected] - view.slot;
  const from = Math.max(0, place(run.began[selected], wide)), to = Math.min(wide, place(run.began[selected] + run.took[selected], wide));
  if (to < 0 || from > wide) return;
  context.strokeStyle = colours.text;
  context.lineWidth = 2 * ratio;
  context.strokeRect(left + from - ratio, slot * lane + ratio, Math.max(to - from, 2 * ratio) + ratio, Math.max(lane - between - 2 * ratio, 2));
}

function ticks(from, to, most) {
  const least = (to - from) / most;
  let step = Math.pow(10, Math.ceil(Math.log10(Math.max(least, 1))));
  for (const part of [.2, .5]) if (step * part >= least && step * part >= 1) { step *= part; break; }
  for (const nice of [15e6, 30e6, 60e6, 120e6, 300e6, 600e6, 1800e6, 3600e6, 7200e6, 21600e6, 43200e6, 86400e6]) {
    if (least > 10e6 && nice >= least) { step = nice; break; }
  }
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(at);
  return [found, step];
}

// A moment, as exact as steps between moments are.
function moment(at, step) {
  if (at === 0) return '0';
  if (step >= 1e6 && at >= 60e6) {
    const seconds = Math.round(at / 1e6), two = number => String(number).padStart(2, '0');
    const clock = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
    return seconds >= 3600 ? `${Math.floor(seconds / 3600)}:${clock}` : clock;
  }
  const [unit, name] = at >= 1e6 ? [1e6, 's'] : at >= 1e3 ? [1e3, 'ms'] : [1, 'µs'];
  const places = Math.max(0, Math.ceil(-Math.log10(step / unit) - 1e-9));
  return `${(at / unit).toFixed(Math.min(places, 6))} ${name}`;
}

// All that failed, as they began.
const failures = [];
for (let at = 0; at < run.length; at++) if (run.kind[at]) failures.push(at);
failures.sort((a, b) => run.began[a] - run.began[b]);

function drawAxis() {
  const canvas = $('axis'), ratio = window.devicePixelRatio || 1, left = Math.round(GUTTER * ratio);
  const wide = Math.max(1, Math.round(($('scroll').clientWidth - GUTTER) * ratio));
  canvas.width = left + wide;
  canvas.height = AXIS * ratio;
  canvas.style.height = `${AXIS}px`;
  canvas.style.width = `${$('scroll').clientWidth}px`;
  const context = canvas.getContext('2d');
  context.font = `${11 * ratio}px system-ui, sans-serif`;
  context.fillStyle = colours.quiet;
  context.strokeStyle = colours.line;
  context.textBaseline = 'top';
  const [found, step] = ticks(view.from, view.to, Math.max(3, wide / ratio / 90));
  for (const at of found) {
    const x = Math.round(left + place(at, wide)) + .5;
    context.textAlign = x > left + wide - 30 * ratio ? 'right' : x < left + 20 * ratio ? 'left' : 'center';
    context.fillText(moment(at, step), Math.min(x, left + wide), 2 * ratio);
    context.beginPath();
    context.moveTo(x, 16 * ratio);
    context.lineTo(x, 21 * ratio);
    context.stroke();
  }
  // Where something failed stands a mark, of which neighbours share one.
  context.fillStyle = colours.failed;
  const mark = Math.round(7 * ratio);
  let taken = -mark;
  for (const at of failures) {
    const x = Math.round(place(run.began[at], wide));
    if (x < 0 || x > wide || x < taken + mark) continue;
    context.beginPath();
    context.moveTo(left + x - 4 * ratio, 24 * ratio);
    context.lineTo(left + x + 4 * ratio, 24 * ratio);
    context.lineTo(left + x, 31 * ratio);
    context.fill();
    taken = x;
  }
  if (drag && drag.moved) {
    const [from, to] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)];
    context.fillStyle = colours.accent;
    context.fillRect(left + place(from, wide), 17 * ratio, place(to, wide) - place(from, wide), 5 * ratio);
  }
}

function draw() {
  drawLanes();
  drawAxis();
  $('out').disabled = $('all').disabled = view.to - view.from >= span;
  $('earlier').disabled = view.from <= 0;
  $('later').disabled = view.to >= span;
  const told = document.documentElement.dataset;
  told.drawn = drawn;
  told.bad = bad;
  told.from = view.from;
  told.to = view.to;
}
let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}
