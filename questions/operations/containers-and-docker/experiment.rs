//! What an image and a container are, made by hand from what the kernel has: no container engine takes part.
//!
//! First images are built from recipes ([`recipe`]), each step in namespaces of its own on an overlay of the layers so
//! far, and what it changed becomes the next layer. Then containers of an image are started and looked at from inside
//! and from outside; one runs out of memory; and two are told to stop.

use crate::prelude::*;
use backlab_parts::Exit;
use backlab_parts::container::{Config, Container, INSIDE, Image, Images, memory};
use nix::sys::signal::Signal;
use rand::RngExt;
use recipe::{Cache, Order, Step};

#[path = "claims.rs"]
mod claims;
#[path = "figures.rs"]
mod figures;
#[path = "recipe.rs"]
mod recipe;

choices! {
    /// When the step that deletes the key runs.
    pub enum Delete { Later = "in a later step", Same = "in the step that fetched it" }
}

choices! {
    /// The times of files that a layer's archive records.
    pub enum Times { Fixed = "all set to 1970", Real = "as they are" }
}

choices! {
    /// Where the containers write their note.
    pub enum Notes { Layer = "the container's own layer", Volume = "a volume" }
}

choices! {
    /// Which PID namespace the containers are in.
    pub enum Pids { Own = "one of their own", Host = "the host's" }
}

params! {
    /// When the copied key is deleted again.
    delete: Delete = "in a later step" in ..;
    /// Times of files in a layer's archive, of which the digest is taken.
    file_times: Times = "all set to 1970" in ..;
    /// Where the containers write the note that the others look for.
    notes: Notes = "the container's own layer" in ..;
    /// Memory that a container may have, in MiB.
    memory_limit_mb: u64 = 64 in 32..=256;
    /// The PID namespace that the containers are in.
    pids: Pids = "one of their own" in ..;
    /// Children that the service leaves behind without waiting for them.
    orphans: u64 = 20 in 1..=50;
}

pub struct ContainersAndDocker;

#[derive(Debug, Clone, Serialize)]
pub struct Observed {
    builds: Builds,
    key: Key,
    blue: View,
    green: View,
    outside: View,
    notes: Found,
    memory: std::result::Result<Memory, String>,
    stop: Stop,
}

/// Steps that ran in each build, and what came of them.
#[derive(Debug, Clone, Serialize)]
struct Builds {
    dependencies_first: Rebuilds,
    source_first: Rebuilds,
    /// Digests of the layers of one recipe, built twice with nothing cached.
    digests: [Vec<String>; 2],
    /// Bytes of two images that share layers, each by itself, and of both as they are kept.
    apart: u64,
    stored: u64,
}

/// The steps that ran, by name: at first, with nothing changed, and after a change of the source.
#[derive(Debug, Clone, Default, Serialize)]
struct Rebuilds {
    first: Vec<String>,
    unchanged: Vec<String>,
    changed: Vec<String>,
}

/// Where the key is after three ways to use it in a build.
#[derive(Debug, Clone, Serialize)]
struct Key {
    deleted: Holding,
    multi_stage: Holding,
    mounted: Holding,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Holding {
    /// Name and bytes of each layer, the lowest first, and whether its archive has the key in it.
    layers: Vec<(String, u64, bool)>,
    /// A container of the image finds the key.
    merged: bool,
    /// What was made with the help of the key is in the image.
    used: bool,
}

/// What a process sees of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct View {
    /// Its own number as it sees it, and as the machine does.
    pid: i32,
    pid_outside: i32,
    processes: usize,
    host_name: String,
    uid: u32,
    uid_outside: u32,
    networks: String,
    kernel: String,
    boot: String,
}

