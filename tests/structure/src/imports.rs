//! Which file of a target imports which.
//!
//! From the root file on it follows `mod` declarations, and takes every path that starts with
//! `crate`, `self`, `super`, a child module or a module that a `use` declaration names: in `use`
//! declarations, in code, and in the arguments and bodies of macros. A path belongs to the file of
//! the deepest module that it names, and to every file whose re-export of a module it passes.
//! Using a macro imports the file that defines it. Comments and items under `#[cfg(test)]` do not
//! count, nor does a `mod` declaration by itself.
//!
//! It reads tokens instead of a syntax tree, because arguments of macros have no other structure.
//! It expands no macro. A path to a re-exported item belongs to the file that re-exports.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

use crate::{graph::Graph, workspace::WorkspaceError};

/// A module's path from the crate's root.
type ModulePath = Vec<String>;

/// The modules of a target and the paths in them.
#[derive(Debug, Default)]
struct Modules {
    /// The file of each module; that of an inline module is its parent's.
    files: BTreeMap<ModulePath, PathBuf>,
    /// The paths that each module contains.
    paths: Vec<(ModulePath, Found)>,
    /// The modules with a `macro_rules!` of a name.
    macros: Vec<(ModulePath, String)>,
    /// The macros that each module uses by name.
    macro_uses: Vec<(ModulePath, String)>,
}

/// A path in the code.
#[derive(Debug)]
struct Found {
    segments: Vec<String>,
    /// What a `use` declaration brings into its module.
    brings: Option<Brings>,
}

#[derive(Debug, PartialEq, Eq)]
enum Brings {
    /// The path's target, by this name.
    Name(String),
    /// All that is in the path's target.
    All,
}

/// Re-exports that a path may pass, so that re-exports in a circle have an end.
const RE_EXPORTS: usize = 4;

/// The files of a target and their imports, named by their paths from its root file's folder,
/// without `.rs`.
///
/// # Errors
/// A file cannot be read, or is not Rust.
pub fn imports(root_file: &Path) -> Result<Graph<String>, WorkspaceError> {
    let mut modules = Modules::default();
    let folder = root_file.parent().unwrap_or(Path::new(""));
    modules.read(Vec::new(), root_file, folder)?;
    Ok(modules.graph(folder))
}

impl Modules {
    /// Reads a module's file. Its child modules stand in `folder`.
    fn read(
        &mut self,
        module: ModulePath,
        file: &Path,
        folder: &Path,
    ) -> Result<(), WorkspaceError> {
        let text = fs::read_to_string(file)
            .map_err(|error| WorkspaceError::Io { path: file.to_owned(), error })?;
        let tokens: TokenStream = text.parse().map_err(|error: proc_macro2::LexError| {
            WorkspaceError::Source { path: file.to_owned(), what: error.to_string() }
        })?;
        self.scan(module, file, folder, tokens)
    }

    /// Scans the items of a module.
    fn scan(
        &mut self,
        module: ModulePath,
        file: &Path,
        folder: &Path,
        tokens: TokenStream,
    ) -> Result<(), WorkspaceError> {
        self.files.insert(module.clone(), file.to_owned());
        let tokens = without_tests(tokens);
        let mut paths = Vec::new();
        collect_paths(&tokens, false, &mut paths);
        self.paths.extend(paths.into_iter().map(|path| (module.clone(), path)));
        self.scan_macros(&module, &tokens);
        self.scan_children(&module, file, folder, &tokens)
    }

    /// Scans the modules that are declared in a module, also within functions and macros.
    fn scan_children(
        &mut self,
        module: &[String],
        file: &Path,
        folder: &Path,
        tokens: &[TokenTree],
    ) -> Result<(), WorkspaceError> {
        for (n, token) in tokens.iter().enumerate() {
            if let TokenTree::Group(group) = token
                && !is_module_body(tokens, n)
            {
                let inner: Vec<_> = group.stream().into_iter().collect();
                self.scan_children(module, file, folder, &inner)?;
            }
            if !is_ident(token, "mod") {
                continue;
            }
            let [Some(TokenTree::Ident(name)), Some(body)] = [tokens.get(n + 1), tokens.get(n + 2)]
            else {
                continue;
            };
            let name = name.to_string();
            let child = [module, std::slice::from_ref(&name)].concat();
            match body {
                TokenTree::Group(body) => {
                    self.scan(child, file, &folder.join(&name), body.stream())?;
                }
                _ => {
                    let file = module_file(folder, file, &name, path_attribute(&tokens[..n]));
                    let folder = folder.join(&name);
                    self.read(child, &file, &folder)?;
                }
            }
        }
        Ok(())
    }

