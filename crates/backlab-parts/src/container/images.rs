//! Images: stacks of layers, each a tar archive with the SHA-256 of its bytes for a name.
//!
//! As in the Open Container Initiative's Image Format Specification ("Image Layer Filesystem Changeset") a layer holds
//! the files that a step added or changed, and a file `.wh.NAME` for each that it removed. A layer is kept twice:
//! as that archive, and as the directory that an overlay mounts, where a removed file is a character device 0:0. A
//! directory that is removed and made anew in one step is not told from a changed one.

use super::{Config, DEADLINE};
use crate::{Exit, Lab, inventory};
use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where one run keeps its images. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Images {
    lab: Lab,
    store: Arc<Store>,
    with_times: bool,
}

#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    next: AtomicU64,
}

/// An image: its layers, the lowest first.
#[derive(Debug, Clone)]
pub struct Image {
    pub layers: Vec<Layer>,
    pub(super) store: Arc<Store>,
}

/// One layer, kept once however many images have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// "sha256:" and 64 hexadecimal digits.
    pub digest: String,
    /// Bytes of its archive.
    pub bytes: u64,
    #[serde(skip)]
    directory: PathBuf,
}

impl Lab {
    /// A store of images of this run's own.
    pub fn images(&self) -> Result<Images> {
        let dir = self.dir().join("images");
        fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
        let store = Arc::new(Store { dir, next: AtomicU64::new(0) });
        Ok(Images { lab: self.clone(), store, with_times: false })
    }
}

impl Images {
    /// Lets archives keep the times at which files were changed, to the nanosecond; they are all set to 1970 otherwise.
    pub fn with_times(mut self, with_times: bool) -> Self {
        self.with_times = with_times;
        self
    }

    /// An image of one layer: programs of this machine, of which `sh` is one, with the libraries that they need
    /// (ldd(1)).
    pub async fn base(&self, programs: &[&str]) -> Result<Image> {
        let root = self.store.fresh("base")?;
        for dir in ["bin", "data", "dev", "proc", "run", "tmp"] {
            fs::create_dir(root.join(dir))?;
        }
        File::create(root.join("dev/null"))?;
        let mut files = BTreeSet::new();
        for &program in programs {
            let file = inventory::on_path(program).map_err(anyhow::Error::msg)?;
            copy(&file, &root.join("bin").join(program))?;
            files.insert(file);
        }
        let ldd = tokio::process::Command::new("ldd").args(&files).kill_on_drop(true).output();
        let ldd = ldd.await.context("start `ldd`")?;
        for library in libraries(&String::from_utf8_lossy(&ldd.stdout)) {
            copy(library, &root.join(library.strip_prefix("/").unwrap_or(library)))?;
        }
        self.image("host", &[], &root)
    }

    /// The image with one more layer of these files: path without a leading slash, and content.
    pub fn add(&self, image: &Image, files: &[(&str, &str)]) -> Result<Image> {
        let root = self.store.fresh("add")?;
        for (path, content) in files {
            let file = root.join(path);
            fs::create_dir_all(file.parent().unwrap_or(&root))?;
            fs::write(&file, content).with_context(|| format!("write {path}"))?;
        }
        self.image("host", &image.layers, &root)
    }

    /// The image of a container with one more layer: what its command changed.
    ///
    /// # Errors
    /// The command ends with another code than 0, or not within [`DEADLINE`]; the error holds what it said.
    pub async fn run(&self, name: &str, config: Config) -> Result<Image> {
        let below = config.image.layers.clone();
        let container = self.lab.container(name, config).await?;
        let exit = container.wait(DEADLINE).await?;
        let said = container.process.lines().join("\n");
        ensure!(exit == Exit::Code(0), "{name} ended with {}; it said:\n{said}", exit.shell_code());
        self.image(name, &below, &container.writable)
    }

    /// Bytes of all archives together.
    pub fn stored(&self) -> Result<u64> {
        let archives = fs::read_dir(&self.store.dir)?
            .flatten()
            .filter(|it| it.path().extension() == Some("tar".as_ref()));
        Ok(archives.filter_map(|it| it.metadata().ok()).map(|it| it.len()).sum())
    }

