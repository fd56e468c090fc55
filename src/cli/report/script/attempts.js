// What ran when: bytes as `timeline.rs` writes them, arranged so that any span is summed up at once.

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
