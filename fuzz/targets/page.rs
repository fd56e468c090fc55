//! A shared page that a job has scribbled over, as the parent reads it.
#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use sidestep_worker::blocks::Place;
use sidestep_worker::frame::Assembler;
use sidestep_worker::page::{BLOCKS, Begun, Filled, Lane, MAX_RUN, OUT, PAGE, Page, WITH_BLOCKS};

struct Shared {
    file: File,
    page: Page,
}

/// One page for all inputs: mapping is slow.
fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("sidestep-fuzz-page-{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a new file");
        std::fs::remove_file(&path).expect("it is there");
        file.set_len(WITH_BLOCKS as u64).expect("there is room for a page");
        let page = Page::create(&file, 1).expect("a page can be mapped");
        Shared { file, page }
    })
}

fuzz_target!(|input: (u32, u64, u16, &[u8], &[u8])| {
    let (run, position, at, control, out) = input;
    let Shared { file, page } = shared();
    let place = u64::from(at) % PAGE as u64;
    let fits = out.len().min(PAGE - place as usize);
    file.write_all_at(&control[..control.len().min(PAGE)], 0).expect("a page can be written");
    file.write_all_at(&out[..fits], place).expect("a page can be written");

    let _ = (page.consumed(), page.current(), page.last_words(), page.asked_to_stop(), page.parent());
    if let Some(Begun { run, item, .. }) = page.running() {
        // It may be about to begin.
        assert!(page.current().is_none_or(|current| current == (run, item)));
    }
    assert!(page.claimed(run).is_none_or(|claimed| claimed <= MAX_RUN));
    if let Some(withdrawn) = page.withdraw(run, 3) {
        assert!(withdrawn.len() <= 3 && withdrawn.end <= MAX_RUN);
    }
    // A large result, which may lie anywhere.
    let large = Place { offset: position, len: u64::from(run) % 100_000 };
    let is_inside = large.offset.checked_add(large.len).is_some_and(|end| end <= BLOCKS as u64);
    assert_eq!(page.fetch(large).map(|bytes| bytes.len() as u64), is_inside.then_some(large.len));
    let _ = page.kept();
    // Results of one that lives, and of a dead one.
    take(page.results(), position);
    if let Ok(unread) = page.results().unread(position) {
        assert!(unread.len() <= OUT);
        frames(&unread);
    }
    // Jobs on their way to it: what it says of them changes nothing of what the parent has put there.
    let (lane, mut filled) = (page.jobs(), Filled::default());
    let _ = filled.may_begin_again(lane);
    assert!(filled.put(lane, [&[7; 9], out.get(..100).unwrap_or(out)]));
    let used = filled.used();
    let _ = filled.take_for_pipe(lane, |left| assert!(left.to_vec().len() <= used));
});

fn take(lane: Lane<'_>, position: u64) {
    let mut assembler = Assembler::new();
    if let Ok(count) = lane.take(position, &mut assembler) {
        assert!(count <= OUT && assembler.waiting() == count);
        while let Ok(Some(_)) = assembler.next() {}
    }
}

fn frames(bytes: &[u8]) {
    let mut assembler = Assembler::new();
    if assembler.extend(bytes).is_ok() {
        while let Ok(Some(_)) = assembler.next() {}
    }
}
