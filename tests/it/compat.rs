//! `docs/COMPAT.md` says of each quirk which test pins it, `SECURITY.md` of each threat which test shows that it is held
//! off. Here they are held to that.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every Rust source below a directory.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with("node_modules") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The name of the module that a file is: the folder's for `mod.rs`, the package's for `lib.rs`.
fn module(path: &Path) -> String {
    let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
    match stem.as_str() {
        // Also of the tests that have a file of their own.
        "mod" | "tests" => path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned(),
        "lib" => {
            path.parent().and_then(Path::parent).unwrap().file_name().unwrap().to_string_lossy().into_owned()
        }
        _ => stem,
    }
}

/// Every test in the sources, as `module::name`.
fn tests_there_are() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root().join("crates"), &mut files);
    sources(&root().join("tests"), &mut files);
    let mut tests = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            let name = line.trim_start_matches("pub ").trim_start_matches("async ").strip_prefix("fn ");
            if line.starts_with("#[test")
                || line.starts_with("#[tokio::test")
                || line.starts_with("#[actix_web::test")
            {
                marked = true;
            } else if let Some(name) = name {
                let end = name.find(['(', '<']).unwrap_or(name.len());
                if marked {
                    tests.insert(format!("{}::{}", module(&file), &name[..end]));
                }
                marked = false;
            }
        }
    }
    tests
}

/// Every `module::name` that the document names in backticks.
fn tests_named(document: &str) -> BTreeSet<String> {
    let name = |text: &&str| {
        text.split_once("::").is_some_and(|(module, test)| {
            let word = |text: &str| {
                !text.is_empty()
                    && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            };
            word(module) && word(test)
        })
    };
    document.split('`').skip(1).step_by(2).filter(name).map(str::to_owned).collect()
}

#[test]
fn every_test_that_the_pages_of_quirks_and_of_threats_name_exists() {
    let there_are = tests_there_are();
    for (page, at_least) in [("docs/COMPAT.md", 60), ("SECURITY.md", 20)] {
        let document = fs::read_to_string(root().join(page)).unwrap();
        let named = tests_named(&document);
        assert!(named.len() > at_least, "only {} tests are named: the search is broken", named.len());
        let missing: Vec<_> = named.difference(&there_are).collect();
        assert!(missing.is_empty(), "{page} names tests that do not exist: {missing:#?}");
    }
}

#[test]
fn every_quirk_has_a_test_beside_it() {
    let document = fs::read_to_string(root().join("docs/COMPAT.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    for row in rows {
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap().trim();
        let heading = last == "test";
        assert!(heading || !tests_named(last).is_empty(), "no test beside: {row}");
    }
}

#[test]
fn each_of_the_sixteen_flows_is_pinned_by_its_own_test() {
    let tests = tests_there_are();
    let text = include_str!("client_quirks.rs");
    let numbers: BTreeSet<u32> = text
        .lines()
        .filter_map(|line| line.strip_prefix("/// ")?.split(['.', ',']).next()?.parse().ok())
        .collect();
    assert_eq!(numbers, (1..=16).collect(), "flows by number");
    assert!(tests.iter().filter(|test| test.starts_with("client_quirks::")).count() >= 16);
}
