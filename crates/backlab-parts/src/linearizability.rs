//! Is there an order that explains this history?
//!
//! A history is linearizable if its operations can be put into one order, such that each gives the answer that a single
//! copy of the object would give, and an operation that was answered before another was called comes before it
//! (Herlihy and Wing, TOPLAS 12(3), 1990). [`check`] looks for such an order by the search of Wing and Gong (Journal of
//! Parallel and Distributed Computing 17, 1993), and remembers each pair of operations done and state reached, so that
//! it goes into none twice (Lowe, Concurrency and Computation 29(4), 2017). The question is NP-complete, so the search
//! has a limit; a history that exceeds it is [`Verdict::Unknown`], which is never "explained".

use serde::Serialize;
use std::collections::HashSet;
use std::hash::Hash;

/// An object as it is when only one operation at a time is done on it: the state of its single copy.
pub trait Model: Clone + Eq + Hash {
    type Op;
    type Answer;

    /// The state after an operation, or `None` if this isn't the answer that it gets in this state. Without an answer,
    /// nobody has seen one, and any is right.
    fn apply(&self, op: &Self::Op, answer: Option<&Self::Answer>) -> Option<Self>;

    /// Whether `other` must be taken out of a history together with `gone`, since it may owe its answer to it. What is
    /// left of an explained history must be explained: [`smallest_unexplained`] rests on that, and so does [`check`],
    /// which takes out the operations without an answer to which nobody owes one.
    fn goes_with(gone: &Operation<Self>, other: &Operation<Self>) -> bool;
}

/// What a client asked of the object, and what it got.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(bound = "M::Op: Serialize, M::Answer: Serialize")]
pub struct Operation<M: Model> {
    pub client: usize,
    pub op: M::Op,
    pub called_us: u64,
    /// When the answer came, and which. `None` if the client never got one: the operation may then take effect at any
    /// time after the call, or never.
    pub answered: Option<(u64, M::Answer)>,
}

/// What the checker says of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Doing these operations in this order (as indices into the history) explains all answers.
    Explained(Vec<usize>),
    /// No order does.
    Rejected,
    /// The limit of the search came first.
    Unknown,
}

/// Looks for an order that explains the history of an object that was in the state `start`; gives up after `limit`
/// states.
pub fn check<M: Model>(start: &M, history: &[Operation<M>], limit: usize) -> Verdict {
    Search::new(history, &Vec::from_iter(0..history.len())).run(start, limit)
}

/// Of a rejected history, operations that no order explains, whatever else happened: each of them is needed for that,
/// as without it (and without those that [go with it](Model::goes_with)) some order does. Empty if the history isn't
/// rejected within `limit` states.
pub fn smallest_unexplained<M: Model>(start: &M, history: &[Operation<M>], limit: usize) -> Vec<usize> {
    let rejected = |kept: &[usize]| Search::new(history, kept).run(start, limit) == Verdict::Rejected;
    let mut kept = Vec::from_iter(0..history.len());
    if !rejected(&kept) {
        return Vec::new();
    }
    loop {
        let before = kept.len();
        for gone in 0..history.len() {
            let stays = |&i: &usize| i != gone && !M::goes_with(&history[gone], &history[i]);
            let fewer = Vec::from_iter(kept.iter().copied().filter(stays));
            if kept.contains(&gone) && rejected(&fewer) {
                kept = fewer;
            }
        }
        if kept.len() == before {
            return kept;
        }
    }
}

