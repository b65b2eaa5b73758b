//! The command line as people and scripts use it: the real program, its output, its exit codes.

use crate::common::{BACKLAB, backlab, command, experiments, stderr, stdout};
use serde_json::Value;
use std::process::{Command, Stdio};

fn json(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stdout(output)))
}

#[test]
fn list_has_all_150_by_number_with_honest_counts() {
    let home = tempfile::tempdir().unwrap();
    let rows = json(&backlab(home.path(), &["list", "--json"]));
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 150);
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(row["number"], i + 1);
        let mut keys: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        let wanted =
            ["answer", "challenge", "experiment", "level", "number", "slug", "status", "title", "track"];
        assert_eq!(keys, wanted);
        assert_eq!(row["status"], "new");
    }
    let runs = rows.iter().filter(|row| row["experiment"] == true).count();
    assert_eq!(runs, experiments().count());
    let text = stdout(&backlab(home.path(), &["list"]));
    let build = rows.iter().filter(|row| row["challenge"] == true).count();
    let summary = format!("150 questions, {runs} run today, {build} to build, 0 verified by you");
    assert_eq!(text.lines().last().unwrap(), summary);
    assert_eq!(text.lines().filter(|line| line.ends_with(" · build")).count(), build);
}

#[test]
fn list_filters_and_searches() {
    let home = tempfile::tempdir().unwrap();
    let numbers = |args: &[&str]| -> Vec<u64> {
        let all = [&["list", "--json"], args].concat();
        let rows = json(&backlab(home.path(), &all));
        rows.as_array().unwrap().iter().map(|row| row["number"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&["--level", "easy"]).len(), 11);
    assert_eq!(numbers(&["--level", "medium"]).len(), 54);
    assert_eq!(numbers(&["--level", "hard"]).len(), 85);
    assert_eq!(numbers(&["--track", "caching"]).len(), 8);
    assert!(numbers(&["--search", "stampede penetration"]).contains(&40));
    assert!(numbers(&["--build"]).contains(&7) && !numbers(&["--build"]).contains(&1));
    assert_eq!(numbers(&["--search", "consistent-hashing"]), [58]);
    let wrong = backlab(home.path(), &["list", "--track", "cooking"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("cooking") && stderr(&wrong).contains("caching"), "{}", stderr(&wrong));
}

#[test]
fn a_run_says_what_scripts_need_and_is_remembered() {
    let home = tempfile::tempdir().unwrap();
    let output = backlab(home.path(), &["run", "http-methods", "--json", "--predict", "5", "--seed", "3"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let run = json(&output);
    assert_eq!((&run["number"], &run["slug"], &run["seed"]), (&7.into(), &"http-methods".into(), &3.into()));
    assert_eq!(run["verdict"], "holds");
    assert_eq!(run["prediction"]["predicted"], "5");
    assert!(run["prediction"]["ask"].is_string() && run["prediction"]["truth"].is_string());
    assert!(run["params"]["requests"].is_u64() && run["observed"].is_object() && run["seconds"].is_f64());
    for claim in run["claims"].as_array().unwrap() {
        assert_eq!(claim["holds"], true);
        for key in ["id", "says", "measured", "expected"] {
            assert!(claim[key].is_string(), "{claim}");
        }
    }
    let parts = run["parts"].as_array().unwrap();
    assert!(parts.iter().all(|it| it["name"].is_string() && it["version"].is_string()), "{parts:?}");

    let rows = json(&backlab(home.path(), &["list", "--json", "--status", "verified"]));
    assert_eq!(rows.as_array().unwrap().iter().map(|row| &row["number"]).collect::<Vec<_>>(), [&7]);
    let shown = stdout(&backlab(home.path(), &["show", "7"]));
    assert!(shown.contains("[here: "), "the figures of the last run stand in the text: {shown}");
}

#[test]
fn in_a_pipe_a_run_is_plain_lines() {
    let home = tempfile::tempdir().unwrap();
    let output = backlab(home.path(), &["run", "7"]);
    let text = stdout(&output);
    assert!(!text.contains('\u{1b}'), "no escape codes in a pipe");
    assert!(text.contains("✓ ") && text.contains("In 30 seconds"), "{text}");
    assert!(text.contains(" → "), "the sequence of messages is shown: {text}");
}

#[test]
fn a_refuted_claim_exits_with_one_and_a_wrong_word_with_two() {
    let home = tempfile::tempdir().unwrap();
    let (question, experiment) = experiments().find(|(it, _)| it.page.slug == "http-methods").unwrap();
    let fault = &(experiment.faults)()[0];
    let mut args = vec!["run".to_owned(), question.page.slug.to_owned(), "--json".to_owned()];
    for (name, value) in fault.set {
        args.extend([format!("--{}", name.replace('_', "-")), (*value).to_owned()]);
    }
    let refuted = backlab(home.path(), &args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(refuted.status.code(), Some(1), "{}", stderr(&refuted));
    assert_eq!(json(&refuted)["verdict"], "refuted");

    for (args, wanted) in [
        (&["run", "7", "--requests", "999"][..], "knob `requests`: 999 is outside 1 to 20"),
        (&["run", "7", "--requests", "many"], "knob `requests`: `many` isn't a whole number from 1 to 20"),
        (&["run", "7", "--nonsense", "1"], "--nonsense"),
        (&["run", "7", "--predict", "lots"], "--predict: `lots` isn't a whole number"),
        (&["run", "151"], "there is no question `151`"),
        (&["show", "no-such-slug"], "there is no question `no-such-slug`"),
        (&["run", "150"], "has no experiment yet"),
        (&["verify", "150"], "has no experiment yet"),
    ] {
        let output = backlab(home.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(wanted), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{args:?}: errors go to standard error");
    }
}

#[test]
fn the_knobs_of_a_question_stand_in_its_help() {
    let home = tempfile::tempdir().unwrap();
    let help = stdout(&backlab(home.path(), &["run", "7", "--help"]));
    assert!(help.contains("Knobs of this question") && help.contains("--requests"), "{help}");
    assert!(help.contains("To break it:"), "{help}");
}

#[test]
fn verify_reports_in_three_ways() {
    let home = tempfile::tempdir().unwrap();
    let junit = home.path().join("report.xml");
    let args = ["verify", "7", "14", "--json", "--jobs", "2", "--junit", junit.to_str().unwrap()];
    let output = backlab(home.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let verified = json(&output);
    assert_eq!(verified["verdict"], "holds");
    assert!(verified["seconds"].is_f64());
    let numbers: Vec<_> = verified["questions"].as_array().unwrap().iter().map(|it| &it["number"]).collect();
    assert_eq!(numbers, [&7, &14]);
    let xml = std::fs::read_to_string(junit).unwrap();
    assert!(xml.contains("tests=\"2\" failures=\"0\" errors=\"0\" skipped=\"0\""), "{xml}");
}

/// With the servers off the PATH all else works, and their runs say which line installs them.
#[test]
fn what_is_not_installed_makes_a_run_unavailable_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let without = |args: &[&str]| command(home.path(), args).env("PATH", home.path()).output().unwrap();
    for (question, experiment) in experiments() {
        // The embedded database is part of the program.
        if experiment.needs.iter().all(|part| part.name == "sqlite") {
            continue;
        }
        let output = without(&["run", question.page.slug, "--json"]);
        assert_eq!(output.status.code(), Some(2), "{}", question.page.slug);
        let run = json(&output);
        assert_eq!(run["verdict"], "unavailable", "{run}");
        let missing =
            experiment.needs.iter().find(|part| run["error"].as_str().unwrap().contains(part.install));
        assert!(missing.is_some(), "{run}");
    }
    assert_eq!(without(&["run", "7"]).status.code(), Some(0), "what needs none of them still runs");
    let doctor = stdout(&without(&["doctor"]));
    for part in ["postgresql-15", "redis-server", "nats-server", "node@20"] {
        assert!(doctor.contains(part), "{doctor}");
    }
    let verify = without(&["verify", "21", "--json"]);
    assert_eq!((verify.status.code(), &json(&verify)["verdict"]), (Some(2), &"unavailable".into()));
}

#[test]
fn show_says_what_to_build_and_gives_our_way_to_those_who_did() {
    let home = tempfile::tempdir().unwrap();
    let show = || stdout(&backlab(home.path(), &["show", "7"]));
    let check = |bug: &[&str]| {
        backlab(home.path(), &[&["check", "7", "--", BACKLAB, "reference", "7"], bug].concat())
    };
    let before = show();
    for wanted in [
        "Build it: A document store",
        "PUT    /docs/{name}",
        "\n  1. PUT creates",
        "backlab check http-methods -- python3",
    ] {
        assert!(before.contains(wanted), "no {wanted:?} in {before}");
    }
    assert!(!before.contains("How we did it"), "{before}");

    check(&["--bug", "head-without-headers"]);
    let failed = show();
    assert!(failed.contains("✓ 2. ") && failed.contains("✗ 3. ") && failed.contains("· 4. "), "{failed}");
    assert!(failed.contains("2 of 7 stages of version 1 passed on ") && !failed.contains("How we did it"));

    check(&[]);
    check(&["--bug", "merges-fields"]);
    let passed = show();
    assert!(passed.contains("0 of 7 stages") && passed.contains("7 of 7 stages"), "{passed}");
    assert!(passed.contains("How we did it") && passed.contains("One map under one lock."), "{passed}");
}

#[test]
fn doctor_knows_every_part_of_this_machine() {
    let home = tempfile::tempdir().unwrap();
    let rows = json(&backlab(home.path(), &["doctor", "--json"]));
    for row in rows.as_array().unwrap() {
        assert!(row["version"].is_string(), "the tests need this part: {row}");
    }
}

#[test]
fn a_reader_who_turns_away_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    let mut list =
        command(home.path(), &["list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(list.stdout.take());
    let output = list.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn help_and_version_need_no_home() {
    for args in [&["--help"][..], &["--version"], &["run", "--help"]] {
        let output = Command::new(BACKLAB).args(args).env("BACKLAB_DATA", "/dev/null/no").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
}
