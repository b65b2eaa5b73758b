//! A real Redis: what it answers, what the trace shows of that, and what outlives a kill.

use backlab_parts::{Event, Exit, Fate, Lab, Trace};
use redis::AsyncCommands;

fn lab() -> anyhow::Result<Lab> {
    Lab::open(1, Trace::default())
}

/// Messages of the trace as `from > to: what`, with a mark for those that say that something went wrong.
fn messages(lab: &Lab) -> Vec<String> {
    let line = |event| match event {
        Event::Message { from, to, what, fate, .. } => {
            let mark = if fate == Fate::Arrived { "" } else { "! " };
            Some(format!("{mark}{from} > {to}: {what}"))
        }
        _ => None,
    };
    lab.trace().events(0).into_iter().filter_map(line).collect()
}

#[tokio::test]
async fn commands_and_replies_are_in_the_trace() {
    let lab = lab().unwrap();
    let redis = lab.redis("redis").await.unwrap();
    let mut a = redis.client("A").await.unwrap();
    assert_eq!(a.run::<u64>("INCR n").await.unwrap(), 1);
    a.rpush::<_, _, ()>("list", &["x", "y z"]).await.unwrap();
    assert_eq!(a.lrange::<_, Vec<String>>("list", 0, -1).await.unwrap(), ["x", "y z"]);
    assert_eq!(a.run::<u64>("INCR list").await.unwrap_err().code(), Some("WRONGTYPE"));
    let both: (Option<u64>, u64) =
        redis::pipe().atomic().get("none").incr("n", 2).query_async(&mut a).await.unwrap();
    assert_eq!(both, (None, 3));
    let mut many = redis::pipe();
    many.cmd("INCR").arg("list").cmd("INCR").arg("n").cmd("INCR").arg("n").cmd("INCR").arg("n").cmd("PING");
    let answers: Vec<redis::RedisResult<String>> = many.ignore_errors().query_async(&mut a).await.unwrap();
    assert_eq!(answers.iter().filter(|it| it.is_ok()).count(), 4);
    let script = redis::Script::new("return redis.call('GET', KEYS[1]) .. ARGV[1]");
    assert_eq!(script.key("n").arg("!").invoke_async::<String>(&mut a).await.unwrap(), "6!");

    let expected = [
        "A > redis: INCR n",
        "redis > A: 1",
        "A > redis: RPUSH list x y z",
        "redis > A: 2",
        "A > redis: LRANGE list 0 -1",
        "redis > A: [x y z]",
        "A > redis: INCR list",
        "! redis > A: WRONGTYPE Operation against a key holding the wrong kind of value",
        "A > redis: MULTI; GET none; INCRBY n 2; EXEC",
        "redis > A: [(nil) 3]",
        "A > redis: INCR list; INCR n; … 5 in all",
        "! redis > A: 1 of 5 refused: WRONGTYPE Operation against a key holding the wrong kind of value",
    ];
    assert_eq!(messages(&lab)[..expected.len()], expected);
    assert_eq!(redis.info("redis_version").await.unwrap(), lab.parts()[0].1);
    let unknown = redis.info("no_such_field").await.unwrap_err();
    assert_eq!(unknown.to_string(), "redis's INFO has no field `no_such_field`");
    lab.close().await;
}

#[tokio::test]
async fn settings_hold_and_refusals_have_their_code() {
    let lab = lab().unwrap();
    let redis = lab.redis_with("redis", &[("maxmemory", "100kb")]).await.unwrap();
    let a = redis.client("A").await.unwrap();
    assert_eq!(a.run::<()>("SET k v").await.unwrap_err().code(), Some("OOM"));
    assert_eq!(redis.info("maxmemory").await.unwrap(), "102400");
    lab.close().await;
}

#[tokio::test]
async fn a_kill_loses_what_is_only_in_memory_and_keeps_what_is_in_the_log() {
    let lab = lab().unwrap();
    let memory = lab.redis("memory").await.unwrap();
    let log = lab.redis_with("log", &[("appendonly", "yes"), ("appendfsync", "always")]).await.unwrap();
    for (mut redis, left) in [(memory, 0), (log, 1)] {
        let a = redis.client("A").await.unwrap();
        a.run::<()>("SET k v").await.unwrap();
        assert!(redis.restart().await.unwrap_err().to_string().contains("still runs"));
        assert_eq!(redis.kill().await.unwrap(), Exit::Signal(9));
        let broken = a.run::<()>("PING").await.unwrap_err();
        assert!(broken.is_connection_dropped(), "{broken:?}");
        redis.restart().await.unwrap();
        let b = redis.client("B").await.unwrap();
        assert_eq!(b.run::<u64>("DBSIZE").await.unwrap(), left);
    }
    assert!(
        messages(&lab).iter().any(|line| line.starts_with("! memory > A: no reply")),
        "{:?}",
        messages(&lab)
    );
    lab.close().await;
}

#[tokio::test]
async fn nothing_is_left_of_it() {
    let lab = lab().unwrap();
    let redis = lab.redis("redis").await.unwrap();
    let (pid, dir) = (redis.process().pid(), lab.dir().to_owned());
    let alive = || std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(alive() && redis.socket().exists());
    lab.close().await;
    drop(redis);
    assert!(!alive());
    assert!(!dir.exists());
}
