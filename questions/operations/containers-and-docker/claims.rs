//! What the answer says about images, containers and their first process.

use super::*;

pub fn all(p: &Params, seen: &Observed) -> Vec<Claim> {
    let mut claims = image_claims(seen);
    claims.extend(container_claims(seen));
    claims.extend(limit_claims(p, seen));
    claims
}

fn image_claims(seen: &Observed) -> Vec<Claim> {
    let (builds, key) = (&seen.builds, &seen.key);
    let (good, bad) = (&builds.dependencies_first, &builds.source_first);
    let ran = |steps: &[String]| if steps.is_empty() { "nothing".to_owned() } else { steps.join(", ") };
    let took = format!("{} and {} steps ran at first", good.first.len(), bad.first.len());
    let built = good.first.len() == 4 && bad.first.len() == 4;
    vec![
        claim(
            "order-decides",
            "After a change of the source, dependencies first runs the steps of the source only; source first installs again",
            "a step is looked up by its text alone, whatever lies below it",
        )
        .witness(built, &took)
        .equal(
            format!("{}; {}", ran(&good.changed), ran(&bad.changed)),
            "copy source, compile; copy source, copy dependencies, install, compile".to_owned(),
        ),
        claim("unchanged-runs-nothing", "With nothing changed no step runs", "results of steps aren't kept")
            .witness(built, &took)
            .equal(format!("{}; {}", ran(&good.unchanged), ran(&bad.unchanged)), "nothing; nothing".to_owned()),
        claim(
            "equal-content-equal-digest",
            "Built again from nothing, every layer has the same digest",
            "the archive records when each file was written",
        )
        .witness(builds.digests[0].len() > 1, format!("{} layers built twice", builds.digests[0].len()))
        .that(
            builds.digests[0] == builds.digests[1],
            format_args!("{} of {} equal", same(&builds.digests), builds.digests[0].len()),
            "all equal",
        ),
        claim(
            "shared-layers-kept-once",
            "Two images that share layers are kept in fewer bytes than they have",
            "each image has its own copy of each layer",
        )
        .witness(builds.apart > 0, format!("{} KiB in two images", builds.apart / 1024))
        .that(
            builds.stored < builds.apart,
            format_args!("{} KiB", builds.stored / 1024),
            format_args!("less than {} KiB", builds.apart / 1024),
        ),
        claim(
            "deleted-key-stays",
            "A key that is copied in one step and deleted in a later one is in no container, and in a layer",
            "it is deleted in the step that fetched it",
        )
        .witness(key.deleted.used, "something was signed with it")
        .that(
            !key.deleted.merged && key.deleted.in_layers() > 0,
            place(&key.deleted),
            "not in a container, in a layer",
        ),
        claim(
            "key-kept-out",
            "A key used in another stage, or mounted while a step runs, is in no layer",
            "the stage's layers become layers of the image",
        )
        .witness(key.multi_stage.used && key.mounted.used, "something was signed with it each time")
        .equal(
            format!("{}; {}", place(&key.multi_stage), place(&key.mounted)),
            "not in a container, in no layer; not in a container, in no layer".to_owned(),
        ),
    ]
}

fn same(digests: &[Vec<String>; 2]) -> usize {
    digests[0].iter().zip(&digests[1]).filter(|(a, b)| a == b).count()
}

fn place(key: &Holding) -> String {
    let merged = if key.merged { "in a container" } else { "not in a container" };
    let layers = match key.in_layers() {
        0 => "in no layer".to_owned(),
        1 => "in 1 layer".to_owned(),
        many => format!("in {many} layers"),
    };
    format!("{merged}, {layers}")
}

