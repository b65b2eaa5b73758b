//! Gates and barriers: how an experiment makes things happen at the same time, or in a set order, without a sleep.

use anyhow::{Result, bail};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long anything waits here before it is an error.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Holds whoever arrives until it opens, and counts them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<State>>);

#[derive(Debug, Clone, Copy)]
struct State {
    open: bool,
    arrived: u64,
    waiting: u64,
    /// Opens by itself when so many have arrived.
    opens_at: u64,
}

impl State {
    fn arrive(&mut self) {
        self.arrived += 1;
        self.open |= self.arrived >= self.opens_at;
    }
}

impl Gate {
    /// Closed until [`open`](Self::open).
    pub fn closed() -> Self {
        Self::until(u64::MAX)
    }

    /// Closed until so many have arrived (none, if 0), and open from then on.
    pub fn until(arrivals: u64) -> Self {
        let state = State { open: arrivals == 0, arrived: 0, waiting: 0, opens_at: arrivals };
        Self(Arc::new(watch::Sender::new(state)))
    }

    /// Arrives without waiting: to be counted in a crowd for which somebody else waits.
    pub fn arrive(&self) {
        self.0.send_modify(State::arrive);
    }

    /// Arrives, and waits until the gate is open.
    ///
    /// # Errors
    /// It is still closed after ten seconds; the message says how many had arrived.
    pub async fn pass(&self) -> Result<()> {
        self.pass_within(DEADLINE).await
    }

    /// Waits until so many have arrived, counted from the beginning; for the one who opens the gate.
    ///
    /// # Errors
    /// Fewer have arrived after ten seconds.
    pub async fn arrivals(&self, enough: u64) -> Result<()> {
        self.arrivals_within(enough, DEADLINE).await
    }

    async fn pass_within(&self, deadline: Duration) -> Result<()> {
        self.0.send_modify(|state| {
            state.arrive();
            state.waiting += 1;
        });
        let _left = Waiting(&self.0);
        if timeout(deadline, self.reaches(|state| state.open)).await.is_err() {
            let State { arrived, opens_at, .. } = *self.0.borrow();
            let rule = match opens_at {
                u64::MAX => "and nobody opened it".to_owned(),
                _ => format!("and it opens at {opens_at}"),
            };
            bail!("a gate was still closed after {deadline:?}: {arrived} had arrived, {rule}");
        }
        Ok(())
    }

    async fn arrivals_within(&self, enough: u64, deadline: Duration) -> Result<()> {
        if timeout(deadline, self.reaches(|state| state.arrived >= enough)).await.is_err() {
            bail!("only {} of {enough} had arrived at a gate after {deadline:?}", self.arrived());
        }
        Ok(())
    }

    pub fn open(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    /// Closes it for those who arrive from now on; only [`open`](Self::open) opens it again.
    pub fn close(&self) {
        self.0.send_modify(|state| (state.open, state.opens_at) = (false, u64::MAX));
    }

    /// How many have arrived so far.
    pub fn arrived(&self) -> u64 {
        self.0.borrow().arrived
    }

    /// How many wait in front of it now.
    pub fn waiting(&self) -> u64 {
        self.0.borrow().waiting
    }

    async fn reaches(&self, reached: impl Fn(&State) -> bool) {
        // The sender lives as long as `self`, so that this only ends when the state is reached.
        let _ = self.0.subscribe().wait_for(|state| reached(state)).await;
    }
}

/// One who waits; also when its task is cancelled it no longer does.
struct Waiting<'a>(&'a watch::Sender<State>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|state| state.waiting -= 1);
    }
}

/// Lockstep: nobody begins the next round before all have ended this one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Barrier {
    rounds: Arc<tokio::sync::Barrier>,
    members: u64,
}

impl Barrier {
    pub fn of(members: u64) -> Self {
        Self { rounds: Arc::new(tokio::sync::Barrier::new(members as usize)), members }
    }

    /// Waits until all members are here, then begins the next round.
    ///
    /// # Errors
    /// Somebody is missing after ten seconds. The barrier isn't used any more then.
    pub async fn wait(&self) -> Result<()> {
        if timeout(DEADLINE, self.rounds.wait()).await.is_err() {
            bail!("not all {} were at a barrier within {DEADLINE:?}", self.members);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_wait_is_without_end() {
        let soon = Duration::from_millis(5);
        let closed = Gate::until(2).pass_within(soon).await.unwrap_err();
        assert_eq!(closed.to_string(), "a gate was still closed after 5ms: 1 had arrived, and it opens at 2");
        let lonely = Gate::closed().arrivals_within(1, soon).await.unwrap_err();
        assert_eq!(lonely.to_string(), "only 0 of 1 had arrived at a gate after 5ms");
    }
}
