//! A mistake in a definition is shown at the user's own line, in words that say what to do.
//!
//! Each file of `tests/ui` is compiled against the library that this test was built with; a line that ends with
//! `//~ text` has to give an error with that text, and no other line an error of its own. (`trybuild` would
//! compile every dependency again in a profile of its own.)
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may fail the test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The folder with the compiled library: the one that this test lies in.
fn folder() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// The library, newest first; other feature sets may lie beside it.
fn libraries() -> Vec<PathBuf> {
    let mut found: Vec<(SystemTime, PathBuf)> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("libcatchment-") && name.ends_with(".rlib")
        })
        .map(|path| (path.metadata().unwrap().modified().unwrap(), path))
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// The errors of a file: line and text.
fn compile(library: &Path, file: &Path) -> BTreeSet<(usize, String)> {
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into()))
        .args(["--edition=2024", "--crate-type=bin", "--emit=metadata", "--error-format=short", "-Awarnings"])
        .arg(format!("--extern=catchment={}", library.display()))
        .arg(format!("-Ldependency={}", folder().display()))
        .arg("--out-dir")
        .arg(out.path())
        .arg(file)
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let found = errors.lines().filter_map(|line| {
        let (place, text) = line.split_once(": error")?;
        let line = place.rsplit(':').nth(1)?.parse().ok()?;
        Some((line, text.split_once(": ")?.1.to_owned()))
    });
    let found: BTreeSet<_> = found.collect();
    assert_eq!(output.status.success(), found.is_empty(), "{errors}");
    found
}

fn ui(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui").join(name)
}

#[test]
fn mistakes_are_explained_where_they_are() {
    let library = libraries().into_iter().find(|library| {
        std::panic::catch_unwind(|| compile(library, &ui("good.rs"))).is_ok_and(|errors| errors.is_empty())
    });
    let library = library.expect("good definitions compile against the library");
    for case in std::fs::read_dir(ui("")).unwrap().map(|entry| entry.unwrap().path()) {
        let text = std::fs::read_to_string(&case).unwrap();
        let marked = text.lines().enumerate().filter_map(|(at, line)| Some((at + 1, line.split_once("//~ ")?.1)));
        let marked: Vec<_> = marked.collect();
        let found = compile(&library, &case);
        for (line, what) in &marked {
            let there = found.iter().any(|(at, text)| at == line && text.contains(what));
            assert!(there, "{}:{line}: `{what}` is not among {found:#?}", case.display());
        }
        let stray: Vec<_> = found.iter().filter(|(at, _)| !marked.iter().any(|(line, _)| line == at)).collect();
        assert!(stray.is_empty(), "{}: errors elsewhere: {stray:#?}", case.display());
    }
}
