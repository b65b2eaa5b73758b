//! `cargo xtask tidy`: the rules of this repository that a compiler doesn't know. Each message names the cure.

use crate::tree;
use anyhow::{Context, Result, bail};
use std::path::Path;

/// Which of our crates may know which. Arrows run one way: a missing pair is an invariant of the house.
const EDGES: &[(&str, &[&str])] = &[
    ("backlab-catalogue", &[]),
    ("backlab-figures", &[]),
    ("backlab-parts", &[]),
    ("backlab-engine", &["backlab-figures", "backlab-parts"]),
    ("backlab-questions", &["backlab-catalogue", "backlab-engine", "backlab-figures", "backlab-parts"]),
    ("backlab-study", &[]),
    ("backlab-store", &["backlab-study"]),
    (
        "backlab-web",
        &[
            "backlab-catalogue",
            "backlab-engine",
            "backlab-figures",
            "backlab-questions",
            "backlab-store",
            "backlab-study",
        ],
    ),
    (
        "backlab",
        &[
            "backlab-catalogue",
            "backlab-engine",
            "backlab-figures",
            "backlab-questions",
            "backlab-store",
            "backlab-study",
            "backlab-web",
        ],
    ),
    ("xtask", &["backlab-catalogue"]),
];

/// Words that name nothing; see docs/ARCHITECTURE.md, "Words".
const EMPTY_WORDS: &[&str] =
    &["demo", "scenario", "manager", "service", "util", "utils", "helper", "helpers", "data"];

/// Lines that a Rust file may have before it should be two.
const LONGEST_FILE: usize = 700;

/// One rule: a name, and all violations as "where: what; the cure".
pub struct Rule {
    pub name: &'static str,
    pub check: fn() -> Result<Vec<String>>,
}

pub const RULES: &[Rule] = &[
    Rule { name: "our crates depend on each other only as the table says", check: edges },
    Rule { name: "every crate takes the workspace's lints", check: lints },
    Rule { name: "every Rust file says at its head what it is for", check: heads },
    Rule { name: "no file is too long to read", check: lengths },
    Rule { name: "no name is an empty word", check: names },
    Rule { name: "no test is switched off", check: ignored },
    Rule { name: "no file names where packages come from", check: registries },
    Rule { name: "an experiment lives beside its answer", check: folders },
];

/// Checks all rules and prints every violation.
pub fn run() -> Result<()> {
    let mut found = 0;
    for rule in RULES {
        for violation in (rule.check)()? {
            eprintln!("{violation}");
            found += 1;
        }
    }
    if found > 0 {
        bail!("{found} violations");
    }
    Ok(())
}

fn edges() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (name, manifest) in manifests()? {
        let Some((_, allowed)) = EDGES.iter().find(|(it, _)| *it == name) else {
            found
                .push(format!("{name}: isn't in the table of xtask/src/tidy.rs; say there what it may know"));
            continue;
        };
        for section in ["dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
            for known in table.keys().filter(|it| it.starts_with("backlab")) {
                if !allowed.contains(&known.as_str()) {
                    found.push(format!(
                        "{name} must not know {known}: move the code to where it belongs, or change the table in \
                         xtask/src/tidy.rs and the picture in docs/ARCHITECTURE.md together"
                    ));
                }
            }
        }
    }
    Ok(found)
}

fn lints() -> Result<Vec<String>> {
    let lacks = |manifest: &toml::Value| manifest.get("lints").and_then(|it| it.get("workspace")).is_none();
    let lacking = manifests()?.into_iter().filter(|(_, manifest)| lacks(manifest));
    Ok(lacking.map(|(name, _)| format!("{name}: add `[lints] workspace = true` to its Cargo.toml")).collect())
}

fn heads() -> Result<Vec<String>> {
    each_rust_file(|file, text| {
        let headless = !text.starts_with("//!");
        headless
            .then(|| format!("{}: begin with `//!` and a sentence on what the file is for", file.display()))
    })
}

fn lengths() -> Result<Vec<String>> {
    each_rust_file(|file, text| {
        let lines = text.lines().count();
        (lines > LONGEST_FILE).then(|| {
            format!("{}: {lines} lines; split it where a reader would turn the page", file.display())
        })
    })
}

