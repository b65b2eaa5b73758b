//! All orders in which the steps of some readers and writers can come. Each order is carried out from the same start, and
//! ends with a cache that agrees with the database, has nothing, or has something old.

use super::{Build, Observed, Params, Protocol, Start};
use crate::prelude::*;

/// Orders that the deck shows.
const SHOWN: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Step {
    Look,
    Read,
    Fill,
    Write,
    Delete,
    Set,
}

/// With cache-aside a reader that finds nothing fetches it, and leaves it in the cache.
const READER: &[Step] = &[Step::Look, Step::Read, Step::Fill];

impl Protocol {
    fn steps(self) -> &'static [Step] {
        match self {
            Self::DeleteFirst => &[Step::Delete, Step::Write],
            Self::WriteFirst | Self::Leases => &[Step::Write, Step::Delete],
            Self::Set => &[Step::Write, Step::Set],
            Self::Twice => &[Step::Delete, Step::Write, Step::Delete],
        }
    }
}

/// What the database and the cache have, and how far everybody is.
#[derive(Clone)]
struct World {
    /// The value in the database, and what the cache has of it. It is 0 at first; writer n writes n.
    database: u64,
    cache: Option<u64>,
    /// How often the entry was deleted: a lease is good for a fill only as long as this stands.
    deleted: u64,
    compares_leases: bool,
    actors: Vec<Actor>,
}

#[derive(Clone)]
struct Actor {
    steps: &'static [Step],
    done: usize,
    /// What a writer writes.
    value: u64,
    /// What a reader has: whether it missed, with which lease, and what it read.
    missed: bool,
    lease: u64,
    read: u64,
}

impl World {
    fn new(protocol: Protocol, readers: u64, writers: u64, start: Start, build: Build) -> Self {
        let actor = |steps, value| Actor { steps, done: 0, value, missed: false, lease: 0, read: 0 };
        let readers = (0..readers).map(|_| actor(READER, 0));
        let writers = (1..=writers).map(|value| actor(protocol.steps(), value));
        Self {
            database: 0,
            cache: (start == Start::Warm).then_some(0),
            deleted: 0,
            compares_leases: protocol == Protocol::Leases && build != Build::TakesAnyFill,
            actors: readers.chain(writers).collect(),
        }
    }

    /// Lets one actor take its next step, and says which that was and how it went.
    fn take(&mut self, who: usize) -> Taken {
        let me = &mut self.actors[who];
        let step = me.steps[me.done];
        me.done += 1;
        let mut value = me.value;
        let mut idle = false;
        match step {
            Step::Look => {
                (me.missed, me.lease) = (self.cache.is_none(), self.deleted);
                value = self.cache.unwrap_or(0);
            }
            // A reader that has found it is done.
            Step::Read | Step::Fill if !me.missed => idle = true,
            Step::Read => {
                me.read = self.database;
                value = me.read;
            }
            Step::Fill => {
                value = me.read;
                idle = self.compares_leases && me.lease != self.deleted;
                if !idle {
                    self.cache = Some(me.read);
                }
            }
            Step::Write => self.database = value,
            Step::Set => self.cache = Some(value),
            Step::Delete => {
                self.cache = None;
                self.deleted += 1;
            }
        }
        Taken { who, step, value, missed: self.actors[who].missed, idle }
    }

