//! A clock that the experiment steps, for what takes minutes or hours: expiry, back-off, leases.

use anyhow::{Result, bail};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Real time that a sleeper waits for a step at the most.
const DEADLINE: Duration = Duration::from_secs(30);

/// Stands still unless stepped. Counts whole nanoseconds from zero. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock {
    now: Arc<watch::Sender<Duration>>,
    began: SystemTime,
}

impl Clock {
    /// A clock at zero; as a date, that is now.
    pub fn frozen() -> Self {
        Self::frozen_at(SystemTime::now())
    }

    /// A clock at zero, for those who look at the date as well.
    pub fn frozen_at(began: SystemTime) -> Self {
        Self { now: Arc::new(watch::Sender::new(Duration::ZERO)), began }
    }

    pub fn now(&self) -> Duration {
        *self.now.borrow()
    }

    pub fn date(&self) -> SystemTime {
        self.began + self.now()
    }

    /// Turns it forward, and wakes those whose time has come.
    pub fn step(&self, by: Duration) {
        self.now.send_modify(|now| *now += by);
    }

    /// Waits until steps have brought the clock forward by this much.
    ///
    /// # Errors
    /// They haven't after thirty seconds of real time.
    pub async fn sleep(&self, how_long: Duration) -> Result<()> {
        let until = self.now() + how_long;
        let mut steps = self.now.subscribe();
        if tokio::time::timeout(DEADLINE, steps.wait_for(|now| *now >= until)).await.is_err() {
            bail!(
                "waited {DEADLINE:?} for the clock to be stepped to {until:?}; it stands at {:?}",
                self.now()
            );
        }
        Ok(())
    }

    /// How many sleep on it now: step only when those have gone to sleep whom the step should wake.
    pub fn sleepers(&self) -> usize {
        self.now.receiver_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_at_the_step_that_reaches_its_time_and_not_before() {
        let clock = Clock::frozen();
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_secs(60)).await.unwrap();
                clock.now()
            }
        });
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        clock.step(Duration::from_nanos(59_999_999_999));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!sleeper.is_finished(), "a nanosecond is missing");
        clock.step(Duration::from_nanos(1));
        assert_eq!(sleeper.await.unwrap(), Duration::from_secs(60));
    }
}