/// Where the note that blue wrote was found.
#[derive(Debug, Clone, Default, Serialize)]
struct Found {
    in_blue: bool,
    in_green: bool,
    in_a_later_one: bool,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Memory {
    /// Milliseconds, and MiB in use by the one that takes more and more, and by its neighbour.
    samples: Vec<(f64, f64, f64)>,
    /// MiB that it said it held, the last time it said so.
    held: u64,
    exit: i32,
    killed: u64,
    neighbour_answers: bool,
}

/// What SIGTERM did to a service that has no handler for it, and zombies: without and with an init.
#[derive(Debug, Clone, Default, Serialize)]
struct Stop {
    /// Orphans that said that they end, of both services.
    ended: usize,
    /// First processes that ran when SIGTERM was sent.
    signalled: usize,
    bare_lives: bool,
    bare_zombies: usize,
    init_exit: Option<i32>,
    init_zombies: usize,
}

impl Experiment for ContainersAndDocker {
    type Params = Params;
    type Observed = Observed;

    const NEEDS: &'static [&'static Part] = &[&inventory::NAMESPACES];
    const ROLES: &'static [Role] = &[INSIDE];
    /// A limit of memory takes a control group that is ours to divide.
    const MAY_BE_UNTRIED: &'static [&'static str] = &["killed-at-limit"];

    fn predict(_: &Params) -> Prediction<Observed> {
        Prediction::choice(
            "One step of a recipe copies a private key into the image, a later one deletes it. Where is the key \
             afterwards?",
            &[
                "gone",
                "in the file system that a container sees",
                "not in what a container sees, but in a layer of the image",
                "only in the build cache of this machine",
            ],
            |seen: &Observed| match &seen.key.deleted {
                it if it.merged => 1,
                it if it.in_layers() > 0 => 2,
                _ => 0,
            },
        )
        .tempting(
            0,
            "The command did succeed, and no container finds the file. But each step only adds a layer, and that of \
             the deleting step holds a mark that hides the file below it.",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        let images = lab.images()?.with_times(p.file_times == Times::Real);
        lab.step("Make a base image: a shell and three programs of this machine, with their libraries");
        let base = images.base(&["sh", "cat", "rm", "sleep"]).await?;
        let (builds, image) = builds(lab, &images, &base).await?;
        let key = key(lab, &images, &base, p.delete).await?;
        let (blue, green, notes) = two_containers(lab, p, &image).await?;
        let memory = out_of_memory(lab, p, &image).await?;
        let stop = stop(lab, p, &image).await?;
        Ok(Observed { builds, key, blue, green, outside: outside()?, notes, memory, stop })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        claims::all(p, seen)
    }

    fn figures(p: &Params, seen: &Observed) -> Vec<Figure> {
        figures::all(p, seen)
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        claims::counterexamples(p)
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "fetch, use and delete the key in one step",
                set: &[("delete", "in the step that fetched it")],
                refutes: &["deleted-key-stays"],
            },
            Fault {
                label: "let archives record when each file was written",
                set: &[("file_times", "as they are")],
                refutes: &["equal-content-equal-digest"],
            },
            Fault {
                label: "mount one volume in all containers",
                set: &[("notes", "a volume")],
                refutes: &["writes-stay-inside"],
            },
            Fault {
                label: "leave the containers in the host's PID namespace",
                set: &[("pids", "the host's")],
                refutes: &["own-view", "first-process-ignores-term", "zombies-stay"],
            },
        ]
    }
}

// ---- Images ----

/// Builds the service in both orders of its steps, and in one of them again with nothing cached.
async fn builds(lab: &Lab, images: &Images, base: &Image) -> Result<(Builds, Image)> {
    let (dependencies_first, old, new) = rebuilds(lab, images, base, Order::DependenciesFirst).await?;
    // Nothing but these two has been built so far.
    let stored = images.stored()?;
    let (source_first, ..) = rebuilds(lab, images, base, Order::SourceFirst).await?;

    lab.step("Build, dependencies first, on a machine that has nothing cached");
    let recipe = recipe::steps(Order::DependenciesFirst, OLD);
    let again = Cache::default().build(images, base, &recipe).await?.image;
    let digests = |image: &Image| image.layers.iter().map(|it| it.digest.clone()).collect();
    let builds = Builds {
        dependencies_first,
        source_first,
        digests: [digests(&old), digests(&again)],
        apart: old.bytes() + new.bytes(),
        stored,
    };
    Ok((builds, old))
}

