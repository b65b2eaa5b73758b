//! The files of this repository.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file below a folder of the repository, by path from the root, sorted; without what is built or installed.
pub fn files(folder: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found)?;
    let root = root();
    let mut files: Vec<_> =
        found.into_iter().map(|file| file.strip_prefix(&root).map(Path::to_owned).unwrap_or(file)).collect();
    files.sort();
    Ok(files)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !matches!(name, "target" | "node_modules" | ".git") {
                walk(&path, found)?;
            }
        } else {
            found.push(path);
        }
    }
    Ok(())
}

pub fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(root().join(file)).with_context(|| file.display().to_string())
}

pub fn is_rust(file: &Path) -> bool {
    file.extension().is_some_and(|it| it == "rs")
}
