//! What is drawn.

use super::*;

pub fn all(p: &Params, seen: &Observed) -> Vec<Figure> {
    let mut figures = vec![cache(&seen.builds), layers(&seen.key), views(seen)];
    figures.extend(seen.memory.iter().map(|memory| over_the_limit(p, memory)));
    figures.push(first_processes(p, &seen.stop));
    figures
}

/// A row for each build, a column for each step; the steps have their own place in each order.
fn cache(builds: &Builds) -> Figure {
    let mut drawn =
        Matrix { columns: (1..=4).map(|step| format!("step {step}")).collect(), ..Matrix::default() };
    let orders = [("dependencies first", &builds.dependencies_first), ("source first", &builds.source_first)];
    for (order, it) in orders {
        let builds = [("at first", &it.first), ("unchanged", &it.unchanged), ("source changed", &it.changed)];
        for (when, ran) in builds {
            drawn.rows.push(format!("{order}, {when}"));
            let cell = |step: &String| {
                if ran.contains(step) {
                    Cell { text: step.replace("dependencies", "deps"), tone: Tone::Accent }
                } else {
                    Cell { text: "cached".into(), tone: Tone::Soft }
                }
            };
            drawn.cells.push(it.first.iter().map(cell).collect());
        }
    }
    let caption = "Which steps ran. The same four in two orders: a changed source makes every step after its copy run again.";
    Figure::new("the build cache", caption, drawn)
}

fn layers(key: &Key) -> Figure {
    let columns = ["image", "layer", "KiB", "key in its archive"];
    let ways =
        [("copied, deleted", &key.deleted), ("multi-stage", &key.multi_stage), ("mounted", &key.mounted)];
    let rows = ways.iter().flat_map(|(way, image)| {
        image.layers.iter().rev().map(move |(name, bytes, holds)| {
            let found = if *holds { "yes" } else { "no" };
            vec![(*way).to_owned(), name.clone(), format!("{:.1}", *bytes as f64 / 1024.0), found.to_owned()]
        })
    });
    let drawn = Table { columns: columns.map(str::to_owned).into(), rows: rows.collect() };
    let caption = "The layers of three images, the topmost first. No container of any of them finds the key; the archives \
                   of the first have it.";
    Figure::new("the key in the layers", caption, drawn)
}

fn views(seen: &Observed) -> Figure {
    let views = [&seen.blue, &seen.green, &seen.outside];
    let mut drawn = Table {
        columns: ["", "in blue", "in green", "outside"].map(str::to_owned).into(),
        ..Table::default()
    };
    let mut row = |what: &str, of: &dyn Fn(&View) -> String| {
        drawn.rows.push(std::iter::once(what.to_owned()).chain(views.iter().map(|&view| of(view))).collect());
    };
    row("own PID", &|view| view.pid.to_string());
    row("PID seen from outside", &|view| view.pid_outside.to_string());
    row("processes in /proc", &|view| view.processes.to_string());
    row("host name", &|view| view.host_name.clone());
    row("user id", &|view| view.uid.to_string());
    row("user id seen from outside", &|view| view.uid_outside.to_string());
    row("network devices", &|view| view.networks.clone());
    row("kernel", &|view| view.kernel.clone());
    row("boot id", &|view| view.boot.chars().take(8).collect());
    let caption = "What the first process of each container sees, beside what Backlab's own process sees. Only the last \
                   two rows are one for all: there is one kernel.";
    Figure::new("inside and outside", caption, drawn)
}

fn over_the_limit(p: &Params, memory: &Memory) -> Figure {
    let line = |name: &str, tone, of: fn(&(f64, f64, f64)) -> f64| Series {
        name: name.to_owned(),
        points: memory.samples.iter().map(|it| (it.0, of(it))).collect(),
        tone,
    };
    let end = memory.samples.last().map_or(0.0, |it| it.0);
    let drawn = Lines {
        x: Axis { label: "ms".into(), log: false },
        y: Axis { label: "MiB in use".into(), log: false },
        series: vec![line("hoarder", Tone::Accent, |it| it.1), line("neighbour", Tone::Plain, |it| it.2)],
        marks: vec![Mark { at: end, label: "killed".into() }],
    };
    let caption = format!(
        "Both may have {} MiB. One takes more and more until the kernel kills it; the other doesn't notice.",
        p.memory_limit_mb
    );
    Figure::new("memory", caption, drawn)
}

fn first_processes(p: &Params, stop: &Stop) -> Figure {
    let lives = if stop.bare_lives { "ignored" } else { "ended it" };
    let init = stop.init_exit.map_or("ignored".to_owned(), |code| format!("ended with {code}"));
    let row =
        |first: &str, signal: String, zombies: usize| vec![first.to_owned(), signal, zombies.to_string()];
    let zombies = format!("zombies of {} orphans", p.orphans);
    let drawn = Table {
        columns: vec!["first process".into(), "SIGTERM".into(), zombies],
        rows: vec![
            row("the service", lives.to_owned(), stop.bare_zombies),
            row("an init above it", init, stop.init_zombies),
        ],
    };
    let caption = "The same service, once as the first process of its container and once below a small init.";
    Figure::new("the first process", caption, drawn)
}
