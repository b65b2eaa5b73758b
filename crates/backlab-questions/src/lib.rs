//! The questions, one folder each under `questions/<track>/<slug>/`; the folder is the registration.
pub mod prelude;
