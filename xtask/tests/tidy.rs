//! The repository keeps its own rules.

use xtask::tidy::RULES;

#[test]
fn the_repository_keeps_its_rules() {
    let mut broken = String::new();
    for rule in RULES {
        for violation in (rule.check)().unwrap() {
            broken += &format!("\n{}: {violation}", rule.name);
        }
    }
    assert!(broken.is_empty(), "{broken}");
}
