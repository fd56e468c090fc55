//! What a run does because of the time and of others: it heeds limits and orders, ends jobs step by step, and knows when it
//! has to look again.

use std::time::{Duration, Instant};

use super::table::{Ending, Job};
use super::{Again, CREW_EVERY, Course, Driver, ENOUGH, Past};
use crate::cli::ending::CliError;
use crate::cli::event::{Ended, Status};
use crate::cli::options::Timeout;
use crate::cli::output::{Record, Verdict};
use crate::cli::plan::processors;
use crate::cli::say::say;

impl Driver<'_> {
    /// Heeds what others want, and what time it is.
    pub(super) fn heed(&mut self, now: Instant) -> Result<(), CliError> {
        let ordered = self.ordered(now);
        if self.run.terms.deadline.is_some_and(|deadline| deadline <= now) && !self.state.late {
            self.state.late = true;
            self.steer(Course::End, now)?;
        }
        self.steer(ordered, now)?;
        if self.run.crew.is_some() && self.state.next_crew <= now {
            self.look_up_crew(now)?;
        }
        if let Some(limit) = self.limit() {
            for number in self.state.table.older(limit, now) {
                self.end_job(number, Status::TimedOut, now)?;
            }
        }
        self.go_on_ending(now)?;
        if self.state.table.begun() > 1 && self.run.terms.gate.is_desperate(now) {
            self.give_way(now)?;
        }
        Ok(())
    }

    /// How far somebody else wants it to go. Whoever wants it to end soon may not want to wait for ever.
    fn ordered(&mut self, now: Instant) -> Course {
        let ordered = self.run.orders.course();
        if !self.state.grace.is_over(ordered, now) {
            return ordered;
        }
        say(format_args!("the grace is over; {}", self.run.tally.ending("signal")));
        self.run.orders.give(Course::End);
        Course::End
    }

    /// Reads again how many workers there are to be. Whoever is just writing that may have written a half: it stays as it is.
    fn look_up_crew(&mut self, now: Instant) -> Result<(), CliError> {
        self.state.next_crew = now + CREW_EVERY;
        let count = self.run.crew.and_then(|crew| crew.count(processors()).ok());
        if let Some(count) = count.filter(|count| *count != self.run.workers) {
            self.run.pool.resize(count).map_err(CliError::Pool)?;
            self.state.table.resize(count, now);
            self.run.workers = count;
        }
        Ok(())
    }

    /// What a job may take just now.
    fn limit(&self) -> Option<Duration> {
        match self.run.terms.timeout? {
            Timeout::Time(limit) => Some(limit),
            Timeout::Percent(_) if self.state.took.len() < ENOUGH => None,
            Timeout::Percent(percent) => {
                let mut took = self.state.took.clone();
                let middle = took.len() / 2;
                let (_, median, _) = took.select_nth_unstable(middle);
                Some(Duration::from_nanos((*median as f64 * percent / 100.0) as u64))
            }
        }
    }

    /// Has the run go no further than that.
    pub(super) fn steer(&mut self, course: Course, now: Instant) -> Result<(), CliError> {
        if course <= self.state.course {
            return Ok(());
        }
        self.state.course = course;
        self.run.orders.heed(course);
        self.state.intake = None;
        for Again { input, .. } in std::mem::take(&mut self.state.again).into_values() {
            self.run.printer.skip(input.number)?;
        }
        match course {
            Course::On => {}
            Course::Drain => {
                // Those that have not begun in their workers never do.
                for number in self.state.table.unended() {
                    self.withdraw(number, now)?;
                }
            }
            Course::End => {
                for number in self.state.table.unended() {
                    self.end_job(number, Status::Ended, now)?;
                }
            }
        }
        Ok(())
    }

    /// Takes a job back that has not begun; tells whether it could.
    fn withdraw(&mut self, number: u64, now: Instant) -> Result<bool, CliError> {
        let Some(job) = self.state.table.get(number) else { return Ok(false) };
        if !self.run.desk.withdraw(job.ticket, false) {
            return Ok(false);
        }
        if let Some(job) = self.state.table.remove(number, now) {
            self.state.bytes -= job.input.len();
            self.drop_job(&job)?;
        }
        Ok(true)
    }

    /// Nothing comes of a job: the run was ended.
    fn drop_job(&mut self, job: &Job) -> Result<(), CliError> {
        self.run.printer.skip(job.input.number)
    }

    /// The run was ended, and a job with it: that is told, but nothing of it is shown.
    pub(super) fn end_with_run(
        &mut self,
        job: &Job,
        verdict: &Verdict,
        now: Instant,
    ) -> Result<(), CliError> {
        let of_run = Verdict::ended("it was ended with the run");
        let Verdict { pid, time, usage, slot, .. } = *verdict;
        let of_run = Verdict { pid, time, usage, slot, ..of_run };
        let command = self.command(&job.input);
        let ended = self.ended(Past::of(job), &command, &of_run, now);
        self.run.printer.log(&ended, &mut Record::default())?;
        self.run.watchers.iter_mut().try_for_each(|watcher| watcher.ended(&ended))?;
        self.drop_job(job)
    }

    /// Begins to end a job.
    fn end_job(&mut self, number: u64, why: Status, now: Instant) -> Result<(), CliError> {
        if self.withdraw(number, now)? {
            return Ok(());
        }
        self.state.table.set_ending(number, Ending { why, step: 0, next: now });
        self.go_on_ending(now)
    }

    /// Takes the next step with each job that is being ended, if it is time.
    fn go_on_ending(&mut self, now: Instant) -> Result<(), CliError> {
        let due: Vec<(u64, Ending)> =
            self.state.table.ending().filter(|(_, ending)| ending.next <= now).collect();
        for (number, ending) in due {
            let Some(job) = self.state.table.get(number) else { continue };
            let next = match self.run.terms.term_seq.0.get(ending.step) {
                Some((signal, pause)) => {
                    self.run.desk.signal(job.ticket, *signal);
                    now + *pause
                }
                None => {
                    self.run.desk.withdraw(job.ticket, true);
                    now + Duration::from_secs(1)
                }
            };
            self.state.table.set_ending(number, Ending { step: ending.step + 1, next, ..ending });
        }
        Ok(())
    }

    /// There is hardly any memory left: the youngest job has to begin again later.
    fn give_way(&mut self, now: Instant) -> Result<(), CliError> {
        let Some(number) = self.state.table.youngest() else { return Ok(()) };
        let Some(job) = self.state.table.get(number) else { return Ok(()) };
        self.run.desk.withdraw(job.ticket, true);
        if let Some(job) = self.state.table.remove(number, now) {
            let verdict = Verdict::ended("it had to give way: there was too little memory");
            let command = self.command(&job.input);
            let ended = self.ended(Past::of(&job), &command, &verdict, now);
            let ended = Ended { again: true, ..ended };
            self.run.watchers.iter_mut().try_for_each(|watcher| watcher.ended(&ended))?;
            let Job { input, attempt, .. } = job;
            self.state.bytes -= input.len();
            if let Some(live) = self.run.live {
                live.end(&input, false).map_err(CliError::Output)?;
            }
            let number = input.number;
            self.state.again.insert((now + Duration::from_secs(1), number), Again { input, attempt });
        }
        Ok(())
    }

    /// When there is something to be done, whatever comes.
    pub(super) fn next_moment(&self) -> Option<Instant> {
        let state = &self.state;
        let again = state.again.first_key_value().map(|((due, _), _)| *due).filter(|_| self.wants_input());
        let limit = self.limit().and_then(|limit| state.table.oldest()?.checked_add(limit));
        let ending = state.table.ending().map(|(_, ending)| ending.next).min();
        let deadline = self.run.terms.deadline.filter(|_| !state.late);
        let crew = self.run.crew.map(|_| state.next_crew);
        let memory = self.run.terms.gate.next_look().filter(|_| state.table.begun() > 1);
        let grace = state.grace.ends().filter(|_| state.course < Course::End);
        [again, limit, ending, deadline, grace, crew, memory, state.next_start].into_iter().flatten().min()
    }
}
