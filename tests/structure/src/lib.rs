//! The structure of a cargo workspace, read from its code.
//!
//! - [`workspace`]: the crates, their dependencies and targets, from cargo metadata.
//! - [`imports`]: which file of a target imports which.
//! - [`graph`]: circles and layers of a graph.
//! - [`picture`]: the crates as a diagram, and the files of a crate in layers.
//! - [`report`](mod@report): both of them, as the command prints them.
//! - [`lines`](mod@lines): lines that are too long.
//!
//! ```
//! use quartet_structure::graph::Graph;
//!
//! let mut files = Graph::default();
//! files.add("lib", "parser");
//! files.add("parser", "token");
//! assert_eq!(files.layers(), [vec!["lib"], vec!["parser"], vec!["token"]]);
//!
//! files.add("token", "parser");
//! assert_eq!(files.circles(), [vec!["parser", "token"]]);
//! ```

pub mod graph;
pub mod imports;
pub mod lines;
pub mod picture;
pub mod report;
pub mod workspace;
