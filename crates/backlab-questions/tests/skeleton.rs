//! What `cargo xtask new` writes: it compiles, and it fails until somebody has written it.

mod prelude {
    pub use backlab_questions::prelude::*;
}

#[path = "../../../xtask/src/experiment.rs.txt"]
mod experiment;

use backlab_engine::{Order, Verdict, erase};

#[tokio::test]
async fn the_skeleton_runs_and_is_refuted() {
    let report = erase::<experiment::Unwritten>().run(Order::default()).await.unwrap();
    assert_eq!(report.verdict, Verdict::Refuted, "{:?}", report.error);
    assert_eq!(report.claims[0].id, "unwritten");
}
