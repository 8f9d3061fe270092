//! The crates of a workspace, from cargo metadata.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use crate::graph::Graph;

/// A cargo workspace.
#[derive(Debug, Deserialize)]
pub struct Workspace {
    /// Its crates, sorted by name.
    pub packages: Vec<Package>,
}

/// A crate.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its `Cargo.toml`.
    pub manifest_path: PathBuf,
    /// `description` of the manifest.
    pub description: Option<String>,
    /// `readme` of the manifest.
    pub readme: Option<PathBuf>,
    /// All dependencies.
    pub dependencies: Vec<Dependency>,
    /// Libraries, binaries, examples and tests.
    pub targets: Vec<Target>,
}

/// A dependency of a crate.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// The name of the crate.
    pub name: String,
    /// `dev`, `build`, or none for a normal dependency.
    pub kind: Option<String>,
    /// Whether only a feature brings it.
    pub optional: bool,
}

/// What cargo builds from one root file.
#[derive(Debug, Deserialize)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// `lib`, `bin`, `example`, `test`, `bench` or `custom-build`.
    pub kind: Vec<String>,
    /// Its root file.
    pub src_path: PathBuf,
}

/// Why a workspace could not be read.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// A file could not be read, or cargo not started.
    #[error("{path}: {error}")]
    Io {
        /// The file or program.
        path: PathBuf,
        /// What failed.
        error: io::Error,
    },
    /// Cargo refused the manifest.
    #[error("cargo metadata: {0}")]
    Cargo(String),
    /// A source file is not Rust.
    #[error("{path}: {what}")]
    Source {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl Workspace {
    /// The workspace at this folder. Needs no network.
    ///
    /// # Errors
    /// Cargo cannot read the manifests.
    pub fn read(root: &Path) -> Result<Self, WorkspaceError> {
        let output = Command::new("cargo")
            .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
            .arg("--manifest-path")
            .arg(root.join("Cargo.toml"))
            .output()
            .map_err(|error| WorkspaceError::Io { path: "cargo".into(), error })?;
        if !output.status.success() {
            let what = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(WorkspaceError::Cargo(what));
        }
        let mut workspace: Workspace = serde_json::from_slice(&output.stdout)
            .map_err(|error| WorkspaceError::Cargo(error.to_string()))?;
        workspace.packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(workspace)
    }

    /// Which crate of the workspace needs which. Dependencies of tests do not count.
    pub fn graph(&self) -> Graph<String> {
        let mut graph = Graph::default();
        for package in &self.packages {
            graph.add_node(package.name.clone());
            for dependency in package.dependencies.iter().filter(|one| !one.is_dev()) {
                if self.packages.iter().any(|other| other.name == dependency.name) {
                    graph.add(package.name.clone(), dependency.name.clone());
                }
            }
        }
        graph
    }
}

impl Package {
    /// The folder of its manifest.
    pub fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new(""))
    }
}

impl Dependency {
    /// Whether only tests and examples need it.
    pub fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

impl Target {
    /// Whether it is of this kind; every kind of library is a `lib`.
    pub fn is(&self, kind: &str) -> bool {
        self.kind.iter().any(|one| one == kind || (kind == "lib" && one.ends_with("lib")))
    }
}
