//! The code has the structure that `docs/architecture.md` draws: crates are walls, no file imports
//! a file that imports it, and lines fit.
//!
//! `cargo run -p quartet-structure` prints the picture with the code that reads it here.

use std::{env, fs, path::Path};

use quartet_structure::{
    imports::imports,
    lines::long_lines,
    report::report,
    workspace::{Package, Workspace},
};

/// The crates from bottom to top, each with the crates that it may depend on.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("quartet-wire", &[]),
    ("quartet-runtime", &[]),
    ("quartet", &["quartet-wire"]),
    ("quartet-log", &["quartet", "quartet-runtime"]),
    ("quartet-connection", &["quartet-wire", "quartet-runtime"]),
    ("quartet-channel", &["quartet-wire"]),
    ("quartet-channel-examples", &["quartet-channel"]),
    ("quartet-client", &["quartet", "quartet-wire", "quartet-channel"]),
    (
        "quartet-server",
        &[
            "quartet",
            "quartet-wire",
            "quartet-runtime",
            "quartet-log",
            "quartet-connection",
            "quartet-channel",
            "quartet-client",
        ],
    ),
    ("quartet-tour", &["quartet-client", "quartet-server"]),
];
/// Crates that test the others. They may depend on any crate, and no other crate on them.
const TEST_CRATES: &[&str] = &[
    "quartet-bench",
    "quartet-check",
    "quartet-lessons",
    "quartet-robustness",
    "quartet-structure",
];
/// Crates without a library.
const ONLY_BINARIES: &[&str] = &["quartet-tour"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn workspace() -> Workspace {
    Workspace::read(root()).unwrap()
}

/// Fails with all that was found.
fn assert_none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn no_file_imports_a_file_that_imports_it() {
    let mut circles = Vec::new();
    for package in workspace().packages {
        for target in &package.targets {
            let files = imports(&target.src_path).unwrap();
            circles.extend(files.circles().into_iter().map(|circle| {
                let edge = |from: &String| {
                    let inside = files.needs(from).filter(|to| circle.contains(to));
                    inside.map(|to| format!("  {from} imports {to}")).collect::<Vec<_>>().join("\n")
                };
                let edges: Vec<_> = circle.iter().map(edge).collect();
                format!("{} {}:\n{}", package.name, target.kind[0], edges.join("\n"))
            }));
        }
    }
    assert_none(circles);
}

/// `UPDATE_DOCS=1` writes the page instead.
#[test]
fn the_page_shows_the_present_structure() {
    let path = root().join("docs/reference/structure.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once("<!-- structure -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of structure -->\n").unwrap();
    let picture = report(&workspace()).unwrap();
    let picture = format!("\n```text\n{}\n```\n\n", picture.trim_end());
    let present =
        [before, "<!-- structure -->\n", &picture, "<!-- end of structure -->\n", after].concat();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &present).unwrap();
    } else {
        assert!(page == present, "run UPDATE_DOCS=1 cargo test --test suite structure::the_page");
    }
}

/// A reader that finds nothing would find no circle either.
#[test]
fn imports_of_the_log_are_found() {
    let files = imports(&root().join("server/log/src/lib.rs")).unwrap();
    let imports = |from: &str, to: &str| files.needs(&from.to_owned()).any(|file| file == to);
    assert!(imports("lib", "cursor") && imports("cursor", "dispatcher/registration"));
    assert!(imports("embedded", "embedded/store") && !imports("embedded/store", "embedded"));
}

#[test]
fn no_crate_depends_on_a_crate_above_it() {
    let workspace = workspace();
    let ours = |name: &str| workspace.packages.iter().any(|package| package.name == name);
    let mut found = Vec::new();
    for (n, (name, allowed)) in MAY_DEPEND_ON.iter().enumerate() {
        let below = |needed: &&str| MAY_DEPEND_ON[..n].iter().any(|(lower, _)| lower == needed);
        assert!(allowed.iter().all(below), "{name} is not above what it needs");
    }
    for package in &workspace.packages {
        let name = package.name.as_str();
        let Some((_, allowed)) = MAY_DEPEND_ON.iter().find(|(known, _)| *known == name) else {
            if !TEST_CRATES.contains(&name) {
                found.push(format!("{name} is in no layer of this test"));
            }
            continue;
        };
        for needed in package.dependencies.iter().filter(|needed| ours(&needed.name)) {
            // The suite of the root package tests all crates.
            let suite = name == "quartet" && needed.is_dev();
            if !suite && !allowed.contains(&needed.name.as_str()) {
                found.push(format!("{name} must not depend on {}", needed.name));
            }
        }
    }
    assert_none(found);
}