/// A search over one history for an order of some of its operations.
struct Search<'a, M: Model> {
    history: &'a [Operation<M>],
    /// Indices of those with an answer, by call.
    answered: Vec<usize>,
    /// Indices of those without that somebody may have noticed, by call.
    unanswered: Vec<usize>,
    /// One bit for each operation of the history that the order has by now.
    done: Box<[u64]>,
    /// Of `answered`, all before this place are done.
    first_open: usize,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(history: &'a [Operation<M>], members: &[usize]) -> Self {
        let mut by_call = members.to_vec();
        by_call.sort_by_key(|&i| history[i].called_us);
        let (answered, mut unanswered): (Vec<_>, Vec<_>) =
            by_call.iter().partition(|&&i| history[i].answered.is_some());
        unanswered.retain(|&i| by_call.iter().any(|&other| M::goes_with(&history[i], &history[other])));
        let done = vec![0; history.len().div_ceil(64)].into_boxed_slice();
        Self { history, answered, unanswered, done, first_open: 0 }
    }

    /// Depth first: at each depth one operation more, out of those that could have been next.
    fn run(mut self, start: &M, limit: usize) -> Verdict {
        let mut seen = HashSet::new();
        let mut state = start.clone();
        let mut order: Vec<(usize, M)> = Vec::new();
        let mut left_to_try = vec![self.next()];
        while let Some(untried) = left_to_try.last_mut() {
            if self.first_open == self.answered.len() {
                return Verdict::Explained(order.into_iter().map(|(i, _)| i).collect());
            }
            let Some(i) = untried.pop() else {
                left_to_try.pop();
                if let Some((i, before)) = order.pop() {
                    self.set_done(i, false);
                    state = before;
                }
                continue;
            };
            let Operation { op, answered, .. } = &self.history[i];
            let Some(after) = state.apply(op, answered.as_ref().map(|(_, answer)| answer)) else { continue };
            self.set_done(i, true);
            if !seen.insert((self.done.clone(), after.clone())) {
                self.set_done(i, false);
                continue;
            }
            if seen.len() > limit {
                return Verdict::Unknown;
            }
            order.push((i, std::mem::replace(&mut state, after)));
            left_to_try.push(self.next());
        }
        Verdict::Rejected
    }

    /// The operations that could be next: those that were called before the first of the open ones got its answer. The
    /// last is tried first, so those without an answer are kept for when nothing else helps.
    fn next(&self) -> Vec<usize> {
        let mut first_answer_us = u64::MAX;
        let mut next = Vec::new();
        for &i in self.answered[self.first_open..].iter().filter(|&&i| !self.is_done(i)) {
            let Operation { called_us, answered: Some((answered_us, _)), .. } = &self.history[i] else {
                continue;
            };
            if *called_us > first_answer_us {
                break;
            }
            first_answer_us = first_answer_us.min(*answered_us);
            next.push(i);
        }
        let in_time = |i: &usize| self.history[*i].called_us <= first_answer_us;
        let unanswered = self.unanswered.iter().copied().filter(|&i| !self.is_done(i));
        unanswered.chain(next.into_iter().rev()).filter(in_time).collect()
    }

    fn is_done(&self, i: usize) -> bool {
        self.done[i / 64] & (1 << (i % 64)) != 0
    }

    fn set_done(&mut self, i: usize, done: bool) {
        self.done[i / 64] ^= 1 << (i % 64);
        if done {
            while self.answered.get(self.first_open).is_some_and(|&i| self.is_done(i)) {
                self.first_open += 1;
            }
        } else if let Some(place) = self.answered[..self.first_open].iter().rposition(|&it| it == i) {
            self.first_open = place;
        }
    }
}

/// A register: it holds the value that was written last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Register(pub u64);

/// What can be asked of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Answered with the value.
    Read,
    /// Answered with the value that was written.
    Write(u64),
}

impl Model for Register {
    type Op = Access;
    type Answer = u64;

    fn apply(&self, access: &Access, answer: Option<&u64>) -> Option<Self> {
        let after = match access {
            Access::Read => *self,
            Access::Write(value) => Self(*value),
        };
        answer.is_none_or(|&answer| answer == after.0).then_some(after)
    }

