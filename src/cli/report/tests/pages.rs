//! Pages as a browser shows them. With `SIDESTEP_PICTURES` set to a folder, pictures of them are left there.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::browser::Browser;
use super::{Job, origin};
use crate::cli::event::{Status, Usage, Watcher};
use crate::cli::report::Report;
use crate::cli::report::timeline::Timeline;

const DESK: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (360, 740);

/// A page, in a folder that goes with it.
fn page(command: &str, jobs: impl IntoIterator<Item = Job>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let mut report = Report::create(&path, command.to_owned(), origin()).unwrap();
    for job in jobs {
        job.tell(|ended| report.ended(ended).unwrap());
    }
    report.close().unwrap();
    (folder, path)
}

/// Jobs in the order in which they end, each slot without a break.
fn busy(count: u64, slots: u64, took: impl Fn(u64) -> u64, job: impl Fn(u64, u64) -> Job) -> Vec<Job> {
    let mut free = vec![0; slots as usize];
    let mut jobs: Vec<Job> = (0..count)
        .map(|number| {
            let slot = (0..free.len()).min_by_key(|slot| free[*slot]).unwrap();
            let made = job(number, took(number));
            let made = Job { slot: Some(slot), began: free[slot], ..made };
            free[slot] += made.took + 20;
            made
        })
        .collect();
    jobs.sort_by_key(|job| job.began + job.took);
    jobs
}

/// Any number, the same each time.
fn noise(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
}

fn ten() -> Vec<Job> {
    let usage = |took: u64| Usage {
        user: Duration::from_micros(took * 6 / 10),
        system: Duration::from_micros(took / 10),
        max_rss: 48 << 20,
    };
    busy(
        10,
        3,
        |number| 400_000 + noise(number) % 2_600_000,
        |number, took| {
            let input = format!("photos/2024/holiday-{:03}.jpg", number + 1).into_bytes();
            let job = match number {
                3 => Job {
                    status: Status::Crashed { signal: Some(11) },
                    error: Some("its worker, process 4711, was killed by SIGSEGV".to_owned()),
                    stderr: b"\x1b[33mwarning\x1b[0m: JPEG data is damaged\nline 2 of the last words\n"
                        .into(),
                    ..Job::ok(number, took)
                },
                6 => Job {
                    stderr: b"convert: no decode delegate for this format\n".into(),
                    stdout: b"0 bytes\n".into(),
                    ..Job::failed(number, took)
                },
                8 => Job {
                    status: Status::TimedOut,
                    error: Some("it took more than 3 s and was ended".to_owned()),
                    ..Job::ok(number, 3_000_000)
                },
                _ => Job::ok(number, took),
            };
            Job { command: [b"thumb ", &input[..]].concat(), input, usage: Some(usage(job.took)), ..job }
        },
    )
}

/// Leaves a picture for whoever wants to look.
fn keep(browser: &mut Browser, name: &str) {
    if let Some(folder) = std::env::var_os("SIDESTEP_PICTURES") {
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), browser.picture()).unwrap();
    }
}

fn told(browser: &mut Browser, what: &str) -> f64 {
    browser.number(&format!("document.documentElement.dataset.{what}"))
}

/// The page goes no further to the right than its window.
fn assert_fits(browser: &mut Browser) {
    let wide = browser.number("document.documentElement.scrollWidth");
    assert!(wide <= browser.number("innerWidth"), "{wide}");
}

#[test]
fn ten_jobs_are_shown_light_dark_and_small() {
    let Some(mut browser) = Browser::open() else { return };
    let (_folder, page) = page("pool-run -w3 thumb ::: photos/2024/*.jpg", ten());
    for (name, size, scheme) in [("light", DESK, "light"), ("dark", DESK, "dark"), ("phone", PHONE, "dark")] {
        browser.show(&page, size, scheme);
        assert_eq!(told(&mut browser, "jobs"), 10.0, "{name}");
        assert!(told(&mut browser, "drawn") > 300.0, "{name}");
        assert_fits(&mut browser);
        assert_eq!(browser.number("document.querySelectorAll('#rows tbody tr').length"), 3.0);
        keep(&mut browser, &format!("ten-{name}"));
    }
    let verdict = browser.text("document.querySelector('#verdict').textContent");
    assert_eq!(verdict, "3 of 10 jobs did not end well: 1 failed, 1 crashed, 1 timed out.");
}

#[test]
fn colours_follow_the_system() {
    let Some(mut browser) = Browser::open() else { return };
    let (_folder, page) = page("x", ten());
    let mut lightness = |scheme| {
        browser.show(&page, DESK, scheme);
        let colour = "getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]";
        let pixel = "document.querySelector('#lanes').getContext('2d').getImageData(38, 10, 1, 1).data.slice(0, 3).join()";
        (browser.number(colour), browser.text(pixel))
    };
    let (light, dark) = (lightness("light"), lightness("dark"));
    assert!(light.0 > 200.0 && dark.0 < 60.0 && light.1 != dark.1, "{light:?} {dark:?}");
}

