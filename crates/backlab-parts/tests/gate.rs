//! Gates hold whoever comes until it is time; barriers hold whoever is ahead.

use backlab_parts::gate::{Barrier, Gate};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinSet;

#[tokio::test]
async fn a_gate_opens_when_the_last_of_the_crowd_has_arrived() {
    let gate = Gate::until(5);
    let mut crowd = JoinSet::new();
    for _ in 0..4 {
        let gate = gate.clone();
        crowd.spawn(async move { gate.pass().await });
    }
    gate.arrivals(4).await.unwrap();
    assert_eq!(gate.waiting(), 4);
    assert!(crowd.try_join_next().is_none(), "nobody is through before the fifth comes");
    gate.pass().await.unwrap();
    while let Some(passed) = crowd.join_next().await {
        passed.unwrap().unwrap();
    }
    gate.pass().await.unwrap();
    assert_eq!((gate.arrived(), gate.waiting()), (6, 0), "it stays open");
}

#[tokio::test]
async fn who_gives_up_waits_no_longer() {
    let gate = Gate::closed();
    let waiter = tokio::spawn({
        let gate = gate.clone();
        async move { gate.pass().await }
    });
    gate.arrivals(1).await.unwrap();
    waiter.abort();
    assert!(waiter.await.unwrap_err().is_cancelled());
    assert_eq!(gate.waiting(), 0);
    gate.open();
    gate.pass().await.unwrap();
    gate.close();
    assert_eq!(gate.arrived(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_begins_a_round_before_all_have_ended_the_last() {
    const MEMBERS: u64 = 4;
    let (barrier, steps) = (Barrier::of(MEMBERS), Arc::new(AtomicU64::new(0)));
    let mut members = JoinSet::new();
    for _ in 0..MEMBERS {
        let (barrier, steps) = (barrier.clone(), steps.clone());
        members.spawn(async move {
            for round in 0..50 {
                let before = steps.fetch_add(1, Ordering::SeqCst);
                assert_eq!(before / MEMBERS, round, "somebody ran ahead");
                barrier.wait().await.unwrap();
            }
        });
    }
    while let Some(ended) = members.join_next().await {
        ended.unwrap();
    }
}
