//! Turns the folders of `questions/` into `ALL`: a question is registered by being there.
//!
//! Pages are rendered and experiments' sources are highlighted here, once; the binary carries the results as
//! constants. All that is wrong with any page is told at once, a line each.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use backlab_catalogue::render::{
    Fault, OwnedPage, faults_between, highlight_rust, markdown, page, rust_literal,
};
use backlab_catalogue::type_name;

fn main() -> ExitCode {
    // Asked for when this runs: a build directory may have been moved to another checkout since this was compiled.
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../questions");
    // Cargo watches a directory with all that is in it.
    println!("cargo::rerun-if-changed={}", root.display());
    match write(&root) {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in faults {
                println!("cargo::error={fault}");
            }
            ExitCode::SUCCESS // Cargo fails the build for the errors above.
        }
        Err(error) => {
            println!("cargo::error=can't turn {} into Rust: {error}", root.display());
            ExitCode::FAILURE
        }
    }
}

/// Reads all questions and writes `all.rs`, or gives what is wrong with them.
fn write(root: &Path) -> io::Result<Vec<Fault>> {
    let root = root.canonicalize()?;
    let (mut pages, mut faults) = (Vec::new(), Vec::new());
    for track in folders(&root)? {
        for folder in folders(&track)? {
            let file = folder.join("answer.md");
            let text = fs::read_to_string(&file)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?;
            // Shown as it is seen from the repository's root.
            let shown = Path::new("questions").join(file.strip_prefix(&root).unwrap_or(&file));
            match page(&shown, &text) {
                Ok(page) => pages.push((folder, page)),
                Err(found) => faults.extend(found),
            }
        }
    }
    pages.sort_by_key(|(_, page)| page.number);
    if faults.is_empty() {
        faults = faults_between(&pages.iter().map(|(_, page)| page.clone()).collect::<Vec<_>>());
    }
    if faults.is_empty() {
        let out = env::var_os("OUT_DIR")
            .ok_or_else(|| io::Error::other("OUT_DIR isn't set: run it through cargo"))?;
        fs::write(Path::new(&out).join("all.rs"), all(&pages)?)?;
    }
    Ok(faults)
}

/// Folders in `dir`, by name.
fn folders(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A module for each experiment and challenge, and the list of all questions.
fn all(pages: &[(PathBuf, OwnedPage)]) -> io::Result<String> {
    let (mut modules, mut rows) = (String::new(), String::new());
    for (folder, page) in pages {
        let module = page.slug.replace('-', "_");
        let mut part = |name: &str| -> io::Result<Option<String>> {
            let path = folder.join(name).with_extension("rs");
            if !path.exists() {
                return Ok(None);
            }
            modules.push_str(&format!("#[path = {path:?}]\npub mod {module}_{name};\n"));
            fs::read_to_string(&path).map(Some)
        };
        let experiment = part("experiment")?;
        let challenge = part("challenge")?;
        let type_name = type_name(&page.slug);
        let erased = match experiment {
            Some(_) => {
                format!("Some(&const {{ backlab_engine::erase::<{module}_experiment::{type_name}>() }})")
            }
            None => "None".to_owned(),
        };
        let challenge = match challenge {
            Some(source) => format!("Some({})", built(folder, page, &module, &source)?),
            None => "None".to_owned(),
        };
        let source = highlight_rust(&experiment.unwrap_or_default());
        let page = rust_literal(page);
        rows.push_str(&format!("Question {{ page: {page}, experiment: {erased}, experiment_source: {source:?}, challenge: {challenge} }},\n"));
    }
    Ok(format!("{modules}\n/// All questions, by number.\npub static ALL: &[Question] = &[\n{rows}];\n"))
}

/// The expression of a [`Challenge`]: what its file says at its head, and what our own program's says at its.
fn built(folder: &Path, page: &OwnedPage, module: &str, source: &str) -> io::Result<String> {
    let path = folder.join("reference.rs");
    let reference = fs::read_to_string(&path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let (head, _) = apart(source);
    let (title, contract) = head.split_once('\n').unwrap_or((&head, ""));
    let (title, contract) = (title.trim().trim_end_matches('.'), contract.trim());
    let (notes, program) = apart(&reference);
    let type_name = type_name(&page.slug);
    let notes = notes.trim();
    let (contract_html, notes_html) = (markdown(contract), markdown(notes));
    let program = highlight_rust(program);
    Ok(format!(
        "Challenge {{ graded: &const {{ backlab_engine::challenge::<{module}_challenge::{type_name}>() }}, \
         title: {title:?}, contract: {contract:?}, contract_html: {contract_html:?}, notes: {notes:?}, \
         notes_html: {notes_html:?}, reference_source: {program:?} }}"
    ))
}

/// The head of a file (its `//!` lines, without the marks), and all below.
fn apart(source: &str) -> (String, &str) {
    let end =
        source.lines().take_while(|line| line.starts_with("//!")).map(|line| line.len() + 1).sum::<usize>();
    let (head, below) = source.split_at(end.min(source.len()));
    let bare = head
        .lines()
        .map(|line| line.trim_start_matches("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line));
    (bare.collect::<Vec<_>>().join("\n"), below.trim_start())
}
