// The report draws itself. All texts are shown as text: nothing here makes HTML of them. Times are microseconds from the
// run's begin. Here is what all parts need: what the page was told, names, numbers as one reads them.

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
