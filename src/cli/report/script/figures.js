// The top of the page.

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
