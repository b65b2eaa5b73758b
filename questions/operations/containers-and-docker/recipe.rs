//! A recipe, and the cache of its steps.

use crate::prelude::*;
use backlab_parts::container::{Config, Image, Images};

/// A step of a recipe: an image in, an image with one more layer out.
#[derive(Debug, Clone)]
pub enum Step {
    /// A file of the build's context, or of another stage.
    Copy { path: &'static str, content: String },
    /// A command, with the secret that is mounted while it runs.
    Run { name: &'static str, command: &'static str, secret: Option<std::path::PathBuf> },
}

impl Step {
    pub fn copy(path: &'static str, content: impl Into<String>) -> Self {
        Self::Copy { path, content: content.into() }
    }

    pub fn run(name: &'static str, command: &'static str) -> Self {
        Self::Run { name, command, secret: None }
    }

    pub fn name(&self) -> String {
        match self {
            Self::Copy { path, .. } => format!("copy {}", path.trim_start_matches("app/")),
            Self::Run { name, .. } => (*name).to_owned(),
        }
    }

    async fn take(&self, images: &Images, below: &Image) -> Result<Image> {
        match self {
            Self::Copy { path, content } => images.add(below, &[(path, content)]),
            Self::Run { command, secret, .. } => {
                let config = Config::new(below, *command);
                let config = secret.iter().fold(config, |config, file| config.secret(file));
                images.run("build step", config).await
            }
        }
    }
}

/// Results of steps, by what they depend on.
#[derive(Debug, Default)]
pub struct Cache(HashMap<String, Image>);

#[derive(Debug)]
pub struct Build {
    pub image: Image,
    /// Names of the steps that had to be taken.
    pub ran: Vec<String>,
}

impl Cache {
    /// Takes the steps of a recipe, one on top of the other, but for those that it knows: a step is the same where
    /// its text, what it copies and every layer below it are.
    pub async fn build(&mut self, images: &Images, base: &Image, recipe: &[Step]) -> Result<Build> {
        let (mut image, mut ran) = (base.clone(), Vec::new());
        for step in recipe {
            let below: Vec<_> = image.layers.iter().map(|layer| &layer.digest).collect();
            let depends_on = format!("{step:?} on {below:?}");
            image = match self.0.get(&depends_on) {
                Some(known) => known.clone(),
                None => {
                    ran.push(step.name());
                    let made = step.take(images, &image).await?;
                    self.0.insert(depends_on, made.clone());
                    made
                }
            };
        }
        Ok(Build { image, ran })
    }
}

/// Which comes first in the recipe of the service, the step that changes rarely or the one that changes often.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    DependenciesFirst,
    SourceFirst,
}

impl Order {
    pub fn words(self) -> &'static str {
        match self {
            Self::DependenciesFirst => "dependencies first",
            Self::SourceFirst => "source first",
        }
    }
}

const INSTALL: &str = r#"while read -r name; do
  i=0; while [ $i -lt 500 ]; do echo "$name, part $i"; i=$((i+1)); done
done < /app/dependencies > /app/library"#;

/// The recipe of a service; the steps are the same in either order.
pub fn steps(order: Order, source: &str) -> Vec<Step> {
    let dependencies = Step::copy("app/dependencies", "http\njson\nsql\n");
    let install = Step::run("install", INSTALL);
    let source = Step::copy("app/source", source);
    let compile = Step::run("compile", "cat /app/source /app/library > /app/service");
    match order {
        Order::DependenciesFirst => vec![dependencies, install, source, compile],
        Order::SourceFirst => vec![source, dependencies, install, compile],
    }
}