#[test]
fn jobs_are_found_with_mouse_and_keys() {
    let Some(mut browser) = Browser::open() else { return };
    let (_folder, page) = page("x", ten());
    browser.show(&page, DESK, "light");
    let job = "document.querySelector('#job').textContent";
    let at = |browser: &mut Browser, what: &str| {
        browser.number(&format!("document.querySelector('#lanes').getBoundingClientRect().{what}"))
    };
    let (left, top, width) = (at(&mut browser, "left"), at(&mut browser, "top"), at(&mut browser, "width"));
    browser.mouse("mouseMoved", left + 60.0, top + 10.0);
    assert!(browser.text(job).starts_with("Job 1 ok"), "{}", browser.text(job));
    assert!(browser.text(job).contains("holiday-001.jpg"));

    // A span that is drawn with the mouse fills the view.
    let whole = told(&mut browser, "to");
    browser.mouse("mousePressed", left + width * 0.4, top + 10.0);
    browser.mouse("mouseMoved", left + width * 0.6, top + 10.0);
    browser.mouse("mouseReleased", left + width * 0.6, top + 10.0);
    browser.settle();
    let shown = told(&mut browser, "to") - told(&mut browser, "from");
    assert!((0.15..0.25).contains(&(shown / whole)), "{shown} of {whole}");

    browser.value("document.querySelector('#timeline').focus()");
    browser.press("0");
    assert_eq!((told(&mut browser, "from"), told(&mut browser, "to")), (0.0, whole));
    browser.press("+");
    assert_eq!(told(&mut browser, "to") - told(&mut browser, "from"), whole / 2.0);
    browser.press("0");
    browser.press("f");
    assert!(browser.text(job).starts_with("Job 4 crashed by SIGSEGV"), "{}", browser.text(job));
    browser.press("ArrowLeft");
    assert!(!browser.text(job).starts_with("Job 4 "));
    keep(&mut browser, "selected");
}

#[test]
fn tables_are_filtered_by_any_text() {
    let Some(mut browser) = Browser::open() else { return };
    let (_folder, page) = page("x", ten());
    browser.show(&page, DESK, "light");
    let mut rows = |wanted: &str| {
        browser.value(&format!(
            "filter.value = {}; filter.dispatchEvent(new Event('input')); 1",
            serde_json::to_string(wanted).unwrap()
        ));
        browser.number("document.querySelectorAll('#rows tbody tr').length")
    };
    assert_eq!([rows("DELEGATE"), rows("sigsegv"), rows("holiday"), rows("no such")], [1.0, 1.0, 3.0, 0.0]);
    browser.value("document.querySelector('#show-slowest').click()");
    assert_eq!(browser.number("document.querySelectorAll('#rows tbody tr').length"), 0.0);
}

#[test]
fn hostile_texts_are_texts() {
    let Some(mut browser) = Browser::open() else { return };
    let attack: &[u8] =
        b"</script><script>document.title='pwned';alert(1)</script><img src=x onerror=alert(2)>\
        <!--<script>\xe2\x80\xa8\xe2\x80\xa9\xff\xfe\x00\x1b]0;x\x07\xe2\x80\xae]]>&lt;'\"`${1}{{head}}";
    let hostile = |number| Job {
        input: attack.into(),
        command: attack.into(),
        stdout: attack.into(),
        stderr: attack.repeat(3),
        error: Some(String::from_utf8_lossy(attack).into_owned()),
        ..Job::failed(number, 5000)
    };
    let (_folder, page) =
        page(&String::from_utf8_lossy(attack), busy(4, 2, |_| 5000, |number, _| hostile(number)));
    browser.show(&page, PHONE, "light");
    assert_eq!(browser.number("document.querySelectorAll('img').length + document.scripts.length"), 3.0);
    assert!(browser.text("document.title").starts_with('✕'));
    for place in ["#command", "#rows .input", "#rows .why", "#rows pre"] {
        let text = browser.text(&format!("document.querySelector('{place}').textContent"));
        assert!(text.contains("</script><script>document.title='pwned'"), "{place}: {text}");
        assert!(!text.contains(['\u{202e}', '\0']) && text.contains("[U+202E]"), "{place}: {text}");
    }
    assert_fits(&mut browser);
    keep(&mut browser, "hostile");
    // What is not the page's own is not run, even if it gets there.
    browser.value("{ const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s); 1 }");
    assert_eq!(browser.text("window.ran"), "undefined");
}