    /// Notes the macros that a module defines and uses.
    fn scan_macros(&mut self, module: &[String], tokens: &[TokenTree]) {
        for (n, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Ident(name) if is_punct(tokens.get(n + 1), '!') => {
                    let noted = match tokens.get(n + 2) {
                        Some(TokenTree::Ident(defined)) if name == "macro_rules" => {
                            self.macros.push((module.to_vec(), defined.to_string()));
                            continue;
                        }
                        Some(TokenTree::Group(_)) => name.to_string(),
                        _ => continue,
                    };
                    self.macro_uses.push((module.to_vec(), noted));
                }
                TokenTree::Group(group) if !is_module_body(tokens, n) => {
                    let inner: Vec<_> = group.stream().into_iter().collect();
                    self.scan_macros(module, &inner);
                }
                _ => {}
            }
        }
    }

    fn graph(&self, folder: &Path) -> Graph<String> {
        let name = |file: &Path| {
            let name = file.strip_prefix(folder).unwrap_or(file).with_extension("");
            name.to_string_lossy().into_owned()
        };
        let mut graph = Graph::default();
        self.files.values().for_each(|file| graph.add_node(name(file)));
        for (module, path) in &self.paths {
            for target in self.resolve(module, &path.segments, RE_EXPORTS).passed {
                graph.add(name(&self.files[module]), name(&self.files[&target]));
            }
        }
        for (module, used) in &self.macro_uses {
            // A macro of the same file is that file's.
            let defined = self.macros.iter().filter(|(_, name)| name == used);
            let files: Vec<_> = defined.map(|(definer, _)| &self.files[definer]).collect();
            if !files.contains(&&self.files[module]) {
                files.iter().for_each(|file| graph.add(name(&self.files[module]), name(file)));
            }
        }
        graph
    }

    /// Follows a path as far as it names modules.
    fn resolve(&self, module: &[String], path: &[String], re_exports: usize) -> Resolved {
        let mut named = module.to_vec();
        let mut rest = path;
        let mut passed = Vec::new();
        let first = path.first().map(String::as_str).unwrap_or_default();
        match first {
            "crate" => (named, rest) = (Vec::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {}
            _ if self.step(module, first, re_exports).is_none() => return Resolved::default(),
            _ => {}
        }
        while let Some("super") = rest.first().map(String::as_str) {
            named.pop();
            rest = &rest[1..];
        }
        while let Some((segment, others)) = rest.split_first() {
            if segment != "self" {
                let Some(next) = self.step(&named, segment, re_exports) else { break };
                if next.split_last().is_none_or(|(_, parent)| parent != named) {
                    passed.push(named); // it re-exports what is not its child
                }
                named = next;
            }
            rest = others;
        }
        passed.push(named.clone());
        Resolved { passed, module: rest.is_empty().then_some(named) }
    }

    /// The module that a name means in a module: a child, or one that a `use` declaration imports.
    fn step(&self, module: &[String], name: &str, re_exports: usize) -> Option<ModulePath> {
        let child = [module, &[name.to_owned()]].concat();
        if self.files.contains_key(&child) {
            return Some(child);
        }
        let left = re_exports.checked_sub(1)?;
        // A path that begins with the name does not explain it.
        let uses = self.paths.iter().filter(|(within, path)| {
            within == module && path.brings.is_some() && path.segments[0] != name
        });
        let mut meanings = uses.filter_map(|(_, path)| match path.brings.as_ref()? {
            Brings::Name(brought) if brought != name => None,
            Brings::Name(_) => self.resolve(module, &path.segments, left).module,
            Brings::All => {
                let source = self.resolve(module, &path.segments, left).module?;
                self.step(&source, name, left)
            }
        });
        meanings.next()
    }
}

/// Where a path leads.
#[derive(Debug, Default)]
struct Resolved {
    /// The modules whose files it imports; none for a path out of the crate.
    passed: Vec<ModulePath>,
    /// The module that it names, unless it names an item.
    module: Option<ModulePath>,
}

