//! Containers made from the kernel's own parts. In a child of this program, the first test that opens its lab plays
//! the role of the first process instead.

use backlab_parts::container::{Config, INSIDE};
use backlab_parts::{Exit, Lab, Trace, role};
use nix::sys::signal::Signal;
use std::sync::Once;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);
const PROGRAMS: [&str; 4] = ["sh", "cat", "rm", "sleep"];

#[allow(clippy::unwrap_used)]
fn lab() -> Lab {
    // Tests run side by side, and the role is to be played once.
    static ASKED: Once = Once::new();
    ASKED.call_once(|| role::play_if_asked([INSIDE]));
    Lab::open(1, Trace::default()).unwrap()
}

#[tokio::test]
async fn a_container_has_its_own_processes_name_user_network_and_files() {
    let lab = lab();
    let image = lab.images().unwrap().base(&PROGRAMS).await.unwrap();
    let mut inside = lab.container("inside", Config::prompt(&image)).await.unwrap();
    assert_eq!(inside.sh("echo $$").await.unwrap(), ["1"]);
    assert_ne!(inside.first().unwrap(), 1);
    assert_eq!(inside.sh("echo /proc/[0-9]*").await.unwrap(), ["/proc/1"]);
    assert_eq!(inside.sh("cat /proc/sys/kernel/hostname").await.unwrap(), ["inside"]);
    assert_eq!(inside.sh("grep Uid /proc/self/status").await.unwrap().len(), 1, "one line: there is no grep");
    assert_eq!(inside.sh("echo /*").await.unwrap(), ["/bin /data /dev /lib /lib64 /proc /run /tmp"]);
    assert_eq!(inside.sh("echo note > /tmp/note").await.unwrap(), [""; 0]);
    assert_eq!(std::fs::read_to_string(inside.writable().join("tmp/note")).unwrap(), "note\n");
    let other = lab.container("other", Config::new(&image, "cat /tmp/note")).await.unwrap();
    assert_eq!(other.process.wait(SOON).await.unwrap(), Exit::Code(1));
    lab.close().await;
}

#[tokio::test]
async fn volumes_and_secrets_are_there_while_the_container_is_and_in_no_layer() {
    let lab = lab();
    let images = lab.images().unwrap();
    let base = images.base(&PROGRAMS).await.unwrap();
    let (volume, secret) = (lab.dir().join("volume"), lab.dir().join("secret"));
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(&secret, "hush").unwrap();
    let build = Config::new(&base, "cat /run/secret > /data/copy; echo built > /tmp/result");
    let built = images.run("build", build.volume(&volume).secret(&secret)).await.unwrap();
    assert_eq!(std::fs::read_to_string(volume.join("copy")).unwrap(), "hush");
    assert!(built.layers[1].holds("built").unwrap());
    assert!(!built.layers[1].holds("hush").unwrap());
    let mut after = lab.container("after", Config::prompt(&built).volume(&volume)).await.unwrap();
    assert_eq!(
        after.sh("cat /data/copy /run/secret").await.unwrap(),
        ["hushcat: /run/secret: No such file or directory"]
    );
    lab.close().await;
}