const OLD: &str = "print 1\n";
const NEW: &str = "print 2\n";

/// Builds with one cache three times, and gives the image of the old source and that of the new one.
async fn rebuilds(
    lab: &Lab,
    images: &Images,
    base: &Image,
    order: Order,
) -> Result<(Rebuilds, Image, Image)> {
    let mut cache = Cache::default();
    let mut build = async |source, when| {
        lab.step(format_args!("Build, {}, {when}", order.words()));
        cache.build(images, base, &recipe::steps(order, source)).await
    };
    let first = build(OLD, "for the first time").await?;
    let unchanged = build(OLD, "with nothing changed").await?;
    let changed = build(NEW, "with a line of the source changed").await?;
    let ran = Rebuilds { first: first.ran, unchanged: unchanged.ran, changed: changed.ran };
    Ok((ran, first.image, changed.image))
}

/// Makes the key's holder sign something.
const SIGN: &str = r#"read -r key < /app/key && echo "signed with ${#key} characters" > /app/token"#;
const SIGN_MOUNTED: &str =
    r#"read -r key < /run/secret && echo "signed with ${#key} characters" > /app/token"#;
const FETCH_SIGN_DELETE: &str = r#"cat /run/secret > /app/key && read -r key < /app/key && echo "signed with ${#key} characters" > /app/token && rm /app/key"#;

async fn key(lab: &Lab, images: &Images, base: &Image, delete: Delete) -> Result<Key> {
    let mut rng = lab.rng("key");
    let key: String = (0..40).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect();
    let file = lab.dir().join("key");
    std::fs::write(&file, format!("{key}\n"))?;
    let source = Step::copy("app/source", OLD);
    let copy_key = Step::copy("app/key", format!("{key}\n"));
    let mounted = |name, command| Step::Run { name, command, secret: Some(file.clone()) };

    lab.step("Copy a key into an image, sign with it, and delete it");
    let recipe = match delete {
        Delete::Later => {
            vec![
                source.clone(),
                copy_key.clone(),
                Step::run("sign", SIGN),
                Step::run("delete key", "rm /app/key"),
            ]
        }
        Delete::Same => vec![source.clone(), mounted("fetch, sign, delete", FETCH_SIGN_DELETE)],
    };
    let deleted = holding(lab, images, base, &recipe, &key).await?;

    lab.step("Sign in one image, and copy only what was signed into another");
    let stage = [source.clone(), copy_key, Step::run("sign", SIGN)];
    let stage = Cache::default().build(images, base, &stage).await?.image;
    let recipe = [source.clone(), Step::copy("app/token", stage.read("app/token")?)];
    let multi_stage = holding(lab, images, base, &recipe, &key).await?;

    lab.step("Sign with a key that is mounted while the step runs");
    let mounted = holding(lab, images, base, &[source, mounted("sign", SIGN_MOUNTED)], &key).await?;
    Ok(Key { deleted, multi_stage, mounted })
}

/// Builds a recipe and looks for the key: in a container of the image, and in the archive of each layer.
async fn holding(lab: &Lab, images: &Images, base: &Image, recipe: &[Step], key: &str) -> Result<Holding> {
    let image = Cache::default().build(images, base, recipe).await?.image;
    let mut inside = lab.container("look", Config::prompt(&image)).await?;
    let merged = inside.sh("cat /app/key").await?.iter().any(|line| line == key);
    let used = inside.sh("cat /app/token").await? == [format!("signed with {} characters", key.len())];
    let names = std::iter::once("base".to_owned()).chain(recipe.iter().map(Step::name));
    let layers = names.zip(&image.layers).map(|(name, layer)| Ok((name, layer.bytes, layer.holds(key)?)));
    Ok(Holding { layers: layers.collect::<Result<_>>()?, merged, used })
}

impl Holding {
    /// Layers whose archive has the key in it.
    fn in_layers(&self) -> usize {
        self.layers.iter().filter(|(.., holds)| *holds).count()
    }
}

// ---- Containers ----

