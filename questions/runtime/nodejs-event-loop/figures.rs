//! What is drawn.

use super::*;

pub fn all(p: &Params, seen: &Observed) -> Vec<Figure> {
    vec![orders(p, seen), timeline(seen), loop_table(seen), pool(seen), random(seen)]
}

/// A row for each order that was seen, with the number of runs that showed it.
fn orders(p: &Params, seen: &Observed) -> Figure {
    let mut drawn = Matrix { columns: (1..=6).map(|place| place.to_string()).collect(), ..Matrix::default() };
    let mut add = |name: &str, runs: &[Vec<String>]| {
        let mut counts = BTreeMap::<&[String], usize>::new();
        for order in runs {
            *counts.entry(order).or_default() += 1;
        }
        for (order, count) in counts {
            drawn.rows.push(format!("{name}, {count} of {}", runs.len()));
            drawn
                .cells
                .push(order.iter().map(|label| Cell { text: label.clone(), tone: tone(label) }).collect());
        }
    };
    add(p.program.word(), &seen.chosen);
    if p.program != Place::CommonJs {
        add(Place::CommonJs.word(), &seen.commonjs);
    }
    if p.program != Place::Module {
        add(Place::Module.word(), &seen.module);
    }
    let caption = "The same lines, once a process: the synchronous code, the ticks and the promises have their places, \
                   which depend on the module; where the immediate and the timeout fall depends on where they were set.";
    Figure::new("orders", caption, drawn)
}

fn tone(label: &str) -> Tone {
    match label {
        "immediate" => Tone::Accent,
        "timeout" => Tone::Plain,
        _ => Tone::Soft,
    }
}

/// Milliseconds since each /work began.
fn timeline(seen: &Observed) -> Figure {
    let mut drawn = Timeline { unit: "ms".into(), ..Timeline::default() };
    for (form, work) in seen.forms() {
        let since = |at_us: u64| at_us.saturating_sub(work.began_us) as f64 / 1000.0;
        drawn.lanes.push(Lane {
            name: format!("/work, {form}"),
            spans: vec![Span { to: since(work.ended_us), label: "computing".into(), ..Span::default() }],
            moments: Vec::new(),
        });
        let answered = |ping: &Ping| {
            let tone = if ping.answer < work.answer { Tone::Accent } else { Tone::Refuted };
            Moment { at: since(ping.answered_us), label: String::new(), tone }
        };
        drawn.lanes.push(Lane {
            name: "answers to /ping".into(),
            spans: Vec::new(),
            moments: work.meanwhile().map(answered).collect(),
        });
    }
    let caption = "A ping was sent every 10 ms while /work computed. Behind the blocking form all answers come at once \
                   when it is over (crosses); between pieces, and beside a worker, they come as they are asked for.";
    Figure::new("who waits for whom", caption, drawn)
}

fn loop_table(seen: &Observed) -> Figure {
    let columns = ["form", "longest delay (ms)", "1 ms timer fired", "pings answered first", "loop utilised"];
    let row = |(form, work): (&str, &Work)| {
        vec![
            form.to_owned(),
            format!("{:.1}", work.longest_delay_ms),
            work.timer.to_string(),
            format!("{} of {}", work.overtaken_by(), work.meanwhile().count()),
            format!("{:.0} %", work.utilisation * 100.0),
        ]
    };
    let drawn = Table { columns: columns.map(str::to_owned).into(), rows: seen.forms().map(row).into() };
    let caption = "What the server saw of itself during one /work. The delay tells blocking from pieces, which the \
                   utilisation doesn't; the utilisation tells pieces from a worker.";
    Figure::new("what the loop noticed", caption, drawn)
}

fn pool(seen: &Observed) -> Figure {
    let places = ["first", "second", "third", "fourth", "fifth", "sixth"];
    let mut drawn = Matrix { columns: places.map(str::to_owned).into(), ..Matrix::default() };
    for pool in &seen.pools {
        for (round, finished) in pool.rounds.iter().enumerate() {
            drawn.rows.push(format!("{} threads, round {}", pool.threads, round + 1));
            drawn.cells.push(
                finished.iter().map(|what| Cell { text: what.clone(), tone: pool_tone(what) }).collect(),
            );
        }
    }
    let caption = "What was done first. With four threads the file's status waits until a hash gives its thread back; \
                   the echo waits for none.";
    Figure::new("the pool", caption, drawn)
}

fn pool_tone(what: &str) -> Tone {
    match what {
        "stat" => Tone::Accent,
        "echo" => Tone::Plain,
        _ => Tone::Soft,
    }
}

fn random(seen: &Observed) -> Figure {
    let columns = ["program, begun in an I/O callback", "orders allowed", "orders seen"];
    let row = |it: &Random| {
        let seen: BTreeSet<&str> = it.seen.iter().map(String::as_str).collect();
        vec![
            it.program.clone(),
            it.allowed.len().to_string(),
            seen.into_iter().collect::<Vec<_>>().join(", "),
        ]
    };
    let drawn =
        Table { columns: columns.map(str::to_owned).into(), rows: seen.random.iter().map(row).collect() };
    let caption = "Each letter is logged when its body runs. Where the four rules allow one order only, every run shows \
                   it; where timers race with immediates, they allow several.";
    Figure::new("random programs", caption, drawn)
}