#[tokio::test]
async fn a_layer_is_what_a_command_changed_and_equal_layers_are_kept_once() {
    let lab = lab();
    let images = lab.images().unwrap();
    let base = images.base(&PROGRAMS).await.unwrap();
    let with_key = images.add(&base, &[("app/key", "hush"), ("app/source", "1")]).unwrap();
    let build = Config::new(&with_key, "rm /app/key && cat /app/source > /app/program");
    let built = images.run("build", build.clone()).await.unwrap();
    assert_eq!(built.layers.len(), 3);
    assert!(built.layers[1].holds("hush").unwrap());
    assert!(!built.layers[2].holds("hush").unwrap());
    assert!(built.layers[2].holds("app/.wh.key").unwrap());
    let mut merged = lab.container("merged", Config::prompt(&built)).await.unwrap();
    assert_eq!(merged.sh("echo /app/*").await.unwrap(), ["/app/program /app/source"]);

    assert_eq!(built.read("app/program").unwrap(), "1");
    assert!(built.read("app/key").is_err(), "a mark of removal is no file");
    assert_eq!(images.stored().unwrap(), built.bytes());
    let again = images.run("build again", build.clone()).await.unwrap();
    assert_eq!(again.layers, built.layers);
    assert_eq!(images.stored().unwrap(), built.bytes());
    let copied_again = images.add(&built, &[("app/key", "hush"), ("app/source", "1")]).unwrap();
    assert_eq!(copied_again.layers[3], copied_again.layers[1]);
    let mut merged = lab.container("again", Config::prompt(&copied_again)).await.unwrap();
    assert_eq!(merged.sh("cat /app/key /app/program").await.unwrap(), ["hush1"]);
    let with_times = images.with_times(true);
    let dated = [
        with_times.run("first", build.clone()).await.unwrap(),
        with_times.run("second", build).await.unwrap(),
    ];
    assert_ne!(dated[0].layers[2].digest, dated[1].layers[2].digest);
    lab.close().await;
}

#[tokio::test]
async fn the_first_process_ignores_what_it_does_not_handle_and_an_init_passes_it_on_and_reaps() {
    let lab = lab();
    let image = lab.images().unwrap().base(&PROGRAMS).await.unwrap();
    // Grandchildren that outlive their parents, and end when the input ends.
    let service = "exec 3<&0; for i in 1 2 3; do ((read -r x <&3) &); done; echo serving; exec sleep 1000";
    let serving = |line: &str| (line == "serving").then_some(());
    let mut bare = lab.container("bare", Config::new(&image, service)).await.unwrap();
    let mut init = lab.container("init", Config::new(&image, service).init()).await.unwrap();
    bare.process.line(SOON, serving).await.unwrap();
    init.process.line(SOON, serving).await.unwrap();
    // A shell would still wait for children that have ended.
    let replaced = async {
        while bare.program().as_deref() != Some("sleep") {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, replaced).await.expect("the shell becomes `sleep`");
    bare.process.close_stdin();
    init.process.close_stdin();
    let settled = async {
        while bare.zombies() < 3 || init.children().len() > 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, settled).await.expect("three zombies here, none there");
    bare.signal(Signal::SIGTERM).unwrap();
    init.signal(Signal::SIGTERM).unwrap();
    assert_eq!(init.process.wait(SOON).await.unwrap(), Exit::Code(128 + 15));
    assert!(bare.is_untouched());
    bare.signal(Signal::SIGKILL).unwrap();
    assert_eq!(bare.process.wait(SOON).await.unwrap().shell_code(), 137);
    lab.close().await;
}

#[tokio::test]
async fn over_its_limit_of_memory_a_container_is_killed_and_the_group_goes() {
    let lab = lab();
    let Ok(group) = lab.memory_group(32) else { return };
    let image = lab.images().unwrap().base(&PROGRAMS).await.unwrap();
    let hoard = r#"x=0123456789abcdef; while :; do x=$x$x; done"#;
    let hoarder = lab.container("hoarder", Config::new(&image, hoard).memory(&group)).await.unwrap();
    assert_eq!(hoarder.process.wait(SOON).await.unwrap().shell_code(), 137);
    assert_eq!(group.killed(), 1);
    let path = group.path().to_owned();
    drop(group);
    assert!(!path.exists());
    lab.close().await;
}

#[tokio::test]
async fn a_run_that_is_dropped_leaves_neither_processes_nor_files() {
    let lab = lab();
    let dir = lab.dir().to_owned();
    let image = lab.images().unwrap().base(&PROGRAMS).await.unwrap();
    let container = lab.container("left", Config::new(&image, "echo > /tmp/x; sleep 1000")).await.unwrap();
    let first = container.first().unwrap();
    drop((container, image));
    lab.close().await;
    let gone = async {
        while std::path::Path::new(&format!("/proc/{first}")).exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("its first process is gone");
    assert!(!dir.exists(), "the run's directory is gone");
}