async fn two_containers(lab: &Lab, p: &Params, image: &Image) -> Result<(View, View, Found)> {
    lab.step("Start two containers of one image, and look around in each");
    let volume = lab.dir().join("volume");
    std::fs::create_dir(&volume)?;
    let config = || match p.notes {
        Notes::Layer => p.pids.of(Config::prompt(image)),
        Notes::Volume => p.pids.of(Config::prompt(image)).volume(&volume),
    };
    let mut blue = lab.container("blue", config()).await?;
    let mut green = lab.container("green", config()).await?;
    let views = (inside(&mut blue).await?, inside(&mut green).await?);

    lab.step("Write a note in one, look for it in the other, and in one that is started later");
    blue.sh("echo from blue > /data/note").await?;
    let mut later = lab.container("later", config()).await?;
    let has_note =
        async |container: &mut Container| anyhow::Ok(container.sh("cat /data/note").await? == ["from blue"]);
    let found = Found {
        in_blue: has_note(&mut blue).await?,
        in_green: has_note(&mut green).await?,
        in_a_later_one: has_note(&mut later).await?,
    };
    Ok((views.0, views.1, found))
}

impl Pids {
    fn of(self, config: Config) -> Config {
        if self == Self::Host { config.host_pids() } else { config }
    }
}

/// What the first process of a container sees, and what is seen of it from outside.
async fn inside(container: &mut Container) -> Result<View> {
    let pid_outside = container.first()?;
    let mut say = async |command: &str| anyhow::Ok(container.sh(command).await?.join(" "));
    Ok(View {
        pid: say("echo $$").await?.parse()?,
        pid_outside,
        processes: say("echo /proc/[0-9]*").await?.split_whitespace().count(),
        host_name: say("cat /proc/sys/kernel/hostname").await?,
        uid: say(UID).await?.parse()?,
        uid_outside: uid(&std::fs::read_to_string(format!("/proc/{pid_outside}/status"))?)?,
        networks: say(NETWORKS).await?,
        kernel: say("cat /proc/sys/kernel/osrelease").await?,
        boot: say("cat /proc/sys/kernel/random/boot_id").await?,
    })
}

const UID: &str =
    r#"while read -r key id rest; do case $key in Uid:) echo $id; esac; done < /proc/self/status"#;
const NETWORKS: &str =
    r#"while IFS=" :" read -r name rest; do case $rest in [0-9]*) echo $name; esac; done < /proc/net/dev"#;

/// The same of Backlab's own process.
fn outside() -> Result<View> {
    let read = |file: &str| std::fs::read_to_string(file).map(|it| it.trim_end().to_owned());
    let processes = std::fs::read_dir("/proc")?.flatten();
    let numbers = processes.filter(|it| it.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit));
    let (pid, uid) = (std::process::id().cast_signed(), uid(&read("/proc/self/status")?)?);
    Ok(View {
        pid,
        pid_outside: pid,
        processes: numbers.count(),
        host_name: read("/proc/sys/kernel/hostname")?,
        uid,
        uid_outside: uid,
        networks: networks(&read("/proc/net/dev")?),
        kernel: read("/proc/sys/kernel/osrelease")?,
        boot: read("/proc/sys/kernel/random/boot_id")?,
    })
}

/// The real user id in `/proc/PID/status`.
fn uid(status: &str) -> Result<u32> {
    let line =
        status.lines().find_map(|line| line.strip_prefix("Uid:")).context("no Uid in a status file")?;
    Ok(line.split_whitespace().next().context("no Uid in a status file")?.parse()?)
}

/// The names in `/proc/net/dev`, below its two lines of headings.
fn networks(devices: &str) -> String {
    let names = devices.lines().skip(2).filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim()).collect::<Vec<_>>().join(" ")
}

// ---- Limits ----

/// Takes one MiB after the other.
const HOARD: &str = r#"read -r go
mib=0123456789abcdef; i=0; while [ $i -lt 16 ]; do mib=$mib$mib; i=$((i+1)); done
n=0; while :; do n=$((n+1)); eval "held_$n=\$mib"; echo "held $n"; done"#;

