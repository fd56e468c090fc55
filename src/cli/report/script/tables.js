// The tables of single jobs, and what begins it all.

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