/// No library of a program that embeds a part needs clap. `tests/run` asks cargo for the same.
#[test]
fn a_library_needs_clap_only_with_the_feature_cli() {
    let crates = workspace().packages;
    let libraries = crates.iter().filter(|package| {
        let name = package.name.as_str();
        !TEST_CRATES.contains(&name) && !ONLY_BINARIES.contains(&name)
    });
    let with_clap = libraries.filter(|package| {
        let mut needed = package.dependencies.iter().filter(|needed| !needed.is_dev());
        needed.any(|needed| needed.name == "clap" && !needed.optional)
    });
    assert_none(with_clap.map(|package| format!("{} depends on clap", package.name)).collect());
}

/// Flags are in the folders of binaries, and in modules that only the feature `cli` compiles.
#[test]
fn command_line_flags_live_with_the_binaries() {
    let mut found = Vec::new();
    let crates = workspace().packages;
    for package in crates.iter().filter(|package| !TEST_CRATES.contains(&package.name.as_str())) {
        for library in package.targets.iter().filter(|target| target.is("lib")) {
            let root = fs::read_to_string(&library.src_path).unwrap();
            let folder = library.src_path.parent().unwrap();
            for file in imports(&library.src_path).unwrap().nodes() {
                let module = file.split('/').next().unwrap();
                let is_gated =
                    root.contains(&format!("#[cfg(feature = \"cli\")]\npub mod {module};\n"));
                let text = fs::read_to_string(folder.join(format!("{file}.rs"))).unwrap();
                if text.contains("clap::") && !is_gated {
                    found.push(format!("{}: {file}.rs has flags", package.name));
                }
            }
        }
    }
    assert_none(found);
}

/// Programs that log nothing and print no colours.
const WITHOUT_LOG: &[&str] =
    &["quartet-channel-examples", "quartet-check", "quartet-lessons", "quartet-structure"];

#[test]
fn every_program_reads_rust_log_and_the_colours_of_its_terminal_in_the_same_place() {
    let mut found = Vec::new();
    for package in workspace().packages {
        for target in package.targets.iter().filter(|target| target.is("bin") || target.is("lib")) {
            let folder = target.src_path.parent().unwrap();
            let main = fs::read_to_string(&target.src_path).unwrap();
            let reads = main.contains("rust_log::") || main.contains("    start(");
            if target.is("bin") && !reads && !WITHOUT_LOG.contains(&package.name.as_str()) {
                found.push(format!("{} does not begin with rust_log", target.name));
            }
            for file in imports(&target.src_path).unwrap().nodes() {
                let path = folder.join(format!("{file}.rs"));
                let of_itself = fs::read_to_string(path).unwrap_or_default();
                let is_the_place = file == "command/rust_log" || file == "command/terminal";
                if !is_the_place
                    && (of_itself.contains("with_ansi(") || of_itself.contains("\"NO_COLOR\""))
                {
                    found.push(format!("{}: {file}.rs decides on colours", package.name));
                }
            }
        }
    }
    assert_none(found);
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let manifest = |path: &Path| fs::read_to_string(path).unwrap();
    let workspace_lints = manifest(&root().join("Cargo.toml"));
    assert!(workspace_lints.contains("\nunsafe_code = \"forbid\"\n"));
    let allows = |package: &&Package| {
        !manifest(&package.manifest_path).contains("\n[lints]\nworkspace = true\n")
    };
    let crates = workspace().packages;
    let names = crates.iter().filter(allows).map(|package| package.name.clone());
    assert_none(
        names.map(|name| format!("{name} does not inherit the workspace's lints")).collect(),
    );
}

#[test]
fn every_crate_says_what_it_is() {
    let mut found = Vec::new();
    for package in workspace().packages {
        let readme = package.folder().join("README.md");
        let missing = [
            ("a file README.md", !readme.exists()),
            ("`readme` in its manifest", package.readme.is_none()),
            ("`description` in its manifest", package.description.is_none()),
        ];
        let missing = missing.iter().filter(|(_, missing)| *missing);
        found.extend(missing.map(|(what, _)| format!("{} lacks {what}", package.name)));
    }
    assert_none(found);
}

#[test]
fn no_line_is_too_long() {
    let mut lines = long_lines(root()).unwrap();
    // Its second line names the machine and the versions, however many there are.
    lines.retain(|line| !line.path.ends_with("docs/benchmarks/results.md"));
    let line = |line: &quartet_structure::lines::LongLine| {
        let path = line.path.strip_prefix(root()).unwrap().display();
        format!("{path}:{}: {} columns", line.number, line.columns)
    };
    assert_none(lines.iter().map(line).collect());
}
