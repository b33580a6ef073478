//! `.env.example` tells the truth about the settings.

use std::collections::{BTreeMap, BTreeSet};

use shared::config::{Config, NAMES};

/// The settings in the example, each with the default that it gives.
fn documented() -> BTreeMap<&'static str, &'static str> {
    let mut all = BTreeMap::new();
    for line in include_str!("../../.env.example").lines() {
        let line = line.trim_start_matches("# ");
        let Some((name, value)) = line.split_once('=') else { continue };
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            assert_eq!(all.insert(name, value), None, "{name} is there twice");
        }
    }
    all
}

#[test]
fn every_setting_is_documented_and_nothing_else() {
    let documented: BTreeSet<&str> = documented().into_keys().collect();
    let known: BTreeSet<&str> = NAMES.iter().copied().collect();
    assert_eq!(documented, known);
}

#[test]
fn the_documented_defaults_are_the_real_ones() {
    let documented = documented();
    let written = Config::read(|name| documented.get(name).map(|value| (*value).to_owned())).unwrap();
    let real = Config::read(|_| None).unwrap();
    assert_eq!(format!("{written:#?}"), format!("{real:#?}"));
}

#[test]
fn the_readme_names_every_setting() {
    let readme = include_str!("../../README.md");
    let named: BTreeSet<&str> = readme.split('`').skip(1).step_by(2).collect();
    let missing: Vec<_> = NAMES.iter().filter(|name| !named.contains(**name)).collect();
    assert!(missing.is_empty(), "README.md does not name {missing:?}");
}
