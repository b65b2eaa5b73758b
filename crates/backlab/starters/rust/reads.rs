//! {{title}}
//!
//! {{contract}}

use serde_json::{Value, json};
use std::io::Read;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;
    println!("{}", answer(&serde_json::from_str(&input)?));
    Ok(())
}

/// Your work begins here.
fn answer(_input: &Value) -> Value {
    json!({ "error": "this isn't written yet" })
}