/// Leaves out the items that are compiled only for tests, here and in nested groups.
fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let mut kept: Vec<TokenTree> = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_attribute = matches!(kept.last(), Some(TokenTree::Punct(p)) if p.as_char() == '#');
        match token {
            TokenTree::Group(group) if is_attribute && is_cfg_test(&group.stream()) => {
                kept.pop();
                // The item ends with its first `;` or body, a field or an arm with its first `,`.
                let mut generics = 0;
                for token in tokens.by_ref() {
                    match &token {
                        TokenTree::Punct(punct) => match punct.as_char() {
                            ';' => break,
                            ',' if generics <= 0 => break,
                            '<' => generics += 1,
                            '>' => generics -= 1,
                            _ => {}
                        },
                        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => break,
                        _ => {}
                    }
                }
            }
            TokenTree::Group(group) => {
                let inner = without_tests(group.stream()).into_iter().collect();
                kept.push(proc_macro2::Group::new(group.delimiter(), inner).into());
            }
            token => kept.push(token),
        }
    }
    kept
}

fn is_cfg_test(attribute: &TokenStream) -> bool {
    let text = attribute.to_string();
    text.chars().filter(|c| !c.is_whitespace()).collect::<String>() == "cfg(test)"
}

/// The value of `#[path = "…"]` in the attributes at the end of `tokens`.
fn path_attribute(tokens: &[TokenTree]) -> Option<String> {
    // Attributes, `pub` and `pub(…)` may stand between it and `mod`.
    let item = tokens.rsplit(|token| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    });
    let groups = item.take(1).flatten().filter_map(|token| match token {
        TokenTree::Group(group) => Some(group.stream().to_string()),
        _ => None,
    });
    let mut values = groups.filter_map(|text| {
        let value = text.strip_prefix("path")?.trim_start().strip_prefix('=')?.trim();
        Some(value.trim_matches('"').to_owned())
    });
    values.next()
}

/// The file of a child module that is declared in `file`.
fn module_file(folder: &Path, file: &Path, name: &str, path: Option<String>) -> PathBuf {
    if let Some(path) = path {
        return file.parent().unwrap_or(Path::new("")).join(path);
    }
    let flat = folder.join(name).with_extension("rs");
    if flat.exists() { flat } else { folder.join(name).join("mod.rs") }
}

/// Collects the paths of at least two segments, those of groups in `use` declarations one by one.
/// Bodies of modules have their own.
fn collect_paths(tokens: &[TokenTree], mut in_use: bool, found: &mut Vec<Found>) {
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(ident) if ident == "use" => in_use = true,
            TokenTree::Punct(punct) if punct.as_char() == ';' => in_use = false,
            TokenTree::Ident(_) if !follows_colons(tokens, at) => {
                at = collect_path(&[], tokens, at, in_use, found);
                continue;
            }
            TokenTree::Group(group)
                if !is_module_body(tokens, at) && !is_visibility(tokens, at) =>
            {
                collect_paths(&group.stream().into_iter().collect::<Vec<_>>(), in_use, found);
            }
            _ => {}
        }
        at += 1;
    }
}

/// Collects the path that starts at `at` after a prefix. Returns the index after it.
fn collect_path(
    prefix: &[String],
    tokens: &[TokenTree],
    mut at: usize,
    in_use: bool,
    found: &mut Vec<Found>,
) -> usize {
    let mut path = prefix.to_vec();
    while let Some(TokenTree::Ident(segment)) = tokens.get(at) {
        path.push(segment.to_string());
        at += 1;
        if !is_colons(tokens, at) {
            break;
        }
        at += 2;
        if let Some(TokenTree::Group(group)) = tokens.get(at)
            && group.delimiter() == Delimiter::Brace
        {
            let branches: Vec<_> = group.stream().into_iter().collect();
            let branches = branches.split(|token| is_punct(Some(token), ','));
            // The last is empty after a comma at the end.
            for branch in branches.filter(|branch| !branch.is_empty()) {
                collect_path(&path, branch, 0, in_use, found);
            }
            return at + 1;
        }
    }
    let brings = if in_use { brings(&path, tokens, at) } else { None };
    // A path that ends with `::*` or `::<…>` names what precedes it.
    if path.len() > 1 || brings.is_some() || is_colons(tokens, at.saturating_sub(2)) {
        found.push(Found { segments: path, brings });
    }
    at
}

