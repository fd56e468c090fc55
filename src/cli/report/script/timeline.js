// What one can do in the timeline: zoom, move, and ask what a job was, with mouse, fingers or keys.

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
  const slot = view.slot + Math.floor((event.clientY - box.top) / view.lane);
  return { at, slot: event.clientY >= box.top && slot < head.slots ? slot : -1, pixel };
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
  const height = view.lane, top = run.slot[selected] * height, scroll = $('scroll');
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
function nextFailure() {
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
  $('scroll').addEventListener('scroll', redraw);
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
