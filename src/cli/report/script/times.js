// The histogram of how long jobs took. Its bars are powers of a ratio: times differ by orders of magnitude.

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