/// What a path of a `use` declaration, which ends before `at`, brings in.
fn brings(path: &[String], tokens: &[TokenTree], at: usize) -> Option<Brings> {
    if is_punct(tokens.get(at), '*') {
        return Some(Brings::All);
    }
    if let [TokenTree::Ident(as_), TokenTree::Ident(name), ..] = &tokens[at.min(tokens.len())..]
        && as_ == "as"
    {
        return Some(Brings::Name(name.to_string()));
    }
    let name = path.iter().rfind(|segment| *segment != "self")?;
    Some(Brings::Name(name.clone()))
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// Whether `::` stands at an index.
fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    let joint = matches!(tokens.get(at), Some(TokenTree::Punct(punct))
        if punct.as_char() == ':' && punct.spacing() == Spacing::Joint);
    joint && is_punct(tokens.get(at + 1), ':')
}

/// Whether `::` stands before an index: what follows is not the start of a path, or starts outside
/// of the crate.
fn follows_colons(tokens: &[TokenTree], at: usize) -> bool {
    at >= 2 && is_colons(tokens, at - 2)
}

/// Whether the group at an index is the body of `mod name { … }`.
fn is_module_body(tokens: &[TokenTree], at: usize) -> bool {
    at >= 2 && is_ident(&tokens[at - 2], "mod") && matches!(tokens[at - 1], TokenTree::Ident(_))
}

