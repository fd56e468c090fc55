//! How a history ends: everything that is left happens, and then every item has ended once.

use super::super::*;
use super::rig::Rig;

impl Rig {
    /// Whatever can still happen happens, and nothing goes wrong any more.
    pub(super) fn drain(&mut self) {
        if self.scheduler.target == 0 {
            self.resize(1);
        }
        for at in 0..self.world.processes.len() {
            self.stop(at, false);
        }
        let mut unwatched = 0;
        for round in 0..5000 {
            self.unchecked = round % 10 != 0;
            self.raise();
            for at in 0..self.world.processes.len() {
                self.ready(at);
                self.serve(at, 1000);
                if self.world.process(at).is_some_and(|process| process.killed || process.asked) {
                    self.die(at, false);
                }
            }
            self.raise();
            self.bring_all();
            let over = self.scheduler.counts();
            let rest = self
                .scheduler
                .slots
                .iter()
                .any(|slot| matches!(slot.state, State::Leaving | State::Spawning));
            if over.queued + over.running == 0 && !rest {
                self.unchecked = false;
                return self.check();
            }
            match self.scheduler.next_look(self.world.now, &self.world) {
                Some(wait) => self.tick(wait),
                None => unwatched += 1,
            }
            assert!(unwatched < 20, "nobody looks after what is left: {self:#?}");
        }
        panic!("the work does not come to an end: {self:#?}");
    }

    /// All input ends, everything is worked off, the pool is closed, all workers leave.
    pub(super) fn finish_all(mut self) {
        for task in 0..self.tasks.len() {
            if self.tasks[task].open {
                self.finish(task);
            }
        }
        self.drain();
        self.close();
        self.drain();
        assert!(self.scheduler.is_done());
        assert!(!self.scheduler.has_processes(), "{self:#?}");
        assert_eq!(self.scheduler.tasks.len(), 0, "tasks are left over");
        assert!(self.scheduler.queue.is_empty());
        self.check_line_is_over();
        self.told.check_ends();
        assert_eq!(
            self.scheduler.next_look(self.world.now, &self.world),
            None,
            "there is nothing to wait for"
        );
        self.check_ends();
    }

    /// Every item has ended once, in the way that its task was promised.
    fn check_ends(&self) {
        for (key, record) in self.world.items.iter() {
            let task = &self.tasks[key.0 as usize];
            match (&record.end, task.cancelled.get(&key.1)) {
                (None, Some(Withdrawn::Running)) => panic!("{key:?} was killed and never resolved"),
                (Some(end), Some(Withdrawn::Waiting)) => panic!("{key:?} was withdrawn, and still {end:?}"),
                (None, Some(Withdrawn::Waiting)) => {}
                (None, _) => assert!(task.withdrawn, "{key:?} never resolved"),
                (Some(_), _) => {}
            }
            assert!(record.begun <= record.failed || record.end.is_some(), "{key:?} ran and never resolved");
        }
    }
}
