//! How a server finds, among what it has, what a client wishes for: RFC 9110, section 12, and two short cuts that are
//! often taken.

use super::{Format, Language};
use crate::prelude::*;

choices! {
    #[derive(Serialize)]
    pub enum Way {
        Rules = "the RFC's rules",
        FirstName = "the first name it knows",
        HighestWeight = "the highest weight that fits",
    }
}

/// A member of Accept: a range of media types, and how much it is wished for, in thousandths.
struct Wish {
    kind: String,
    subtype: String,
    parameters: BTreeSet<String>,
    weight: u16,
}

impl Wish {
    /// `None` where it isn't one: such a member is passed over.
    fn read(member: &str) -> Option<Self> {
        let mut parts = split(member, ';').into_iter().map(|it| it.trim().to_ascii_lowercase());
        let range = parts.next()?;
        let (kind, subtype) = range.split_once('/')?;
        let (weights, parameters): (Vec<_>, Vec<_>) = parts.partition(|it| it.starts_with("q="));
        let weight = weights.first().map_or(Some(1000), |it| thousandths(&it[2..]))?;
        let parameters = parameters.iter().map(|it| it.replace('"', "")).collect();
        Some(Self { kind: kind.to_owned(), subtype: subtype.to_owned(), parameters, weight })
    }

    fn fits(&self, format: Format) -> bool {
        let (kind, subtype) = format.name();
        let parameters = format.parameter();
        (self.kind == "*" || self.kind == kind)
            && (self.subtype == "*" || self.subtype == subtype)
            && self.parameters.iter().all(|it| Some(it.as_str()) == parameters)
    }

    /// `type/subtype;parameter` before `type/subtype` before `type/*` before `*/*` (RFC 9110, section 12.5.1).
    fn specificity(&self) -> (bool, bool, usize) {
        (self.kind != "*", self.subtype != "*", self.parameters.len())
    }

    fn words(&self) -> String {
        let parameters: String = self.parameters.iter().map(|it| format!(";{it}")).collect();
        format!("{}/{}{parameters}", self.kind, self.subtype)
    }
}

/// The weight of a format in thousandths, and the range that gave it.
pub fn weight(accept: &str, format: Format) -> (u16, String) {
    let wishes = wishes(accept);
    let fitting = wishes.iter().filter(|it| it.fits(format));
    fitting.max_by_key(|it| it.specificity()).map_or((0, "none".to_owned()), |it| (it.weight, it.words()))
}

/// The format to send; `None` where none is acceptable. Without the header, any is.
pub fn format(way: Way, accept: Option<&str>) -> Option<Format> {
    let accept = accept.unwrap_or("*/*");
    match way {
        Way::Rules => heaviest(|format| weight(accept, format).0),
        Way::FirstName => wishes(accept).iter().find_map(|wish| {
            let named = |format: &Format| wish.fits(*format);
            Format::ALL.into_iter().find(named)
        }),
        Way::HighestWeight => {
            let wishes = wishes(accept);
            heaviest(|it| {
                wishes.iter().filter(|wish| wish.fits(it)).map(|wish| wish.weight).max().unwrap_or(0)
            })
        }
    }
}

/// The first in the server's own order of those with the highest weight.
fn heaviest(weight: impl Fn(Format) -> u16) -> Option<Format> {
    let offers = Format::ALL.into_iter().rev().filter(|format| weight(*format) > 0);
    offers.max_by_key(|format| weight(*format))
}

/// The language to send, by lookup (RFC 4647, section 3.4): `de-AT` finds `de`. English where nothing else fits, since a
/// server may always disregard this header.
pub fn language(accept: Option<&str>) -> Language {
    let mut wishes: Vec<(&str, u16)> = members(accept.unwrap_or_default());
    wishes.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    let found = wishes.iter().filter(|(_, weight)| *weight > 0).find_map(|(range, _)| {
        let primary = range.split('-').next().unwrap_or_default().to_ascii_lowercase();
        Language::ALL.into_iter().find(|it| it.tag() == primary)
    });
    found.unwrap_or(Language::English)
}

/// Whether the client takes gzip. Where it sends no such header it may take anything, but one that can't read it is more
/// likely.
pub fn gzip(accept: Option<&str>) -> bool {
    let wishes = members(accept.unwrap_or_default());
    let of = |name: &str| wishes.iter().find(|(it, _)| it.eq_ignore_ascii_case(name));
    of("gzip").or_else(|| of("*")).is_some_and(|(_, weight)| *weight > 0)
}

fn wishes(accept: &str) -> Vec<Wish> {
    split(accept, ',').into_iter().filter_map(Wish::read).collect()
}

/// The members of a list whose items have a weight and nothing else.
fn members(list: &str) -> Vec<(&str, u16)> {
    let member =
        |it: &'_ str| -> Option<u16> { it.trim().strip_prefix("q=").map_or(Some(1000), thousandths) };
    list.split(',')
        .filter_map(|it| {
            let (name, rest) = it.split_once(';').unwrap_or((it, ""));
            Some((name.trim(), member(rest)?))
        })
        .collect()
}

/// A weight is a number from 0 to 1, with at most three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let weight: f64 = text.trim().parse().ok()?;
    (0.0..=1.0).contains(&weight).then_some((weight * 1000.0).round() as u16)
}

/// Splits a header at a separator that isn't inside of quotes.
fn split(text: &str, at: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(|c| {
        quoted ^= c == '"';
        c == at && !quoted
    })
    .collect()
}