/// Lets a container take more memory than its group may have; or says why no such group can be made here.
async fn out_of_memory(lab: &Lab, p: &Params, image: &Image) -> Result<std::result::Result<Memory, String>> {
    lab.step(format_args!("Limit two containers to {} MiB each, and let one take more", p.memory_limit_mb));
    let groups = (lab.memory_group(p.memory_limit_mb), lab.memory_group(p.memory_limit_mb));
    let (greedy, modest) = match groups {
        (Ok(greedy), Ok(modest)) => (greedy, modest),
        (Err(none), _) | (_, Err(none)) => {
            lab.trace().note("host", &none);
            return Ok(Err(none.to_string()));
        }
    };
    let mut neighbour = lab.container("neighbour", Config::prompt(image).memory(&modest)).await?;
    let mut hoarder = lab.container("hoarder", Config::new(image, HOARD).memory(&greedy)).await?;
    hoarder.process.say("go").await?;
    let began = std::time::Instant::now();
    let mut samples = Vec::new();
    let mib = |group: &memory::Group| group.used().unwrap_or(0) as f64 / f64::from(1 << 20);
    let sampling = async {
        while hoarder.process.exit().is_none() {
            samples.push((began.elapsed().as_secs_f64() * 1000.0, mib(&greedy), mib(&modest)));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), sampling).await.context("wait for the hoarder's end")?;
    let held = hoarder.process.lines().iter().rev().find_map(|line| line.strip_prefix("held ")?.parse().ok());
    Ok(Ok(Memory {
        samples,
        held: held.unwrap_or(0),
        exit: hoarder.wait(Duration::from_secs(5)).await?.shell_code(),
        killed: greedy.killed(),
        neighbour_answers: neighbour.sh("echo here").await? == ["here"],
    }))
}

// ---- The first process ----

/// Leaves children of children behind, which say so and end when the input does, and becomes a program that waits for
/// nobody and handles no signal.
fn careless(orphans: u64) -> String {
    format!(
        "exec 3<&0; i=0; while [ $i -lt {orphans} ]; do ( (read -r end <&3; echo ended) & ); i=$((i+1)); done
         echo serving; exec sleep 1000"
    )
}

async fn stop(lab: &Lab, p: &Params, image: &Image) -> Result<Stop> {
    lab.step("Start a service as first process, and below an init; let it leave orphans that end");
    let service = || p.pids.of(Config::new(image, careless(p.orphans)));
    let mut bare = lab.container("service", service()).await?;
    let mut init = lab.container("init", service().init()).await?;
    let serving = |line: &str| (line == "serving").then_some(());
    bare.process.line(Duration::from_secs(10), serving).await?;
    init.process.line(Duration::from_secs(10), serving).await?;
    // As long as it is a shell, it waits for children that have ended.
    until(|| bare.program().as_deref() == Some("sleep")).await;
    bare.process.close_stdin();
    init.process.close_stdin();
    let orphans = usize::try_from(p.orphans)?;
    let ended = |it: &Container| it.process.lines().iter().filter(|line| *line == "ended").count();
    // Where any of these never comes, the counts say so; on the host, orphans go to another parent.
    until(|| ended(&bare).min(ended(&init)) == orphans).await;
    until(|| bare.zombies() == orphans || p.pids == Pids::Host).await;
    until(|| init.children().len() <= 1).await;
    let mut seen = Stop {
        ended: ended(&bare) + ended(&init),
        bare_zombies: bare.zombies(),
        init_zombies: init.zombies(),
        ..Stop::default()
    };

    lab.step("Send SIGTERM to both first processes");
    for container in [&bare, &init] {
        seen.signalled += usize::from(container.is_untouched());
        container.signal(Signal::SIGTERM)?;
    }
    seen.init_exit = init.wait(Duration::from_secs(5)).await.ok().map(Exit::shell_code);
    // The other was sent its signal before: had it any effect, it would show by now.
    seen.bare_lives = bare.is_untouched();
    Ok(seen)
}

/// Waits for a state that can only be looked for, ten seconds at most.
async fn until(mut state: impl FnMut() -> bool) {
    let looks = async {
        while !state() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), looks).await;
}
