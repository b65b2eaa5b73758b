//! The two languages in which a change to a JSON document is written.

use crate::prelude::*;

/// JSON Merge Patch, RFC 7396, section 2: members of the patch replace those of the target, null removes them, and what is
/// no object replaces the target whole. `stores_null` breaks it.
pub fn merge(target: Value, patch: Value, stores_null: bool) -> Value {
    let Value::Object(patch) = patch else { return patch };
    let mut target = if let Value::Object(target) = target { target } else { serde_json::Map::new() };
    for (name, value) in patch {
        if value.is_null() && !stores_null {
            target.remove(&name);
        } else {
            let old = target.remove(&name).unwrap_or_default();
            target.insert(name, merge(old, value, stores_null));
        }
    }
    target.into()
}

/// A patch that can't be applied to this document.
#[derive(Debug)]
pub struct Inapplicable;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Operation {
    Add { path: String, value: Value },
    Remove { path: String },
    Replace { path: String, value: Value },
    Move { from: String, path: String },
    Copy { from: String, path: String },
    Test { path: String, value: Value },
}

/// JSON Patch, RFC 6902: applies the operations in their order to a copy, so that the first that can't be applied leaves
/// nothing behind.
pub fn apply(mut document: Value, patch: &Value) -> Result<Value, Inapplicable> {
    let operations: Vec<Operation> = Deserialize::deserialize(patch).map_err(|_| Inapplicable)?;
    for operation in operations {
        match operation {
            Operation::Add { path, value } => add(&mut document, &path, value)?,
            Operation::Remove { path } => drop(remove(&mut document, &path)?),
            Operation::Replace { path, value } => {
                *document.pointer_mut(&path).ok_or(Inapplicable)? = value;
            }
            Operation::Move { from, path } => {
                let moved = remove(&mut document, &from)?;
                add(&mut document, &path, moved)?;
            }
            Operation::Copy { from, path } => {
                let copied = document.pointer(&from).ok_or(Inapplicable)?.clone();
                add(&mut document, &path, copied)?;
            }
            Operation::Test { path, value } => {
                let found = document.pointer(&path).ok_or(Inapplicable)?;
                same_json(found, &value).then_some(()).ok_or(Inapplicable)?;
            }
        }
    }
    Ok(document)
}

/// Section 4.1: an array takes the value in at that index, or at its end for `-`; an object's member is replaced.
fn add(document: &mut Value, path: &str, value: Value) -> Result<(), Inapplicable> {
    let Some((parent, last)) = path.rsplit_once('/') else {
        *document = value;
        return Ok(());
    };
    match document.pointer_mut(parent).ok_or(Inapplicable)? {
        Value::Array(array) => {
            let at = if last == "-" { array.len() } else { last.parse().map_err(|_| Inapplicable)? };
            (at <= array.len()).then(|| array.insert(at, value)).ok_or(Inapplicable)
        }
        Value::Object(object) => {
            object.insert(unescaped(last), value);
            Ok(())
        }
        _ => Err(Inapplicable),
    }
}

/// Section 4.2.
fn remove(document: &mut Value, path: &str) -> Result<Value, Inapplicable> {
    let (parent, last) = path.rsplit_once('/').ok_or(Inapplicable)?;
    match document.pointer_mut(parent).ok_or(Inapplicable)? {
        Value::Array(array) => {
            let at: usize = last.parse().map_err(|_| Inapplicable)?;
            (at < array.len()).then(|| array.remove(at)).ok_or(Inapplicable)
        }
        Value::Object(object) => object.remove(&unescaped(last)).ok_or(Inapplicable),
        _ => Err(Inapplicable),
    }
}

/// RFC 6901, section 4: `~1` first and `~0` then, so that `~01` is `~1` and no slash.
fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}