/// Whether the group at an index belongs to `pub(…)`.
fn is_visibility(tokens: &[TokenTree], at: usize) -> bool {
    let TokenTree::Group(group) = &tokens[at] else { return false };
    let inner: Vec<_> = group.stream().into_iter().collect();
    let is_path = is_colons(&inner, 1); // the type of a field: `pub (crate::A, B)`
    at >= 1 && is_ident(&tokens[at - 1], "pub") && !is_path
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes files into a folder and returns their imports as `from -> to`.
    fn edges(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let graph = imports(&folder.path().join(files[0].0)).unwrap();
        let edge = |from: &String| {
            let from = from.clone();
            graph.needs(&from.clone()).map(move |to| format!("{from} -> {to}")).collect::<Vec<_>>()
        };
        graph.nodes().flat_map(edge).collect()
    }

    #[test]
    fn a_declaration_is_no_import_and_a_re_export_is() {
        assert!(edges(&[("lib.rs", "mod a;"), ("a.rs", "")]).is_empty());
        assert_eq!(edges(&[("lib.rs", "mod a; pub use a::A;"), ("a.rs", "")]), ["lib -> a"]);
    }

    #[test]
    fn paths_in_uses_code_and_macros_are_imports_of_the_deepest_module_they_name() {
        let root = "mod a; mod b; mod c; mod d;";
        let a = "
            use crate::{b::{self, B}, c::*};
            fn f() { select! { x = super::d::e::g::<u8>() => {} } }";
        let files = [("lib.rs", root), ("a.rs", a), ("b.rs", ""), ("c.rs", ""), ("d.rs", "mod e;")];
        let files = [&files[..], &[("d/e.rs", "use super::super::b::B;")]].concat();
        assert_eq!(edges(&files), ["a -> b", "a -> c", "a -> d/e", "d/e -> b"]);
    }

    #[test]
    fn a_child_imports_its_parent_by_super_or_by_an_item_of_it() {
        let files =
            [("lib.rs", "mod a;"), ("a.rs", "mod b; use b::f;"), ("a/b.rs", "use super::*;")];
        assert_eq!(edges(&files), ["a -> a/b", "a/b -> a"]);
        let files = [("lib.rs", "mod a; struct S;"), ("a.rs", "fn f() -> crate::S { todo!() }")];
        assert_eq!(edges(&files), ["a -> lib"]);
    }

    #[test]
    fn other_crates_comments_visibilities_and_tests_are_no_imports() {
        let a = "
            //! [`crate::b`]
            use ::b::B; use std::{b::B, c}; use x::b::B;
            /* super::b::B */ pub(in crate::b) fn f(b: B) { \"crate::b::B\"; b.b::<u8>(); B::b(); }
            #[cfg(test)] use crate::b::B;
            #[cfg(test)] #[allow(x)] mod tests { use crate::b::B; }
            impl A { #[cfg(test)] fn g() { crate::b::h(); } }
            #[cfg(test)] mod c;";
        assert!(edges(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", "")]).is_empty());
    }

    #[test]
    fn inline_modules_belong_to_their_file() {
        let root = "mod a { pub mod b; use super::c::C; mod d { use super::super::c::C; } } mod c;";
        let files = [("lib.rs", root), ("a/b.rs", "use super::super::S;"), ("c.rs", "")];
        assert_eq!(edges(&files), ["a/b -> lib", "lib -> c"]);
    }

    #[test]
    fn modules_stand_in_mod_rs_or_where_an_attribute_says() {
        let root = "mod a; #[path = \"x/y.rs\"] pub mod b;";
        let a = "use super::b::B; mod c; fn f() { c::f() }";
        let files = [("lib.rs", root), ("a/mod.rs", a), ("a/c.rs", ""), ("x/y.rs", "")];
        assert_eq!(edges(&files), ["a/mod -> a/c", "a/mod -> x/y"]);
    }

    #[test]
    fn a_module_that_a_use_brings_in_is_followed() {
        let modules = "mod a; mod b;";
        let import = |root: &str, a: &str| {
            edges(&[("lib.rs", root), ("a.rs", a), ("b.rs", "mod c;"), ("b/c.rs", "")])
        };
        for (a, expected) in [
            ("use crate::b; fn f() { b::c::g() }", &["a -> b", "a -> b/c"][..]),
            ("use super::b as d; fn f() { d::c::g() }", &["a -> b", "a -> b/c"]),
            ("use crate as root; fn f() { root::b::c::g() }", &["a -> b/c", "a -> lib"]),
            ("use crate::*; fn f() { b::c::g() }", &["a -> b/c", "a -> lib"]),
            (
                "use crate::b::{self, c::{self as d}}; fn f() { b::c::g(d::h()) }",
                &["a -> b", "a -> b/c"],
            ),
            ("use std::b; fn f() { b::c::g() }", &[]),
            ("use crate::{b::c::{g,},};", &["a -> b/c"]),
        ] {
            assert_eq!(import(modules, a), expected, "{a}");
        }
    }

    #[test]
    fn a_path_through_a_re_exported_module_counts_for_both_files() {
        let root = "mod a; mod b; pub use b as d; pub use b::*;";
        let a = "fn f() { crate::d::c::g(); crate::e::h() }";
        let b = "pub mod c; pub mod e;";
        let files = [("lib.rs", root), ("a.rs", a), ("b.rs", b), ("b/c.rs", ""), ("b/e.rs", "")];
        assert_eq!(edges(&files), ["a -> b/c", "a -> b/e", "a -> lib", "lib -> b"]);
        // Re-exports in a circle mean nothing, and end.
        let root = "mod a; pub use a::*; pub use a::x as y;";
        let a = "pub use super::*; pub use super::y as x; fn f() { x::g() }";
        assert_eq!(edges(&[("lib.rs", root), ("a.rs", a)]), ["a -> lib", "lib -> a"]);
    }

    #[test]
    fn using_a_macro_imports_the_file_that_defines_it() {
        let root = "#[macro_use] mod a; mod b; mod c;";
        let a = "macro_rules! m { () => { $crate::c::f() } }";
        let b = "fn f() { if m!() != 1 { println!() } }";
        let c = "macro_rules! own { () => {} } fn f() { own!() }";
        let files = [("lib.rs", root), ("a.rs", a), ("b.rs", b), ("c.rs", c)];
        assert_eq!(edges(&files), ["a -> c", "b -> a"]);
    }

    #[test]
    fn modules_in_functions_and_macros_are_read() {
        let root =
            "cfg_if! { if #[cfg(x)] { mod a; } } fn f() { mod m { use crate::b::B; } } mod b;";
        let files = [("lib.rs", root), ("a.rs", "use super::b::B;"), ("b.rs", "")];
        assert_eq!(edges(&files), ["a -> b", "lib -> b"]);
    }

    #[test]
    fn a_field_or_an_arm_for_tests_hides_nothing_after_it() {
        let a = "struct S { #[cfg(test)] x: A<B, C>, y: crate::b::B }
            struct T(pub (crate::c::C, u8));";
        let files = [("lib.rs", "mod a; mod b; mod c;"), ("a.rs", a), ("b.rs", ""), ("c.rs", "")];
        assert_eq!(edges(&files), ["a -> b", "a -> c"]);
    }
}