    /// Archives `directory`, which came `from` a part, as a layer on top of others.
    fn image(&self, from: &str, below: &[Layer], directory: &Path) -> Result<Image> {
        let archive = archive(directory, self.with_times)?;
        let digest: String = Sha256::digest(&archive).iter().map(|byte| format!("{byte:02x}")).collect();
        let kept = self.store.dir.join(&digest[..16]);
        if kept.exists() {
            fs::remove_dir_all(directory)?;
        } else {
            fs::rename(directory, &kept)?;
            fs::write(kept.with_extension("tar"), &archive)?;
        }
        let words = format_args!("layer sha256:{}…, {} KiB", &digest[..12], archive.len() / 1024);
        self.lab.trace().message(from, "images", words);
        let layer =
            Layer { digest: format!("sha256:{digest}"), bytes: archive.len() as u64, directory: kept };
        let layers = below.iter().cloned().chain([layer]).collect();
        Ok(Image { layers, store: self.store.clone() })
    }
}

impl Store {
    /// A new directory, by a name that no layer has.
    pub fn fresh(&self, what: &str) -> Result<PathBuf> {
        let dir = self.dir.join(format!("{what}-{}", self.next.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
        Ok(dir)
    }
}

impl Image {
    /// Bytes of the archives of its layers.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|it| it.bytes).sum()
    }

    /// A file as a container of the image would find it.
    pub fn read(&self, path: &str) -> Result<String> {
        let kept = self
            .layers
            .iter()
            .rev()
            .map(|it| it.directory.join(path))
            .find(|it| it.symlink_metadata().is_ok());
        let file = kept.with_context(|| format!("no layer has {path}"))?;
        fs::read_to_string(&file).with_context(|| format!("read {path} from {}", file.display()))
    }

    /// What an overlay mounts, the lowest first. A layer that comes twice is mounted once, at its upper place, where it
    /// hides the lower one; the kernel refuses a directory that is given twice.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let above = |i: usize| &self.layers[i + 1..];
        let layers = self.layers.iter().enumerate();
        layers.filter(|(i, it)| !above(*i).contains(it)).map(|(_, it)| it.directory.clone()).collect()
    }
}

impl Layer {
    /// Whether its archive has these bytes in it anywhere.
    pub fn holds(&self, bytes: &str) -> Result<bool> {
        let archive = fs::read(self.directory.with_extension("tar"))?;
        Ok(archive.windows(bytes.len()).any(|it| it == bytes.as_bytes()))
    }
}

/// A directory as a tar archive: the same files give the same bytes, whoever owns them, in whatever order the file
/// system lists them, and (unless asked for) whenever they were written.
fn archive(directory: &Path, with_times: bool) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, directory, Path::new(""), with_times)?;
    Ok(archive.into_inner()?)
}

fn append(archive: &mut tar::Builder<Vec<u8>>, root: &Path, dir: &Path, with_times: bool) -> Result<()> {
    let mut names: Vec<_> =
        fs::read_dir(root.join(dir))?.map(|it| Ok(it?.file_name())).collect::<Result<_>>()?;
    names.sort();
    for name in names {
        let (path, file) = (dir.join(&name), root.join(dir).join(&name));
        let about = fs::symlink_metadata(&file)?;
        let mut header = tar::Header::new_gnu();
        header.set_mode(about.mode() & 0o777);
        header.set_mtime(0);
        if with_times {
            let changed = format!("{}.{:09}", about.mtime(), about.mtime_nsec());
            archive.append_pax_extensions([("mtime", changed.as_bytes())])?;
        }
        if about.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            archive.append_data(&mut header, &path, std::io::empty())?;
            append(archive, root, &path, with_times)?;
        } else if about.file_type().is_char_device() && about.rdev() == 0 {
            let mut removed = std::ffi::OsString::from(".wh.");
            removed.push(&name);
            header.set_size(0);
            archive.append_data(&mut header, dir.join(removed), std::io::empty())?;
        } else if about.is_file() {
            header.set_size(about.len());
            archive.append_data(&mut header, &path, File::open(&file)?)?;
        } else {
            bail!("a layer holds files and directories, and {} is neither", file.display());
        }
    }
    Ok(())
}

/// A file's content and permissions, under a name whose directories are made.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    Ok(())
}

/// The files that ldd(1) names: `libc.so.6 => /lib/…/libc.so.6 (0x…)`, and the loader, `/lib64/ld-… (0x…)`.
fn libraries(ldd: &str) -> BTreeSet<&Path> {
    let words =
        ldd.lines().filter(|line| line.starts_with(char::is_whitespace)).flat_map(str::split_whitespace);
    words.filter(|word| word.starts_with('/')).map(Path::new).collect()
}