fn names() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in rust_files()? {
        for (number, line) in tree::read(&file)?.lines().enumerate() {
            for name in defined(line) {
                if let Some(word) = words(name).iter().find(|word| EMPTY_WORDS.contains(&word.as_str())) {
                    found.push(format!(
                        "{}:{}: `{name}` holds the empty word `{word}`; name what the thing is or does",
                        file.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    Ok(found)
}

/// The names that a line of Rust defines.
fn defined(line: &str) -> Vec<&str> {
    const KEYWORDS: &[&str] = &["fn", "struct", "enum", "trait", "mod", "type", "const", "static"];
    let code = line.split("//").next().unwrap_or_default();
    let tokens: Vec<&str> =
        code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|it| !it.is_empty()).collect();
    tokens.windows(2).filter(|pair| KEYWORDS.contains(&pair[0])).map(|pair| pair[1]).collect()
}

/// The words of an identifier in either case style, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut spaced = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            spaced.push(' ');
        }
        spaced.push(if c == '_' { ' ' } else { c });
    }
    let all_upper = !name.chars().any(char::is_lowercase);
    let spaced = if all_upper { name.replace('_', " ") } else { spaced };
    spaced.split_whitespace().map(str::to_lowercase).collect()
}

fn ignored() -> Result<Vec<String>> {
    let mark = format!("#[{}", "ignore");
    each_rust_file(|file, text| {
        text.contains(&mark)
            .then(|| format!("{}: mend the test or delete it, but don't switch it off", file.display()))
    })
}

fn registries() -> Result<Vec<String>> {
    let hosts = [["npmjs", "org"], ["pypi", "org"], ["pythonhosted", "org"]].map(|it| it.join("."));
    let mut hosts = Vec::from(hosts);
    hosts.push(["index", "crates", "io"].join("."));
    hosts.push(["deb", "debian", "org"].join("."));
    let mut found = Vec::new();
    for file in tree::files(".")? {
        let Ok(text) = tree::read(&file) else { continue };
        if let Some(host) = hosts.iter().find(|host| text.contains(host.as_str())) {
            found.push(format!(
                "{}: names {host}; leave out where packages come from (npm: omit-lockfile-registry-resolved)",
                file.display()
            ));
        }
    }
    Ok(found)
}

fn folders() -> Result<Vec<String>> {
    let files = tree::files("questions")?;
    let experiments = files.iter().filter(|file| file.ends_with("experiment.rs"));
    let alone = experiments.filter(|file| !tree::root().join(file.with_file_name("answer.md")).exists());
    Ok(alone.map(|file| format!("{}: write the answer.md beside it", file.display())).collect())
}

fn manifests() -> Result<Vec<(String, toml::Value)>> {
    let mut all = Vec::new();
    let files = tree::files("crates")?.into_iter().chain(tree::files("xtask")?);
    for file in files.filter(|file| file.ends_with("Cargo.toml")) {
        let manifest: toml::Value =
            toml::from_str(&tree::read(&file)?).with_context(|| file.display().to_string())?;
        let name = manifest.get("package").and_then(|it| it.get("name")).and_then(toml::Value::as_str);
        all.push((name.with_context(|| file.display().to_string())?.to_owned(), manifest));
    }
    Ok(all)
}

fn rust_files() -> Result<Vec<std::path::PathBuf>> {
    let mut all = Vec::new();
    for folder in ["crates", "questions", "xtask"] {
        all.extend(tree::files(folder)?.into_iter().filter(|file| tree::is_rust(file)));
    }
    Ok(all)
}

fn each_rust_file(check: impl Fn(&Path, &str) -> Option<String>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in rust_files()? {
        found.extend(check(&file, &tree::read(&file)?));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_taken_apart() {
        assert_eq!(words("TestDataStore"), ["test", "data", "store"]);
        assert_eq!(words("read_data"), ["read", "data"]);
        assert_eq!(words("MAX_DATA"), ["max", "data"]);
        assert_eq!(words("database"), ["database"]);
        assert_eq!(defined("pub async fn fetch(data: u8) {"), ["fetch"]);
        assert_eq!(defined("struct Page; // struct Data"), ["Page"]);
    }
}