    fn is_stale(&self) -> bool {
        self.cache.is_some_and(|it| it != self.database)
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Taken {
    who: usize,
    step: Step,
    value: u64,
    missed: bool,
    /// Nothing came of it.
    idle: bool,
}

/// What came of all orders of one protocol.
#[derive(Debug, Clone, Serialize)]
pub struct Tried {
    pub protocol: Protocol,
    pub readers: u64,
    pub writers: u64,
    pub start: Start,
    pub orders: u64,
    /// Orders after which the cache has something old, has nothing, or has what the database has.
    pub stale: u64,
    pub empty: u64,
    pub equal: u64,
    /// The first orders, stale ones before others.
    pub shown: Vec<Order>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Order {
    pub stale: bool,
    pub left: Option<u64>,
    pub steps: Vec<Taken>,
}

pub fn tried(protocol: Protocol, readers: u64, writers: u64, start: Start, build: Build) -> Tried {
    let mut tried = Tried {
        protocol,
        readers,
        writers,
        start,
        orders: 0,
        stale: 0,
        empty: 0,
        equal: 0,
        shown: Vec::new(),
    };
    let world = World::new(protocol, readers, writers, start, build);
    go_on(&world, &mut Vec::new(), &mut tried);
    tried.shown.sort_by_key(|order| !order.stale);
    tried.shown.truncate(SHOWN);
    tried
}

/// Lets each actor that has a step left take it, in a world of its own, until nobody has one.
fn go_on(world: &World, so_far: &mut Vec<Taken>, tried: &mut Tried) {
    let mut ended = true;
    for who in 0..world.actors.len() {
        if world.actors[who].done == world.actors[who].steps.len() {
            continue;
        }
        ended = false;
        let mut next = world.clone();
        so_far.push(next.take(who));
        go_on(&next, so_far, tried);
        so_far.pop();
    }
    if !ended {
        return;
    }
    let stale = world.is_stale();
    tried.orders += 1;
    match world.cache {
        _ if stale => tried.stale += 1,
        None => tried.empty += 1,
        Some(_) => tried.equal += 1,
    }
    let enough = tried.shown.iter().filter(|it| it.stale == stale).count() >= SHOWN;
    if !enough {
        tried.shown.push(Order { stale, left: world.cache, steps: so_far.clone() });
    }
}

/// How many orders there are, by the multinomial coefficient.
pub fn count(protocol: Protocol, readers: u64, writers: u64) -> u64 {
    let factorial = |n: u64| (1..=n).product::<u64>();
    let each = protocol.steps().len() as u64;
    let all = factorial(3 * readers + each * writers);
    (0..readers).fold(all, |left, _| left / factorial(3)) / factorial(each).pow(writers as u32)
}

impl Tried {
    fn words(&self) -> String {
        format!("{} of {}", self.stale, self.orders)
    }

    /// The first stale order, in words.
    fn first(&self) -> String {
        let Some(order) = self.shown.iter().find(|it| it.stale) else { return "none".to_owned() };
        order.steps.iter().map(|it| it.step.word()).collect::<Vec<_>>().join(", ")
    }
}

impl Step {
    fn word(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Read => "read",
            Self::Fill => "fill",
            Self::Write => "WRITE",
            Self::Delete => "DELETE",
            Self::Set => "SET",
        }
    }
}

pub fn claims(seen: &Observed) -> Vec<Claim> {
    let of = |protocol, writers, start| seen.of(protocol, writers, start);
    let all =
        |tried: &[&Tried]| tried.iter().all(|it| it.orders == count(it.protocol, it.readers, it.writers));
    let orders = |tried: &[&Tried]| tried.iter().map(|it| it.orders).sum::<u64>();
    let ran = |id, says, breaks_when, tried: &[&Tried]| {
        claim(id, says, breaks_when)
            .witness(all(tried), format!("all {} orders were carried out", orders(tried)))
    };
    let both = |protocol, writers| [of(protocol, writers, Start::Empty), of(protocol, writers, Start::Warm)];
    let words = |[empty, warm]: [&Tried; 2]| {
        format!("{} from an empty cache, {} from a warm one", empty.words(), warm.words())
    };
    let some = |pair: [&Tried; 2]| pair.iter().all(|it| it.stale > 0);

    let (first, last) = (both(Protocol::DeleteFirst, 1), both(Protocol::WriteFirst, 1));
    let two = both(Protocol::WriteFirst, 2);
    let (set, twice) = (both(Protocol::Set, 2), both(Protocol::Twice, 1));
    let leases: Vec<&Tried> = seen.leases.iter().collect();
    let stale: u64 = leases.iter().map(|it| it.stale).sum();
    vec![
        ran(
            "delete-first",
            "With delete before write, most orders leave the old value in an empty cache, and some in a warm one",
            "a reader can't come between the two",
            &first,
        )
        .equal(words(first), "6 of 10 from an empty cache, 2 of 10 from a warm one".to_owned()),
        ran(
            "write-first",
            "With write before delete one order is left: a reader that read before the write and fills after the delete",
            "the cache had the entry when the reader looked",
            &last,
        )
        .equal(
            format!("{}: {}", words(last), last[0].first()),
            "1 of 10 from an empty cache, 0 of 10 from a warm one: look, read, WRITE, DELETE, fill".to_owned(),
        ),
        ran(
            "warm-not-safe",
            "With two writers a warm cache doesn't help either: one's delete makes the gap for the other's",
            "there is only one writer",
            &two,
        )
        .that(two[1].stale > 0, two[1].words(), "more than 0"),
        ran(
            "set-crosses",
            "Two writers who set the entry instead of deleting it can leave the cache with one's value and the database with \
             the other's, from a warm cache too",
            "writers take turns",
            &set,
        )
        .that(some(set), words(set), "more than 0 of each"),
        ran(
            "twice-not-enough",
            "Deleting before and after the write doesn't close the gap",
            "the second delete comes after every fill that is under way",
            &twice,
        )
        .that(some(twice), words(twice), "more than 0 of each"),
        ran(
            "leases-none",
            "With leases no order is left, for up to two readers and two writers, from an empty cache or a warm one",
            "a fill is taken without comparing its lease",
            &leases,
        )
        .equal(format!("{stale} of {}", orders(&leases)), format!("0 of {}", orders(&leases))),
    ]
}

/// All orders, dealt face up; of very many the first, stale ones before others.
pub fn deck(p: &Params, tried: &Tried) -> Figure {
    let several = p.readers + p.writers > 2;
    let name = |it: &Taken| match it.step {
        Step::Look | Step::Read | Step::Fill if several => format!("{} R{}", it.step.word(), it.who + 1),
        Step::Look | Step::Read | Step::Fill => it.step.word().to_owned(),
        _ if several => format!("{} W{}", it.step.word(), it.who as u64 + 1 - p.readers),
        _ => it.step.word().to_owned(),
    };
    let row = |order: &Order| {
        let tone = |it: &Taken| match it.step {
            Step::Fill if order.stale && !it.idle => Tone::Refuted,
            _ if it.idle => Tone::Soft,
            Step::Write | Step::Delete | Step::Set => Tone::Accent,
            _ => Tone::Plain,
        };
        let mut cells: Vec<_> =
            order.steps.iter().map(|it| Cell { text: name(it), tone: tone(it) }).collect();
        let (text, tone) = match (order.stale, order.left) {
            (true, _) => ("old", Tone::Refuted),
            (false, None) => ("empty", Tone::Soft),
            (false, Some(_)) => ("right", Tone::Plain),
        };
        cells.push(Cell { text: text.into(), tone });
        cells
    };
    let steps = tried.shown.first().map_or(0, |it| it.steps.len());
    let matrix = Matrix {
        rows: (1..=tried.shown.len()).map(|n| n.to_string()).collect(),
        columns: (1..=steps).map(|n| n.to_string()).chain(["left".to_owned()]).collect(),
        cells: tried.shown.iter().map(row).collect(),
    };
    let all = match tried.orders as usize > tried.shown.len() {
        true => format!(
            "The first {} of {} orders, those that end badly before others",
            tried.shown.len(),
            tried.orders
        ),
        false => format!("All {} orders in which the steps can come", tried.orders),
    };
    let caption = format!(
        "{all}, a row each, and what each leaves in the cache. Small letters are a reader's steps, capitals a writer's; a \
         soft step is one of which nothing came."
    );
    Figure::new("deck", caption, matrix)
}

pub fn matrix(all: &[Tried]) -> Figure {
    let cell = |it: &Tried| {
        let tone = if it.stale > 0 { Tone::Refuted } else { Tone::Accent };
        Cell { text: format!("{}/{}", it.stale, it.orders), tone }
    };
    let rows: Vec<_> = Protocol::ALL
        .iter()
        .map(|(protocol, name)| (name, all.iter().filter(|it| it.protocol == *protocol)))
        .collect();
    let matrix = Matrix {
        rows: rows.iter().map(|(name, _)| name.replace(", with leases", ", leases")).collect(),
        columns: ["1 writer, empty", "1, warm", "2 writers, empty", "2, warm"].map(str::to_owned).into(),
        cells: rows.into_iter().map(|(_, tried)| tried.map(cell).collect()).collect(),
    };
    Figure::new(
        "protocols",
        "Orders that end with something old in the cache, of all orders, for one reader and one writer or two. Only leases \
         leave none.",
        matrix,
    )
}

/// The first order that ends badly.
pub fn sequence(tried: &Tried) -> Option<Figure> {
    let order = tried.shown.iter().find(|it| it.stale)?;
    let mut sequence = Sequence::default();
    let (cache, database) = {
        sequence.lane("reader");
        let cache = sequence.lane("cache");
        (cache, sequence.lane("database"))
    };
    for it in order.steps.iter().filter(|it| !it.idle) {
        let reader = matches!(it.step, Step::Look | Step::Read | Step::Fill);
        let name = match (reader, it.who as u64) {
            (true, 0) => "reader".to_owned(),
            (true, n) => format!("reader {}", n + 1),
            (false, n) if tried.writers == 1 || n == tried.readers => "writer".to_owned(),
            (false, n) => format!("writer {}", n + 1 - tried.readers),
        };
        let from = sequence.lane(&name);
        let (to, label) = match it.step {
            Step::Look if it.missed => (cache, "look: nothing".to_owned()),
            Step::Look => (cache, format!("look: {}", it.value)),
            Step::Read => (database, format!("read: {}", it.value)),
            Step::Fill => (cache, format!("fill: {}", it.value)),
            Step::Write => (database, format!("write: {}", it.value)),
            Step::Delete => (cache, "delete".to_owned()),
            Step::Set => (cache, format!("set: {}", it.value)),
        };
        let tone = if matches!(it.step, Step::Fill | Step::Set) { Tone::Refuted } else { Tone::Plain };
        sequence.rows.push(SequenceRow::Message { from, to, label, lost: false, tone });
    }
    let label = format!("keeps {}", order.left.unwrap_or(0));
    sequence.rows.push(SequenceRow::Note { at: cache, label, tone: Tone::Refuted });
    let caption = format!(
        "The first order that ends badly: {}. Everybody did what they should, and nobody will notice.",
        tried.first()
    );
    Some(Figure::new("the fatal order", caption, sequence))
}
