//! The closed sets of words by which questions are sorted: tracks and levels.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// The field that a question belongs to: the name of the folder above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Track {
    Foundations,
    RestApis,
    Databases,
    Authentication,
    Caching,
    Messaging,
    Microservices,
    SystemDesign,
    Security,
    Runtime,
    Testing,
    Operations,
}

/// How much a reader should bring along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// A beginner's.
    Easy,
    /// An intermediate's.
    Medium,
    /// An advanced reader's.
    Hard,
}

/// A word that is none of those allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no {kind}: take one of {allowed}")]
pub struct UnknownWord {
    /// What was looked for: `track` or `level`.
    pub kind: &'static str,
    pub word: String,
    /// The allowed words, joined by commas.
    pub allowed: String,
}

/// The type of Rust that is called like a slug: `cap-theorem` is `CapTheorem`.
pub fn type_name(slug: &str) -> String {
    let words = slug.split('-').filter_map(|word| word.split_at_checked(1));
    words.map(|(first, rest)| first.to_ascii_uppercase() + rest).collect()
}

impl Track {
    /// In the order in which a list shows them.
    pub const ALL: [Self; 12] = [
        Self::Foundations,
        Self::RestApis,
        Self::Databases,
        Self::Authentication,
        Self::Caching,
        Self::Messaging,
        Self::Microservices,
        Self::SystemDesign,
        Self::Security,
        Self::Runtime,
        Self::Testing,
        Self::Operations,
    ];

    pub const fn slug(self) -> &'static str {
        match self {
            Self::Foundations => "foundations",
            Self::RestApis => "rest-apis",
            Self::Databases => "databases",
            Self::Authentication => "authentication",
            Self::Caching => "caching",
            Self::Messaging => "messaging",
            Self::Microservices => "microservices",
            Self::SystemDesign => "system-design",
            Self::Security => "security",
            Self::Runtime => "runtime",
            Self::Testing => "testing",
            Self::Operations => "operations",
        }
    }

    pub const fn title(self) -> &'static str {
        match self {
            Self::Foundations => "Foundations",
            Self::RestApis => "REST APIs",
            Self::Databases => "Databases",
            Self::Authentication => "Authentication",
            Self::Caching => "Caching",
            Self::Messaging => "Messaging",
            Self::Microservices => "Microservices",
            Self::SystemDesign => "System design",
            Self::Security => "Security",
            Self::Runtime => "Runtime",
            Self::Testing => "Testing",
            Self::Operations => "Operations",
        }
    }
}

impl Level {
    /// From the least to the most that is asked of a reader.
    pub const ALL: [Self; 3] = [Self::Easy, Self::Medium, Self::Hard];

    pub const fn slug(self) -> &'static str {
        match self {
            Self::Easy => "easy",
            Self::Medium => "medium",
            Self::Hard => "hard",
        }
    }

    pub const fn title(self) -> &'static str {
        match self {
            Self::Easy => "Easy",
            Self::Medium => "Medium",
            Self::Hard => "Hard",
        }
    }
}

macro_rules! by_slug {
    ($kind:ident, $name:literal) => {
        impl FromStr for $kind {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                Self::ALL.into_iter().find(|it| it.slug() == word).ok_or_else(|| UnknownWord {
                    kind: $name,
                    word: word.to_owned(),
                    allowed: Self::ALL.map(Self::slug).join(", "),
                })
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.pad(self.slug())
            }
        }

        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.slug())
            }
        }
    };
}
by_slug!(Track, "track");
by_slug!(Level, "level");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back() {
        assert!(Track::ALL.into_iter().all(|it| it.slug().parse() == Ok(it)));
        assert!(Level::ALL.into_iter().all(|it| it.slug().parse() == Ok(it)));
    }

    #[test]
    fn an_unknown_word_gets_the_allowed_ones() {
        let error = "Hard".parse::<Level>().unwrap_err();
        assert_eq!(error.to_string(), "`Hard` is no level: take one of easy, medium, hard");
        let error = "rest".parse::<Track>().unwrap_err();
        assert!(error.to_string().contains("foundations, rest-apis, databases"), "{error}");
    }
}