fn container_claims(seen: &Observed) -> Vec<Claim> {
    let (blue, green, outside, notes) = (&seen.blue, &seen.green, &seen.outside, &seen.notes);
    let two = blue.pid_outside != green.pid_outside && blue.pid_outside > 0;
    let started = format!("processes {} and {} of the machine", blue.pid_outside, green.pid_outside);
    let view = |it: &View| format!("PID {} of {}, \"{}\"", it.pid, it.processes, it.host_name);
    let kernel = |it: &View| format!("{}, boot {}", it.kernel, it.boot.chars().take(8).collect::<String>());
    vec![
        claim(
            "own-view",
            "Inside, the first process has PID 1, sees only its own processes, and another host name",
            "it shares the PID namespace of the host",
        )
        .witness(two, &started)
        .that(
            [blue, green]
                .iter()
                .all(|it| it.pid == 1 && it.processes == 1 && it.host_name != outside.host_name),
            view(blue),
            format_args!("PID 1 of 1, not \"{}\"", outside.host_name),
        ),
        claim(
            "root-inside",
            "Its user is 0 inside, and outside whoever started it",
            "no user is mapped into its user namespace",
        )
        .witness(two, &started)
        .equal(
            format!("{} inside, {} outside", blue.uid, blue.uid_outside),
            format!("0 inside, {} outside", outside.uid),
        ),
        claim(
            "no-network",
            "Without more it has a loopback device and no other",
            "it shares the host's network",
        )
        .witness(two, &started)
        .equal(blue.networks.as_str(), "lo"),
        claim(
            "same-kernel",
            "The kernel, and when it was booted, are the host's",
            "the container is a virtual machine",
        )
        .witness(two, &started)
        .that(
            [blue, green].iter().all(|it| (&it.kernel, &it.boot) == (&outside.kernel, &outside.boot)),
            kernel(blue),
            kernel(outside),
        ),
        claim(
            "writes-stay-inside",
            "A file written in one container is neither in another nor in a later one",
            "they write to a volume that all of them mount",
        )
        .witness(notes.in_blue, "the writer reads it back")
        .equal(
            format!("in the other: {}, in a later one: {}", notes.in_green, notes.in_a_later_one),
            "in the other: false, in a later one: false".to_owned(),
        ),
    ]
}

fn limit_claims(p: &Params, seen: &Observed) -> Vec<Claim> {
    let stop = &seen.stop;
    let exit = |code: Option<i32>| code.map_or("still runs".to_owned(), |code| format!("ends with {code}"));
    let lives = if stop.bare_lives { "lives on" } else { "is gone" };
    let killed = claim(
        "killed-at-limit",
        format!("Over {} MiB the kernel kills the container, and its neighbour goes on", p.memory_limit_mb),
        "memory isn't limited, or one limit holds for both",
    );
    let expected = "exit code 137, 1 killed, the neighbour answers";
    let killed = match &seen.memory {
        Err(why) => killed.witness(false, why).that(false, "not tried", expected),
        Ok(memory) => {
            let answers = if memory.neighbour_answers { "answers" } else { "is silent" };
            killed.witness(memory.held > 0, format!("it held {} MiB in the end", memory.held)).equal(
                format!("exit code {}, {} killed, the neighbour {answers}", memory.exit, memory.killed),
                expected.to_owned(),
            )
        }
    };
    vec![
        killed,
        claim(
            "first-process-ignores-term",
            "SIGTERM does nothing to a first process without a handler, and ends one below an init",
            "the service isn't PID 1",
        )
        .witness(stop.signalled == 2, format!("SIGTERM sent to {} running first processes", stop.signalled))
        .equal(format!("{lives}; {}", exit(stop.init_exit)), "lives on; ends with 143".to_owned()),
        claim(
            "zombies-stay",
            "Orphans that end stay as zombies where the first process doesn't wait for them; an init does",
            "orphans have another parent to go to",
        )
        .witness(stop.ended > 0, format!("{} orphans of both ended", stop.ended))
        .equal(
            format!("{} zombies; {} below an init", stop.bare_zombies, stop.init_zombies),
            format!("{} zombies; 0 below an init", p.orphans),
        ),
    ]
}

/// What broken systems would show.
pub fn counterexamples(p: &Params) -> Vec<Observed> {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let four = names(&["copy dependencies", "install", "copy source", "compile"]);
    // A cache that looks at the text of a step only, and forgets it; archives with times; a store that shares nothing.
    let rebuilds =
        Rebuilds { first: four.clone(), unchanged: four.clone(), changed: names(&["copy source"]) };
    let holds = Holding { layers: vec![("base".into(), 10, true)], merged: true, used: true };
    let host = View {
        pid: 4711,
        pid_outside: 4711,
        processes: 90,
        host_name: "host".into(),
        uid: 1000,
        uid_outside: 1000,
        networks: "lo eth0".into(),
        kernel: "6.1".into(),
        boot: "b".into(),
    };
    let other = View { pid_outside: 4712, kernel: "5.10".into(), boot: "c".into(), ..host.clone() };
    vec![Observed {
        builds: Builds {
            dependencies_first: rebuilds.clone(),
            source_first: rebuilds,
            digests: [names(&["a", "b"]), names(&["a", "c"])],
            apart: 2048,
            stored: 2048,
        },
        key: Key { deleted: holds.clone(), multi_stage: holds.clone(), mounted: holds },
        blue: host.clone(),
        green: other,
        outside: View { pid_outside: 1, uid: 0, ..host },
        notes: Found { in_blue: true, in_green: true, in_a_later_one: false },
        memory: Ok(Memory { held: p.memory_limit_mb * 2, exit: 0, ..Memory::default() }),
        stop: Stop {
            ended: 6,
            signalled: 2,
            bare_lives: false,
            bare_zombies: 0,
            init_exit: Some(137),
            init_zombies: 3,
        },
    }]
}
