//! Accept headers whose answer RFC 9110, section 12, leaves in no doubt, for a server that has JSON, and CSV and HTML in
//! UTF-8. Each was written down with its answer before any server was asked.

use super::Format::{self, Csv, Html, Json};
use crate::prelude::*;

/// Which rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Rule {
    Weights,
    Specificity,
    Zero,
    NothingFits,
}

impl Rule {
    pub const ALL: [Self; 4] = [Self::Weights, Self::Specificity, Self::Zero, Self::NothingFits];

    pub fn words(self) -> &'static str {
        match self {
            Self::Weights => "weights decide",
            Self::Specificity => "the most specific range",
            Self::Zero => "q=0 rules out",
            Self::NothingFits => "nothing fits: 406",
        }
    }
}

/// The header of the prediction: the range that looks best is not the one that counts for HTML.
pub const PREDICTED: &str = "text/*;q=0.9, text/html;q=0.2, application/json;q=0.5";

pub const WISHES: [(Rule, &str, Option<Format>); 40] = [
    (Rule::Weights, "application/json", Some(Json)),
    (Rule::Weights, "text/csv", Some(Csv)),
    (Rule::Weights, "TEXT/HTML", Some(Html)),
    (Rule::Weights, "text/html;charset=UTF-8", Some(Html)),
    (Rule::Weights, "application/json;q=0.5, text/csv", Some(Csv)),
    (Rule::Weights, "application/json;q=0.5, text/csv;q=0.501", Some(Csv)),
    (Rule::Weights, "text/csv;q=0.8, text/html;q=0.9, application/json;q=0.7", Some(Html)),
    (Rule::Weights, "application/json; q=0.1 , text/html ; q=0.2", Some(Html)),
    (Rule::Weights, "text/html;q=1.000, application/json;q=0.999", Some(Html)),
    (Rule::Weights, "application/xml, text/csv;q=0.001", Some(Csv)),
    (Rule::Weights, "application/json;Q=0.3, text/csv;Q=0.6", Some(Csv)),
    (Rule::Weights, "image/png, application/json;q=0.2, text/html;q=0.4", Some(Html)),
    (Rule::Specificity, PREDICTED, Some(Csv)),
    (Rule::Specificity, "*/*;q=0.1, text/csv;q=0.2", Some(Csv)),
    (Rule::Specificity, "*/*, application/json;q=0.5, text/html;q=0.4", Some(Csv)),
    (Rule::Specificity, "text/*, text/csv;q=0.4, */*;q=0.5", Some(Html)),
    (Rule::Specificity, "*/*;q=0.8, application/*;q=0.3, text/csv;q=0.2", Some(Html)),
    (Rule::Specificity, "text/html;q=0.3, text/html;charset=utf-8;q=0.9, application/json;q=0.5", Some(Html)),
    (Rule::Specificity, "text/html, text/html;charset=utf-8;q=0.1, application/json;q=0.5", Some(Json)),
    (Rule::Specificity, "text/html;charset=iso-8859-1, application/json;q=0.5", Some(Json)),
    (Rule::Specificity, "text/*;q=0.3, */*;q=0.5, text/html;q=0.7", Some(Html)),
    (Rule::Specificity, "text/*;q=0.3, text/csv;q=0.2, text/html;q=0.1, */*;q=0.5", Some(Json)),
    (Rule::Specificity, "*/*, application/*;q=0.9, text/html;q=0.8", Some(Csv)),
    (Rule::Specificity, "application/*;q=0.6, application/json;q=0.2, text/csv;q=0.4", Some(Csv)),
    (Rule::Zero, "application/json;q=0, text/csv;q=0.1", Some(Csv)),
    (Rule::Zero, "application/json;q=0.0, text/csv;q=0.000, */*", Some(Html)),
    (Rule::Zero, "*/*, application/json;q=0, text/html;q=0", Some(Csv)),
    (Rule::Zero, "text/*;q=0, */*;q=0.1", Some(Json)),
    (Rule::Zero, "text/*;q=0, text/csv;q=0.1", Some(Csv)),
    (Rule::Zero, "text/*, text/csv;q=0", Some(Html)),
    (Rule::Zero, "*/*;q=0, text/html;q=0.001", Some(Html)),
    (Rule::Zero, "text/html;charset=utf-8;q=0, text/html, application/json;q=0.1", Some(Json)),
    (Rule::NothingFits, "image/png", None),
    (Rule::NothingFits, "application/xml, text/plain;q=0.5", None),
    (Rule::NothingFits, "application/vnd.report+json", None),
    (Rule::NothingFits, "application/json;version=2", None),
    (Rule::NothingFits, "text/html;charset=iso-8859-1", None),
    (Rule::NothingFits, "*/*;q=0", None),
    (Rule::NothingFits, "application/json;q=0, text/*;q=0", None),
    (Rule::NothingFits, "text/htm, text/html5, json", None),
];

/// The same wishes in the opposite order.
pub fn reversed(accept: &str) -> String {
    accept.split(',').rev().map(str::trim).collect::<Vec<_>>().join(", ")
}