#[test]
fn a_million_jobs_are_shown_at_once() {
    let Some(mut browser) = Browser::open() else { return };
    let jobs = busy(
        1_000_000,
        16,
        |number| 300 + noise(number) % 900 + if noise(number).is_multiple_of(997) { 40_000 } else { 0 },
        |number, took| {
            let bad = noise(number).is_multiple_of(20_011) || (400_000..400_040).contains(&number);
            let job = if bad { Job::failed(number, took) } else { Job::ok(number, took) };
            Job { input: format!("{number}").into(), ..job }
        },
    );
    let (_folder, page) = page("seq 1000000 | pool-run primes", jobs);
    let size = std::fs::metadata(&page).unwrap().len();
    assert!(size < 15_000_000, "{size}");
    let begin = Instant::now();
    browser.show(&page, DESK, "light");
    assert_eq!(told(&mut browser, "jobs"), 1e6);
    let ready = begin.elapsed();
    eprintln!("{size} bytes, shown after {ready:?}, {} ms of script", told(&mut browser, "ready"));
    assert!(ready < Duration::from_secs(30), "{ready:?}");
    let (drawn, bad) = (told(&mut browser, "drawn"), told(&mut browser, "bad"));
    assert!(drawn > 10_000.0 && bad > 60.0 && bad < drawn / 50.0, "{drawn} {bad}");
    keep(&mut browser, "million");

    // What is shown costs what the window is wide, not what there is: a hundred pictures of all of it.
    let frames = "(async () => { timeline.focus(); const begin = performance.now(); for (let i = 0; i < 50; i++) \
        for (const key of ['+', '0']) { timeline.dispatchEvent(new KeyboardEvent('keydown', { key })); \
        await new Promise(requestAnimationFrame); } return (performance.now() - begin) / 100; })()";
    let frame = browser.value(frames).as_f64().unwrap();
    eprintln!("{frame} ms a frame");
    assert!(frame < 250.0, "{frame}");
}

#[test]
fn a_page_without_jobs_says_so() {
    let Some(mut browser) = Browser::open() else { return };
    let (_folder, page) = page("wc", []);
    browser.show(&page, PHONE, "light");
    assert_eq!(told(&mut browser, "jobs"), 0.0);
    assert_eq!(browser.text("document.querySelector('#verdict').textContent"), "No job has ended.");
    assert_fits(&mut browser);
    let refused =
        Job { status: Status::Refused, slot: None, error: Some("it is no number".into()), ..Job::ok(0, 0) };
    let (_folder, page) = self::page("primes", [refused]);
    browser.show(&page, PHONE, "light");
    assert!(browser.text("document.querySelector('#rows').textContent").contains("it is no number"));
}

#[test]
fn many_slots_scroll_within_the_timeline() {
    let Some(mut browser) = Browser::open() else { return };
    let jobs = busy(
        20_000,
        500,
        |number| 1000 + noise(number) % 90_000,
        |number, took| match number % 400 {
            7 => Job { status: Status::TimedOut, ..Job::ok(number, took) },
            _ => Job::ok(number, took),
        },
    );
    let (_folder, page) = page("many", jobs);
    browser.show(&page, DESK, "dark");
    assert_eq!(told(&mut browser, "jobs"), 20_000.0);
    assert!(browser.number("document.querySelector('#scroll').clientHeight") <= 540.0);
    keep(&mut browser, "slots");
    // As many as there may be are drawn as far as they are seen, also those at the end.
    let jobs =
        (0..60_000).map(|number| Job { slot: Some(number as usize), ..Job::ok(number, 1000 + number) });
    let (_folder, page) = self::page("many", jobs);
    browser.show(&page, DESK, "light");
    assert!(browser.number("document.querySelector('#lanes').height") < 1000.0);
    browser.value(
        "scroll = document.querySelector('#scroll'); scroll.scrollTop = 1e9; scroll.scrollIntoView(false)",
    );
    browser.settle();
    let x = browser.number("document.querySelector('#lanes').getBoundingClientRect().left") + 40.0;
    let y = browser.number("scroll.getBoundingClientRect().bottom") - 1.5;
    browser.mouse("mouseMoved", x, y);
    let job = browser.text("document.querySelector('#job').textContent");
    assert!(job.starts_with("Job 60,000 ok"), "{job}");
}

#[test]
fn what_failed_is_drawn_though_others_are_left_out() {
    let Some(mut browser) = Browser::open() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let mut report = Report::create(&path, "many".to_owned(), origin()).unwrap();
    report.timeline = Timeline::with_most(1000);
    for job in busy(
        20_000,
        4,
        |_| 1000,
        |number, took| match number {
            7777 => Job::failed(number, took),
            _ => Job::ok(number, took),
        },
    ) {
        job.tell(|ended| report.ended(ended).unwrap());
    }
    report.close().unwrap();
    browser.show(&path, DESK, "light");
    assert_eq!(told(&mut browser, "jobs"), 625.0);
    assert!(told(&mut browser, "bad") > 0.0);
    browser.value("document.querySelector('#next').click()");
    assert!(browser.text("document.querySelector('#job').textContent").starts_with("Job 7,778 failed"));
    assert!(browser.text("document.querySelector('#made').textContent").contains("one in 32 is drawn"));
    assert!(browser.text("document.querySelector('#verdict').textContent").starts_with("1 of 20,000 jobs"));
}
