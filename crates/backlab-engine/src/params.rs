//! Knobs: the typed parameters of an experiment. One declaration is the web form, the command line's flags and the
//! check of both.

use anyhow::{Result, bail, ensure};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::{RangeFull, RangeInclusive};

/// What a reader set, by knob, as text. A knob that isn't in it stands at its default.
pub type Values = BTreeMap<String, String>;

/// A knob as the page and the command line show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParamSpec {
    pub name: &'static str,
    pub help: String,
    #[serde(flatten)]
    pub kind: ParamKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ParamKind {
    Number { min: u64, max: u64, default: u64 },
    Choice { options: Vec<&'static str>, default: &'static str },
}

impl ParamSpec {
    /// The default, as a reader would write it.
    pub fn default(&self) -> String {
        match &self.kind {
            ParamKind::Number { default, .. } => default.to_string(),
            ParamKind::Choice { default, .. } => (*default).to_owned(),
        }
    }

    /// The values at the edges of what is allowed: both bounds of a number, every choice.
    pub fn extremes(&self) -> Vec<String> {
        match &self.kind {
            ParamKind::Number { min, max, .. } => vec![min.to_string(), max.to_string()],
            ParamKind::Choice { options, .. } => options.iter().map(|&it| it.to_owned()).collect(),
        }
    }
}

/// All knobs of an experiment, with a value each. Declared by [`params!`](crate::params).
pub trait Params: Sized {
    fn specs() -> Vec<ParamSpec>;

    /// # Errors
    /// An unknown knob, or a value that isn't one of its own; the message says what is allowed.
    fn from_values(values: &Values) -> Result<Self>;

    /// The values in force, as JSON: numbers as numbers, choices as text.
    fn to_json(&self) -> BTreeMap<&'static str, Value>;
}

/// A type that a knob can have.
pub trait Knob: Sized + Clone {
    /// What is allowed: a range of numbers, or `..` for every choice.
    type Bounds;
    type Default;
    fn kind(default: Self::Default, bounds: Self::Bounds) -> ParamKind;
    /// # Errors
    /// The text isn't allowed; the message says what is.
    fn parse(text: &str, bounds: Self::Bounds) -> Result<Self>;
    fn to_json(&self) -> Value;
}

impl Knob for u64 {
    type Bounds = RangeInclusive<u64>;
    type Default = u64;

    fn kind(default: u64, bounds: RangeInclusive<u64>) -> ParamKind {
        ParamKind::Number { min: *bounds.start(), max: *bounds.end(), default }
    }

    fn parse(text: &str, bounds: RangeInclusive<u64>) -> Result<Self> {
        let (min, max) = bounds.clone().into_inner();
        let Ok(value) = text.trim().parse() else {
            bail!("`{text}` isn't a whole number from {min} to {max}")
        };
        ensure!(bounds.contains(&value), "{value} is outside {min} to {max}");
        Ok(value)
    }

    fn to_json(&self) -> Value {
        (*self).into()
    }
}

/// An enum whose variants a reader chooses by their words. Declared by [`choices!`](crate::choices).
pub trait Choice: Copy + PartialEq + 'static {
    const ALL: &'static [(Self, &'static str)];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(it, _)| *it == self).map_or("", |(_, word)| word)
    }
}

impl<C: Choice> Knob for C {
    type Bounds = RangeFull;
    type Default = &'static str;

    fn kind(default: &'static str, _: RangeFull) -> ParamKind {
        ParamKind::Choice { options: C::ALL.iter().map(|(_, word)| *word).collect(), default }
    }

    fn parse(text: &str, _: RangeFull) -> Result<Self> {
        let plain = |text: &str| text.trim().to_lowercase().replace(['-', '_'], " ");
        match C::ALL.iter().find(|(_, word)| plain(word) == plain(text)) {
            Some((choice, _)) => Ok(*choice),
            None => {
                let words: Vec<_> = C::ALL.iter().map(|(_, word)| format!("\"{word}\"")).collect();
                bail!("`{text}` isn't one of {}", words.join(", "))
            }
        }
    }

    fn to_json(&self) -> Value {
        self.word().into()
    }
}

/// A knob's setting as one types it into a shell: `--old-side-stops 'when nothing is in flight'`.
pub fn flag(name: &str, value: &str) -> String {
    let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let quoted = if plain { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) };
    format!("--{} {quoted}", name.replace('_', "-"))
}

/// Reads one knob's value, or its default.
///
/// # Errors
/// The value isn't allowed; the message names the knob.
#[doc(hidden)]
pub fn knob<K: Knob>(values: &Values, name: &str, default: impl ToString, bounds: K::Bounds) -> Result<K> {
    use anyhow::Context;
    let text = values.get(name).map_or_else(|| default.to_string(), String::clone);
    K::parse(&text, bounds).with_context(|| format!("knob `{name}`"))
}

/// Refuses a knob that the experiment doesn't have.
#[doc(hidden)]
pub fn known(values: &Values, names: &[&str]) -> Result<()> {
    match values.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) if names.is_empty() => bail!("there is no knob `{name}`: this experiment has none"),
        Some(name) => bail!("there is no knob `{name}`: this experiment has {}", names.join(", ")),
        None => Ok(()),
    }
}

/// Declares the experiment's knobs: a struct `Params` with typed fields, each with its default and its bounds.
///
/// ```
/// use backlab_engine::{choices, params};
/// choices! {
///     /// What the client repeats.
///     pub enum Client { Everything = "retries everything", Idempotent = "retries only idempotent methods" }
/// }
/// params! {
///     /// Orders that are sent.
///     requests: u64 = 5 in 1..=20;
///     /// What the client repeats when no answer came.
///     client: Client = "retries everything" in ..;
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! params {
    ($( $(#[doc = $doc:literal])+ $name:ident: $ty:ty = $default:literal in $bounds:expr; )+) => {
        /// The knobs of this experiment.
        #[derive(Debug, Clone)]
        pub struct Params { $( $(#[doc = $doc])+ pub $name: $ty, )+ }

        impl $crate::Params for Params {
            fn specs() -> Vec<$crate::ParamSpec> {
                vec![$( $crate::ParamSpec {
                    name: stringify!($name),
                    help: concat!($($doc),+).trim().to_owned(),
                    kind: <$ty as $crate::Knob>::kind($default, $bounds),
                } ),+]
            }

            fn from_values(values: &$crate::Values) -> $crate::Result<Self> {
                $crate::params::known(values, &[$(stringify!($name)),+])?;
                Ok(Params { $( $name: $crate::knob(values, stringify!($name), $default, $bounds)?, )+ })
            }

            fn to_json(&self) -> std::collections::BTreeMap<&'static str, serde_json::Value> {
                [$( (stringify!($name), $crate::Knob::to_json(&self.$name)) ),+].into()
            }
        }
    };
}

/// Declares an enum whose variants a reader chooses by their words, in the order in which they are offered.
#[macro_export]
macro_rules! choices {
    ($(#[$attr:meta])* $vis:vis enum $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$attr])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        $vis enum $name { $($(#[$inner])* $variant),+ }

        impl $crate::Choice for $name {
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, $word)),+];
        }
    };
}

#[cfg(test)]
mod tests {
    use super::flag;

    #[test]
    fn a_flag_can_be_typed_into_a_shell() {
        assert_eq!(flag("work_ms", "200"), "--work-ms 200");
        assert_eq!(flag("pids", "the host's"), r"--pids 'the host'\''s'");
    }
}
