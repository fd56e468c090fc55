//! A scenario of two processes: one that has a pool, and one that watches what becomes of it.

use std::process::{Child, ExitStatus};
use std::time::Duration;

use super::{again, all_gone_within, eventually, inside, name_of, outside, role};

/// The process that has the pool.
pub struct Root(Child);

impl Root {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL, and nothing of what it had started is left a second later.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        all_gone_within(super::SOON, "its parent was killed");
    }

    /// It ends by itself, and nothing of what it had started is left a second later.
    pub fn ends(mut self) -> ExitStatus {
        let mut status = None;
        eventually("the root ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        all_gone_within(super::SOON, "its parent has ended");
        status.unwrap()
    }

    pub fn wait_timeout(&mut self, limit: Duration) -> Option<ExitStatus> {
        let begin = std::time::Instant::now();
        while begin.elapsed() < limit {
            if let Some(status) = self.0.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }
}

/// Runs `root` in one process and `watch` in its parent, which also gets all orphans.
pub fn scenario_with_root<F: FnOnce(&dyn Fn() -> Root)>(root: impl FnOnce(), watch: F) {
    let name = name_of::<F>();
    match role(&name).as_deref() {
        None => outside(&name),
        Some("root") => root(),
        Some(_) => inside(|| {
            super::adopt_orphans();
            watch(&|| Root(again(&name, "root").spawn().unwrap()));
        }),
    }
}