    /// Without a write, the reads of its value make no sense.
    fn goes_with(gone: &Operation<Self>, other: &Operation<Self>) -> bool {
        match (gone.op, other.op, other.answered) {
            (Access::Write(value), Access::Read, Some((_, read))) => value == read,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type History = Vec<Operation<Register>>;

    fn write(value: u64, called_us: u64, answered_us: u64) -> Operation<Register> {
        Operation { client: 0, op: Access::Write(value), called_us, answered: Some((answered_us, value)) }
    }

    fn read(value: u64, called_us: u64, answered_us: u64) -> Operation<Register> {
        Operation { client: 1, op: Access::Read, called_us, answered: Some((answered_us, value)) }
    }

    fn unanswered(op: &Operation<Register>) -> Operation<Register> {
        Operation { answered: None, ..*op }
    }

    fn verdict(history: &[Operation<Register>]) -> Verdict {
        check(&Register(0), history, 1000)
    }

    fn is_explained(history: &[Operation<Register>]) -> bool {
        matches!(verdict(history), Verdict::Explained(_))
    }

    #[test]
    fn a_read_sees_the_write_before_it() {
        assert_eq!(verdict(&[write(1, 0, 1), read(1, 2, 3)]), Verdict::Explained(vec![0, 1]));
        assert_eq!(verdict(&[write(1, 0, 1), read(0, 2, 3)]), Verdict::Rejected);
        assert_eq!(verdict(&[read(7, 0, 1)]), Verdict::Rejected, "nobody wrote it");
        assert_eq!(verdict(&[]), Verdict::Explained(vec![]));
    }

    #[test]
    fn a_read_beside_a_write_may_see_either_but_no_read_goes_back() {
        assert!(is_explained(&[write(1, 0, 9), read(0, 2, 3)]));
        assert!(is_explained(&[write(1, 0, 9), read(1, 2, 3)]));
        assert_eq!(
            verdict(&[write(1, 0, 9), read(0, 2, 3), read(1, 4, 5)]),
            Verdict::Explained(vec![1, 0, 2])
        );
        assert_eq!(verdict(&[write(1, 0, 9), read(1, 2, 3), read(0, 4, 5)]), Verdict::Rejected);
        assert!(is_explained(&[write(1, 0, 9), read(1, 2, 4), read(0, 4, 5)]), "at one instant is beside");
    }

    #[test]
    fn an_unanswered_write_takes_effect_late_or_never() {
        let lost = unanswered(&write(1, 0, 0));
        assert!(is_explained(&[lost.clone(), read(0, 2, 3)]));
        assert!(is_explained(&[lost.clone(), write(2, 4, 5), read(2, 6, 7), read(1, 8, 9)]));
        assert_eq!(verdict(&[lost.clone(), read(1, 2, 3), read(0, 4, 5)]), Verdict::Rejected);
        let later = unanswered(&write(1, 6, 0));
        assert_eq!(verdict(&[read(1, 2, 3), later]), Verdict::Rejected, "not before it was called");
    }

    #[test]
    fn beyond_the_limit_nothing_is_said() {
        let mut history: History = (1..=12).map(|value| write(value, 0, 100)).collect();
        history.push(read(99, 101, 102));
        assert_eq!(check(&Register(0), &history, 500), Verdict::Unknown);
        assert_eq!(smallest_unexplained(&Register(0), &history, 500), [0; 0], "unknown is not rejected");
        assert_eq!(check(&Register(0), &history, 100_000), Verdict::Rejected);
    }

    #[test]
    fn unanswered_operations_that_nobody_noticed_cost_no_search() {
        let mut history: History = (1..=30).map(|value| unanswered(&write(value, value, 0))).collect();
        history.extend([read(7, 50, 51), read(0, 60, 61)]);
        assert_eq!(check(&Register(0), &history, 3), Verdict::Rejected);
    }

    #[test]
    fn what_is_left_of_a_rejected_history_is_the_contradiction() {
        let history = [
            write(1, 0, 1),
            read(1, 2, 3),
            write(2, 4, 5),
            read(2, 5, 6),
            unanswered(&write(3, 6, 0)),
            read(1, 7, 8),
            write(4, 9, 10),
            read(4, 11, 12),
        ];
        assert_eq!(verdict(&history), Verdict::Rejected);
        assert_eq!(smallest_unexplained(&Register(0), &history, 1000), [0, 2, 5], "1, then 2, then 1 again");
        assert_eq!(smallest_unexplained(&Register(0), &history[..4], 1000), [0; 0]);
    }

    #[test]
    fn more_than_64_operations() {
        let mut history: History = (0..200).map(|i| write(i, 2 * i, 2 * i + 1)).collect();
        history.push(read(199, 500, 501));
        assert!(is_explained(&history));
        history.push(read(63, 502, 503));
        assert_eq!(verdict(&history), Verdict::Rejected);
    }

    /// Up to six operations with few values and few instants, so that much overlaps and much is wrong.
    fn histories() -> impl Strategy<Value = History> {
        let operation = (0..4_u64, any::<bool>(), 0..10_u64, 0..5_u64, 0..4_u8).prop_map(
            |(value, is_write, called_us, takes_us, fate)| {
                let done = if is_write { write } else { read }(value, called_us, called_us + takes_us);
                if fate == 0 { unanswered(&done) } else { done }
            },
        );
        prop::collection::vec(operation, 0..=6)
    }

    /// The definition, taken literally: some order of all answered and of any of the unanswered operations.
    fn some_order_explains(state: Register, history: &[Operation<Register>]) -> bool {
        history.iter().all(|it| it.answered.is_none())
            || (0..history.len()).any(|i| {
                let mut rest = history.to_vec();
                let first = rest.remove(i);
                let precedes = |it: &Operation<_>| it.answered.is_some_and(|(at, _)| at < first.called_us);
                let after = state.apply(&first.op, first.answered.as_ref().map(|(_, answer)| answer));
                !rest.iter().any(precedes) && after.is_some_and(|after| some_order_explains(after, &rest))
            })
    }

    /// Whether an order is one that the definition allows, and gives the answers that were given.
    fn explains(order: &[usize], history: &[Operation<Register>]) -> bool {
        let mut state = Register(0);
        let mut left = Vec::from_iter(0..history.len());
        order.iter().all(|&i| {
            left.retain(|&it| it != i);
            let Operation { op, called_us, answered, .. } = &history[i];
            let too_late = left.iter().any(|&it| history[it].answered.is_some_and(|(at, _)| at < *called_us));
            match state.apply(op, answered.as_ref().map(|(_, answer)| answer)) {
                Some(after) => state = after,
                None => return false,
            }
            !too_late
        }) && left.iter().all(|&i| history[i].answered.is_none())
    }

    fn without(gone: usize, history: &[Operation<Register>]) -> History {
        let stays = |&i: &usize| i != gone && !Register::goes_with(&history[gone], &history[i]);
        (0..history.len()).filter(stays).map(|i| history[i].clone()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn agrees_with_trying_every_order(history in histories()) {
            match verdict(&history) {
                Verdict::Explained(order) => prop_assert!(explains(&order, &history), "{order:?}"),
                Verdict::Rejected => prop_assert!(!some_order_explains(Register(0), &history)),
                Verdict::Unknown => prop_assert!(false, "a thousand states are more than enough"),
            }
        }

        #[test]
        fn what_is_left_of_an_explained_history_is_explained(history in histories()) {
            if some_order_explains(Register(0), &history) {
                for gone in 0..history.len() {
                    prop_assert!(some_order_explains(Register(0), &without(gone, &history)));
                }
            }
        }

        #[test]
        fn the_smallest_is_rejected_and_nothing_in_it_can_go(history in histories()) {
            let rejected = verdict(&history) == Verdict::Rejected;
            let smallest = smallest_unexplained(&Register(0), &history, 1000);
            prop_assert_eq!(rejected, !smallest.is_empty());
            let smallest: History = smallest.iter().map(|&i| history[i].clone()).collect();
            prop_assert_eq!(rejected, !some_order_explains(Register(0), &smallest));
            for gone in 0..smallest.len() {
                prop_assert!(some_order_explains(Register(0), &without(gone, &smallest)));
            }
        }
    }
}
