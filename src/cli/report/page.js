'use strict';
// Draws the report. All texts are shown as text: nothing here makes HTML of them. Times are microseconds from the run's begin.
(() => {
  const loaded = performance.now();
  const $ = id => document.getElementById(id);
  const head = JSON.parse($('head').textContent);

  // In the order of the kinds that attempts are told with: the class of each, and its name.
  const KINDS = [
    ['ok', 'ok'], ['failed', 'failed'], ['failed', 'killed'], ['failed', 'crashed'], ['late', 'timed out'],
    ['ended', 'ended with the run'], ['ended', 'refused'],
  ];
  const CLASSES = ['ok', 'failed', 'late', 'ended'];
  const CLASS_OF = Uint8Array.from(KINDS, ([name]) => CLASSES.indexOf(name));
  const SIGNALS = {
    1: 'SIGHUP', 2: 'SIGINT', 3: 'SIGQUIT', 4: 'SIGILL', 6: 'SIGABRT', 7: 'SIGBUS', 8: 'SIGFPE', 9: 'SIGKILL', 11: 'SIGSEGV',
    13: 'SIGPIPE', 14: 'SIGALRM', 15: 'SIGTERM', 24: 'SIGXCPU', 25: 'SIGXFSZ', 31: 'SIGSYS',
  };

  // ---- words

  const whole = new Intl.NumberFormat('en');
  const count = (number, one, many = one + 's') => `${whole.format(number)} ${number === 1 ? one : many}`;
  const digits = number => number >= 100 ? number.toFixed(0) : number >= 10 ? number.toFixed(1) : number.toFixed(2);

  function time(micros) {
    if (micros < 0) return '−' + time(-micros);
    if (micros === 0) return '0 s';
    if (micros < 1000) return `${Math.round(micros)} µs`;
    if (micros < 999_500) return `${digits(micros / 1e3)} ms`;
    if (micros < 59_995_000) return `${digits(micros / 1e6)} s`;
    const seconds = Math.round(micros / 1e6);
    const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
    if (days) return `${days} d ${hours} h`;
    if (hours) return `${hours} h ${minutes} min`;
    return `${minutes} min ${seconds % 60} s`;
  }

  function size(bytes) {
    if (bytes < 1024) return `${bytes} B`;
    const units = ['KiB', 'MiB', 'GiB', 'TiB'];
    let at = -1;
    do { bytes /= 1024; at++; } while (bytes >= 1024 && at < units.length - 1);
    return `${digits(bytes)} ${units[at]}`;
  }

  // What cannot be seen, or would change what stands around it, is shown as a sign. Colours of terminals are left out.
  function visible(text) {
    return text
      .replace(/\x1b\[[0-?]*[ -\/]*[@-~]/g, '')
      .replace(/\r\n/g, '\n')
      .replace(/[\x00-\x08\x0b-\x1f]/g, sign => String.fromCharCode(0x2400 + sign.charCodeAt(0)))
      .replace(/\x7f/g, '␡')
      .replace(/[\x80-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, sign => `[U+${sign.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}]`);
  }
  const line = text => visible(text).replace(/[\n\t]+/g, ' ');

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === 'class') made.className = value;
      else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  function state(row) {
    const [group, name] = KINDS[row.kind];
    let text = name;
    if (row.kind === 1 && row.code !== null) text += `, code ${row.code}`;
    if ((row.kind === 2 || row.kind === 3) && row.code !== null) text += ` by ${SIGNALS[row.code] ?? `signal ${row.code}`}`;
    if (row.again) text += ', tried again';
    return [group, text];
  }

  // ---- attempts

  // Each is four numbers of seven bits a byte: slot and kind, then differences of number and end, then how long it took.
  function decode(text, total) {
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    let at = 0;
    const number = () => {
      let value = 0, factor = 1, byte;
      do {
        byte = bytes[at++];
        value += (byte & 127) * factor;
        factor *= 128;
      } while (byte > 127);
      return value;
    };
    const signed = () => {
      const value = number();
      return value % 2 ? -(value + 1) / 2 : value / 2;
    };
    const all = attempts(total + head.failed.length);
    let last = 0, end = 0;
    for (let i = 0; i < total && at < bytes.length; i++) {
      const key = number();
      all.slot[i] = Math.floor(key / 16) - 1;
      all.kind[i] = key & 7;
      all.again[i] = key & 8;
      all.number[i] = last += signed();
      end += signed();
      all.took[i] = number();
      all.began[i] = end - all.took[i];
      all.length = i + 1;
    }
    return all;
  }

  function attempts(total) {
    return {
      length: 0, number: new Float64Array(total), began: new Float64Array(total), took: new Float64Array(total),
      slot: new Int32Array(total), kind: new Uint8Array(total), again: new Uint8Array(total),
    };
  }

  // Attempts by slot and begin, with sums, so that what happened in a span is known without looking at each of them.
  function arrange(all, slots) {
    const first = new Uint32Array(slots + 1);
    for (let i = 0; i < all.length; i++) if (all.slot[i] >= 0) first[all.slot[i] + 1]++;
    for (let slot = 0; slot < slots; slot++) first[slot + 1] += first[slot];
    const next = first.slice();
    const order = new Uint32Array(first[slots]);
    for (let i = 0; i < all.length; i++) if (all.slot[i] >= 0) order[next[all.slot[i]]++] = i;
    for (let slot = 0; slot < slots; slot++) {
      const part = order.subarray(first[slot], first[slot + 1]);
      // They come in order unless a clock was set.
      if (part.some((at, i) => i > 0 && all.began[at] < all.began[part[i - 1]])) part.sort((a, b) => all.began[a] - all.began[b]);
    }
    const kept = attempts(order.length);
    kept.length = order.length;
    const busy = new Float64Array(order.length + 1), bad = new Uint32Array(order.length + 1);
    order.forEach((from, to) => {
      for (const key of ['number', 'began', 'took', 'slot', 'kind', 'again']) kept[key][to] = all[key][from];
      busy[to + 1] = busy[to] + all.took[from];
      bad[to + 1] = bad[to] + (all.kind[from] ? 1 : 0);
    });
    return { ...kept, first, busy, bad };
  }

  const all = decode($('attempts').textContent.trim(), head.kept);
  $('attempts').textContent = '';
  const sample = all.length;
  if (head.step > 1) addFailed();

  // What failed is drawn also where others are left out.
  function addFailed() {
    const there = new Set();
    for (let i = 0; i < sample; i++) if (all.kind[i]) there.add(`${all.number[i]} ${all.began[i]}`);
    for (const row of head.failed) {
      if (row.slot === null || there.has(`${row.number} ${row.began}`)) continue;
      for (const key of ['number', 'began', 'took', 'slot', 'kind', 'again']) all[key][all.length] = row[key];
      all.length++;
    }
  }

  const run = arrange(all, head.slots);
  const span = Math.max(head.wall, 1);

  // The last one of a slot that began no later than `at`; one before the slot's first if there is none.
  function last(slot, at, low = run.first[slot]) {
    let high = run.first[slot + 1];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (run.began[middle] <= at) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  const rows = new Map();
  for (const row of [...head.slowest, ...head.failed]) rows.set(`${row.number} ${row.began}`, row);
  const names = new Map(head.names);

  // ---- top

  const failed = head.jobs - head.kinds[0];
  function top() {
    $('command').textContent = line(head.command);
    document.title = `${failed ? '✕ ' : ''}${line(head.command).slice(0, 80)} – run report`;
    const began = new Date(head.began);
    const when = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
    $('when').append(element('time', { datetime: began.toISOString() }, when.format(began)));
    const parts = KINDS.map(([, name], kind) => [name, head.kinds[kind]]).filter(([, number], kind) => kind && number);
    const verdict = head.jobs === 0 ? 'No job has ended.' : failed === 0
      ? `All ${count(head.jobs, 'job')} did what they should.`
      : `${whole.format(failed)} of ${count(head.jobs, 'job')} did not end well: ${parts.map(([name, number]) => `${whole.format(number)} ${name}`).join(', ')}.`;
    $('verdict').textContent = head.jobs === 1 && !failed ? 'The job did what it should.' : verdict;
    $('verdict').classList.toggle('bad', failed > 0);
    $('made').textContent = `Made by sidestep ${head.version}. ${head.step > 1 ? `Of so many jobs one in ${head.step} is drawn and counted in the quantiles; all are counted above.` : ''}`;
  }

  const sorted = all.took.slice(0, sample).filter((_, i) => all.kind[i] !== 6).sort();
  const quantile = share => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];

  function figures() {
    const add = (name, value, more = '') => $('figures').append(
      element('div', {}, element('dt', {}, name), element('dd', {}, value, ...(more ? [element('small', {}, more)] : []))));
    const retries = head.retries ? count(head.retries, 'more attempt') : '';
    add('Jobs', whole.format(head.jobs), retries);
    add('Failed', whole.format(failed), head.jobs ? `${digits(failed / head.jobs * 100)} %` : '');
    add('Wall time', time(head.wall), head.wall > 0 && head.jobs > 1 ? `${rate(head.jobs / head.wall * 1e6)} jobs a second` : '');
    if (head.slots) add('Busy', `${(head.busy / head.slots / span * 100).toFixed(0)} %`, `of the time of ${count(head.slots, 'slot')}`);
    if (head.measured) {
      const memory = head.max_rss ? `at most ${size(head.max_rss)} a job` : `${time(head.system)} of it the system's`;
      add('Processor time', time(head.user + head.system), memory);
    }
    if (sorted.length) {
      add('Median', time(quantile(.5)), `mean ${time(sorted.reduce((sum, took) => sum + took, 0) / sorted.length)}`);
      add('90 % within', time(quantile(.9)), `99 % within ${time(quantile(.99))}`);
      add('Slowest', time(sorted[sorted.length - 1]), `fastest ${time(sorted[0])}`);
    }
  }
  const rate = number => number >= 10 ? whole.format(Math.round(number)) : number.toFixed(2);

  // ---- timeline

  const GUTTER = 34, AXIS = 34;
  const view = { from: 0, to: span };
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
  function strip(slot, width, out, marks, gaps) {
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
        if (marks && starts) marks[x] = 1;
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

  function drawLanes(marks) {
    const canvas = $('lanes'), ratio = window.devicePixelRatio || 1;
    const height = laneHeight(head.slots), slots = Math.max(head.slots, 1);
    const wide = Math.max(1, Math.round(($('scroll').clientWidth - GUTTER) * ratio));
    const left = Math.round(GUTTER * ratio), lane = Math.max(1, Math.round(height * ratio));
    const between = height >= 8 ? Math.max(1, Math.round(2 * ratio)) : height >= 4 ? 1 : 0;
    if (canvas.width !== left + wide || canvas.height !== lane * slots) {
      canvas.width = left + wide;
      canvas.height = lane * slots;
      canvas.style.height = `${lane * slots / ratio}px`;
    }
    const context = canvas.getContext('2d');
    context.clearRect(0, 0, canvas.width, canvas.height);
    const image = new ImageData(wide, lane * slots), pixels = new Uint32Array(image.data.buffer);
    const out = new Uint16Array(wide), plain = new Uint32Array(wide), striped = [];
    const thick = Math.max(2, Math.round(2 * ratio));
    drawn = bad = 0;
    for (let slot = 0; slot < head.slots; slot++) {
      strip(slot, wide, out, marks, height >= 8);
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
      for (let y = slot * lane; y < (slot + 1) * lane - between; y++) {
        pixels.set(plain, y * wide);
        for (const x of striped) {
          const group = out[x] >> 8;
          const at = group === 1 ? x + y : group === 2 ? y : x;
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
    for (let slot = 0; slot < head.slots; slot += slot === 0 && labels > 1 ? labels - 1 : labels) {
      context.fillText(slot + 1, left - 8 * ratio, slot * lane + Math.max(lane - between, 11 * ratio) / 2);
    }
    if (selected >= 0) outline(context, left, wide, lane, between, ratio);
  }

  const place = (at, wide) => (at - view.from) / (view.to - view.from) * wide;

  function outline(context, left, wide, lane, between, ratio) {
    const slot = run.slot[selected];
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

  function drawAxis(marks) {
    const canvas = $('axis'), ratio = window.devicePixelRatio || 1, left = Math.round(GUTTER * ratio);
    const wide = Math.max(1, Math.round(($('timeline').clientWidth - GUTTER) * ratio));
    canvas.width = left + wide;
    canvas.height = AXIS * ratio;
    canvas.style.height = `${AXIS}px`;
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
    for (let x = 0; x < marks.length; x++) {
      if (!marks[x]) continue;
      context.beginPath();
      context.moveTo(left + x - 4 * ratio, 24 * ratio);
      context.lineTo(left + x + 4 * ratio, 24 * ratio);
      context.lineTo(left + x, 31 * ratio);
      context.fill();
      x += mark - 1;
    }
    if (drag && drag.moved) {
      const [from, to] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)];
      context.fillStyle = colours.accent;
      context.fillRect(left + place(from, wide), 17 * ratio, place(to, wide) - place(from, wide), 5 * ratio);
    }
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    const marks = new Uint8Array(Math.max(1, Math.round(($('scroll').clientWidth - GUTTER) * ratio)));
    drawLanes(marks);
    drawAxis(marks);
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

  // Shows a span, moved so that it lies within the run. None is shorter than some microseconds.
  function show(from, to) {
    const length = Math.min(span, Math.max(to - from, Math.min(20, span)));
    view.from = Math.min(Math.max(0, from), span - length);
    view.to = view.from + length;
    redraw();
  }
  function zoom(factor, at = (view.from + view.to) / 2) {
    show(at - (at - view.from) * factor, at + (view.to - at) * factor);
  }
  const move = share => show(view.from + (view.to - view.from) * share, view.to + (view.to - view.from) * share);

  // Where a pointer is: moment, slot, and the microseconds of a pixel.
  function under(event) {
    const box = $('lanes').getBoundingClientRect();
    const wide = box.width - GUTTER, pixel = (view.to - view.from) / wide;
    const at = view.from + Math.min(Math.max(0, event.clientX - box.left - GUTTER), wide) * pixel;
    const slot = Math.floor((event.clientY - box.top) / (box.height / Math.max(head.slots, 1)));
    return { at, slot: slot >= 0 && slot < head.slots ? slot : -1, pixel };
  }

  // The job that is there, or the nearest one within two pixels; of several one that failed.
  function find({ at, slot, pixel }) {
    if (slot < 0) return -1;
    const from = run.first[slot], high = last(slot, at + 2 * pixel);
    let low = last(slot, at - 2 * pixel);
    if (low < from || run.began[low] + run.took[low] < at - 2 * pixel) low++;
    if (low > high) return -1;
    if (run.bad[high + 1] > run.bad[low]) {
      for (let i = low; i <= high; i++) if (run.kind[i]) return i;
    }
    const exact = last(slot, at);
    return exact >= low ? exact : low;
  }

  function select(at, crowd = 0) {
    selected = at;
    const target = $('job');
    target.replaceChildren();
    if (at < 0) {
      target.textContent = head.slots ? 'Point at a job, or press an arrow key in the timeline, to see what it was.' : 'No job was begun.';
      return redraw();
    }
    const row = rows.get(`${run.number[at]} ${run.began[at]}`);
    const [, text] = state(row ?? { kind: run.kind[at], code: null, again: run.again[at] });
    const input = row ? row.input.text : names.get(run.number[at]);
    const about = element('span', {}, element('b', {}, `Job ${whole.format(run.number[at] + 1)}`), ` ${text} · ${time(run.took[at])}, started at ${time(run.began[at])} · slot ${run.slot[at] + 1}`);
    if (input) about.append(element('br'), element('bdi', { class: 'input' }, line(input).slice(0, 200)));
    if (crowd > 1) about.append(element('br'), element('span', { class: 'quiet' }, `one of about ${count(crowd, 'job')} within this pixel; zoom in to tell them apart`));
    target.append(about);
    redraw();
  }

  // Brings what is selected into view.
  function reveal() {
    const length = view.to - view.from, began = run.began[selected], end = began + run.took[selected];
    if (end < view.from + length * .02 || began > view.to - length * .02) show((began + end - length) / 2, (began + end + length) / 2);
    const height = $('lanes').getBoundingClientRect().height / Math.max(head.slots, 1), top = run.slot[selected] * height, scroll = $('scroll');
    if (top < scroll.scrollTop || top + height > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = top - scroll.clientHeight / 2;
  }

  function step(by) {
    if (!run.length) return;
    const slot = selected < 0 ? 0 : run.slot[selected];
    let to = selected < 0 ? Math.max(run.first[0], last(0, view.from)) : selected + by;
    to = Math.min(Math.max(run.first[slot], to), run.first[slot + 1] - 1);
    if (run.first[slot + 1] > run.first[slot]) { select(to); reveal(); }
  }
  function stepSlot(by) {
    if (selected < 0) return step(0);
    const at = run.began[selected] + run.took[selected] / 2;
    for (let slot = run.slot[selected] + by; slot >= 0 && slot < head.slots; slot += by) {
      if (run.first[slot + 1] === run.first[slot]) continue;
      select(Math.max(run.first[slot], last(slot, at)));
      return reveal();
    }
  }
  // All that failed, as they began.
  let failures = null;
  function nextFailure() {
    if (!failures) {
      failures = [];
      for (let i = 0; i < run.length; i++) if (run.kind[i]) failures.push(i);
      failures.sort((a, b) => run.began[a] - run.began[b]);
    }
    if (!failures.length) return;
    const at = failures.indexOf(selected);
    select(failures[(at + 1) % failures.length]);
    reveal();
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const does = {
      ArrowRight: () => event.shiftKey ? move(.2) : step(1), ArrowLeft: () => event.shiftKey ? move(-.2) : step(-1),
      ArrowDown: () => stepSlot(1), ArrowUp: () => stepSlot(-1), '0': () => show(0, span), Home: () => show(0, span),
      '+': () => zoomSelected(.5), '=': () => zoomSelected(.5), '-': () => zoomSelected(2), '−': () => zoomSelected(2),
      f: nextFailure, F: nextFailure, Escape: () => select(-1),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }
  function zoomSelected(factor) {
    const at = selected < 0 ? NaN : run.began[selected] + run.took[selected] / 2;
    zoom(factor, at >= view.from && at <= view.to ? at : undefined);
  }

  function listen() {
    const area = $('timeline');
    area.addEventListener('keydown', keys);
    area.addEventListener('wheel', event => {
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        move(event.deltaX / 800);
      } else if (event.ctrlKey || event.metaKey || document.activeElement === area) {
        event.preventDefault();
        zoom(Math.pow(1.002, Math.max(-300, Math.min(300, event.deltaY))), under(event).at);
      }
    }, { passive: false });
    area.addEventListener('pointerdown', event => {
      if (event.button !== 0) return;
      const { at } = under(event);
      drag = { from: at, to: at, x: event.clientX, moved: false, pans: event.pointerType === 'touch' || event.shiftKey, view: { ...view } };
      area.setPointerCapture(event.pointerId);
    });
    area.addEventListener('pointermove', event => {
      const place = under(event);
      if (!drag) {
        const found = find(place);
        if (found !== selected) select(found, found < 0 ? 0 : last(place.slot, place.at + place.pixel / 2) - last(place.slot, place.at - place.pixel / 2));
        return;
      }
      drag.moved ||= Math.abs(event.clientX - drag.x) > 4;
      drag.to = place.at;
      if (drag.pans) {
        const by = (drag.x - event.clientX) * place.pixel;
        show(drag.view.from + by, drag.view.to + by);
      }
      redraw();
    });
    area.addEventListener('pointerup', event => {
      const { from, to, moved, pans } = drag ?? {};
      drag = null;
      if (moved && !pans) show(Math.min(from, to), Math.max(from, to));
      else if (!moved) select(find(under(event)));
      redraw();
    });
    area.addEventListener('pointercancel', () => { drag = null; redraw(); });
    area.addEventListener('dblclick', () => show(0, span));
    const press = { earlier: () => move(-.5), later: () => move(.5), in: () => zoomSelected(.5), out: () => zoomSelected(2), all: () => show(0, span), next: nextFailure };
    for (const [id, does] of Object.entries(press)) $(id).addEventListener('click', does);
    $('next').hidden = run.bad[run.length] === 0;
    new ResizeObserver(redraw).observe(area);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { palette(); redraw(); });
  }

  function timeline() {
    const present = CLASSES.filter((name, group) => group === 0 || all.kind.some((kind, i) => i < all.length && CLASS_OF[kind] === group));
    const label = { ok: 'ok', failed: 'failed, killed or crashed', late: 'timed out', ended: 'ended with the run' };
    for (const name of present) $('legend').append(element('li', {}, element('span', { class: `swatch ${name}` }), label[name]));
    $('lanes').setAttribute('aria-label', `${count(run.length, 'attempt')} in ${count(head.slots, 'worker slot')} over ${time(head.wall)}, ${whole.format(run.bad[run.length])} of them failed. The tables below tell more.`);
    palette();
    listen();
    select(-1);
    draw();
  }

  // ---- how long jobs took

  function histogram() {
    const target = $('histogram');
    if (!sorted.length) { target.textContent = 'No job was begun.'; $('times-details').hidden = true; return; }
    let low = Math.max(1, sorted[0]), high = Math.max(low, sorted[sorted.length - 1]);
    if (high / low < 1.3) [low, high] = [low / 1.15, high * 1.15];
    const bars = sorted.length < 30 ? 16 : 40, ratio = Math.log(high / low);
    const bar = took => Math.min(bars - 1, Math.max(0, Math.floor(Math.log(Math.max(took, low) / low) / ratio * bars)));
    const heights = Array.from({ length: bars }, () => [0, 0, 0, 0]);
    for (let i = 0; i < sample; i++) if (all.kind[i] !== 6) heights[bar(all.took[i])][CLASS_OF[all.kind[i]]]++;
    const most = Math.max(...heights.map(parts => parts.reduce((a, b) => a + b)));
    const edge = at => low * Math.exp(ratio * at / bars);
    const body = element('tbody');
    heights.forEach((parts, at) => {
      const sum = parts.reduce((a, b) => a + b), bad = sum - parts[0];
      const column = element('div', { class: 'column', title: `${time(edge(at))} to ${time(edge(at + 1))}: ${count(sum, 'job')}${bad ? `, ${whole.format(bad)} of them failed` : ''}` });
      for (const group of [1, 2, 3, 0]) {
        if (!parts[group]) continue;
        const piece = element('div', { class: CLASSES[group] });
        piece.style.height = `max(2px, ${parts[group] / most * 100}%)`;
        column.append(piece);
      }
      target.append(column);
      if (sum) body.append(element('tr', {}, element('th', { scope: 'row' }, `${time(edge(at))} to ${time(edge(at + 1))}`), element('td', {}, whole.format(sum)), element('td', {}, whole.format(bad))));
    });
    target.setAttribute('aria-label', `Histogram of times: half of the jobs took ${time(quantile(.5))} or less, nine in ten ${time(quantile(.9))} or less, the slowest ${time(sorted[sorted.length - 1])}.`);
    $('times-table').append(element('table', {},
      element('caption', { class: 'hidden' }, 'How many jobs took how long'),
      element('thead', {}, element('tr', {}, ...['Time', 'Jobs', 'Failed'].map(name => element('th', { scope: 'col' }, name)))), body));
    scale(low, high, ratio);
  }

  function scale(low, high, ratio) {
    const put = (at, text, name = '') => {
      const share = Math.log(at / low) / ratio * 100;
      const mark = element('span', name ? { class: name } : {}, text);
      mark.style.left = `${share}%`;
      if (share < 8) mark.style.transform = share < 3 ? 'none' : 'translateX(-30%)';
      if (share > 92) mark.style.transform = share > 97 ? 'translateX(-100%)' : 'translateX(-70%)';
      $('scale').append(mark);
    };
    const decades = Math.log10(high / low);
    const parts = decades > 4 ? [1] : decades > 1.5 ? [1, 3] : decades > .5 ? [1, 2, 5] : [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9];
    let taken = -Infinity;
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      for (const part of parts) {
        const at = part * Math.pow(10, power), share = Math.log(at / low) / ratio;
        if (at < low || at > high || share - taken < .1) continue;
        put(at, time(at));
        taken = share;
      }
    }
    taken = -Infinity;
    for (const [name, share] of [['median', .5], ['90 %', .9], ['99 %', .99]]) {
      const at = Math.max(low, quantile(share)), left = Math.log(at / low) / ratio;
      if (left - taken > .14) put(at, `▲ ${name}`, 'mark');
      if (left - taken > .14) taken = left;
    }
  }

  // ---- tables

  function output(name, part) {
    if (!part.text) return [];
    const title = part.cut ? `${name}, without its first ${size(part.cut)}` : name;
    return [element('div', { class: 'quiet small' }, title), element('pre', { tabindex: 0, 'aria-label': title }, visible(part.text))];
  }

  function details(row) {
    const facts = [];
    if (row.attempt > 1) facts.push(`attempt ${row.attempt}`);
    facts.push(`started at ${time(row.began)}`);
    if (row.slot !== null) facts.push(`slot ${row.slot + 1}`);
    if (row.pid !== null) facts.push(`process ${row.pid}`);
    if (row.max_rss) facts.push(`at most ${size(row.max_rss)} of memory`);
    const command = row.command.text && row.command.text !== row.input.text
      ? [element('div', { class: 'quiet small' }, 'command'), element('pre', { tabindex: 0, 'aria-label': 'command' }, visible(row.command.text) + (row.command.cut ? '…' : ''))] : [];
    return [element('p', { class: 'quiet small facts' }, facts.join(' · ')), ...command, ...output('standard error', row.stderr), ...output('standard output', row.stdout)];
  }

  function tableRow(row) {
    const [group, name] = state(row);
    const text = element('td', { class: 'text' }, element('bdi', { class: 'input' }, line(row.input.text || row.command.text) + (row.input.cut ? '…' : '')));
    if (row.error) text.append(element('div', { class: 'why' }, visible(row.error.text)));
    const more = element('details', { class: 'more' }, element('summary', {}, row.stderr.text || row.stdout.text ? 'Output and details' : 'Details'));
    more.addEventListener('toggle', () => { if (more.open && more.children.length === 1) more.append(...details(row)); });
    // What failed is why one looks: its last words are there at once, unless there are many.
    if (row.kind && head.failed.length <= 5) more.open = true;
    text.append(more);
    const jump = element('button', { type: 'button', class: 'row-head', title: 'Show in the timeline' }, `#${whole.format(row.number + 1)}`);
    const at = row.slot === null ? -1 : position(row);
    jump.disabled = at < 0;
    jump.addEventListener('click', () => {
      select(at);
      show(row.began - row.took * 2 - 10, row.began + row.took * 3 + 10);
      reveal();
      $('timeline').scrollIntoView({ block: 'center' });
      $('timeline').focus({ preventScroll: true });
    });
    return element('tr', {},
      element('td', {}, jump),
      element('td', {}, element('span', { class: `state is-${group}` }, name)),
      element('td', { class: 'number', 'data-label': 'took' }, time(row.took)),
      element('td', row.cpu === null ? { class: 'number' } : { class: 'number', 'data-label': 'processor' }, row.cpu === null ? '' : time(row.cpu)),
      text);
  }

  function position(row) {
    for (let at = last(row.slot, row.began); at >= run.first[row.slot] && run.began[at] === row.began; at--) if (run.number[at] === row.number) return at;
    return -1;
  }

  let list = head.failed.length ? 'failed' : 'slowest';
  function tables() {
    const wanted = $('filter').value.toLowerCase();
    const words = row => `#${row.number + 1} ${state(row)[1]} ${row.input.text} ${row.command.text} ${row.error?.text ?? ''} ${row.stdout.text} ${row.stderr.text}`.toLowerCase();
    const from = head[list], found = wanted ? from.filter(row => words(row).includes(wanted)) : from;
    $('show-failed').setAttribute('aria-pressed', list === 'failed');
    $('show-slowest').setAttribute('aria-pressed', list === 'slowest');
    const missing = list === 'failed' ? head.all_failed - from.length : 0;
    let told = list === 'failed' ? `${count(from.length, 'failed attempt')}${missing > 0 ? `: of ${whole.format(head.all_failed)} the first and the last` : ''}` : `The ${from.length === 1 ? 'slowest attempt' : `${whole.format(from.length)} slowest attempts`}`;
    if (wanted) told = `${whole.format(found.length)} of ${told.toLowerCase()}`;
    $('found').textContent = from.length ? `${told}.` : list === 'failed' ? 'Nothing failed.' : 'No job has ended.';
    $('rows').replaceChildren();
    if (!found.length) return;
    const titles = [['Job'], ['State'], ['Took', 'number'], [found.some(row => row.cpu !== null) ? 'Processor' : '', 'number'], ['Input', 'text']];
    const body = element('tbody');
    const table = element('table', {}, element('caption', { class: 'hidden' }, list === 'failed' ? 'Failed jobs' : 'Slowest jobs'),
      element('thead', {}, element('tr', {}, ...titles.map(([title, name]) => element('th', { scope: 'col', ...(name ? { class: name } : {}) }, title)))), body);
    $('rows').append(table);
    // The first ones at once, the others when they are asked for.
    let shown = 0;
    const more = element('button', { type: 'button' });
    const next = () => {
      body.append(...found.slice(shown, shown + 100).map(tableRow));
      shown += 100;
      more.textContent = `Show ${whole.format(Math.min(100, found.length - shown))} more`;
      if (shown >= found.length) more.remove();
    };
    more.addEventListener('click', next);
    $('rows').append(more);
    next();
  }

  top();
  figures();
  timeline();
  histogram();
  $('filter').addEventListener('input', tables);
  for (const name of ['failed', 'slowest']) $(`show-${name}`).addEventListener('click', () => { list = name; tables(); });
  tables();

  // For tests, and for whoever wonders.
  Object.assign(document.documentElement.dataset, { jobs: sample, ready: Math.round(performance.now() - loaded) });
})();
