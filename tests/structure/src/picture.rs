//! The structure as text: crates as a diagram, files in layers.

use std::fmt::Write as _;

use crate::graph::Graph;

/// The nodes of a graph without circles as a diagram. A node's line goes down to the nodes that it
/// needs; an arrow points at each of them.
///
/// ```text
/// server ─┐
/// log    <┤ ┐
/// wire   <┴─┘
/// ```
pub fn diagram(graph: &Graph<String>) -> String {
    let nodes: Vec<String> = graph.layers().concat();
    let width = nodes.iter().map(|node| node.chars().count()).max().unwrap_or_default();
    let needs = |above: usize, below: usize| graph.needs(&nodes[above]).any(|n| *n == nodes[below]);
    let mut text = String::new();
    for (row, node) in nodes.iter().enumerate() {
        let arrow_end = (0..row).filter(|above| needs(*above, row)).max();
        let mut line = format!("{node:width$} {}", if arrow_end.is_some() { '<' } else { ' ' });
        for column in 0..=row {
            let arrow = arrow_end.is_some_and(|end| column <= end);
            let continues = (row + 1..nodes.len()).any(|below| needs(column, below));
            let filler = if arrow { '─' } else { ' ' };
            line.push(filler);
            line.push(match (column == row, column != row && needs(column, row)) {
                (true, _) if continues => '┐',
                (_, true) if continues && Some(column) == arrow_end => '┤',
                (_, true) if continues => '┼',
                (_, true) if Some(column) == arrow_end => '┘',
                (_, true) => '┴',
                (false, false) if continues => '│',
                _ => filler,
            });
        }
        let _ = writeln!(text, "{}", line.trim_end()); // a String takes everything
    }
    text
}

/// The nodes of a graph in layers, one layer per line, wrapped at this width. A node needs only
/// nodes of lower layers, except in a circle: `(a ⇄ b)`. The last line, marked `-`, has the nodes
/// without any edge.
pub fn layers(graph: &Graph<String>, columns: usize) -> String {
    let circles = graph.circles();
    let alone: Vec<_> = graph.nodes().filter(|node| graph.is_alone(node)).cloned().collect();
    let layers = graph.layers();
    let mut text = String::new();
    for (n, layer) in layers.iter().enumerate() {
        let single = |node: &&String| {
            !alone.contains(node) && !circles.iter().any(|circle| circle.contains(node))
        };
        let circles = circles.iter().filter(|circle| layer.contains(&circle[0]));
        let circles = circles.flat_map(|circle| circle_words(circle));
        let words: Vec<_> = layer.iter().filter(single).cloned().chain(circles).collect();
        push_wrapped(&mut text, &format!("{:>4}  ", layers.len() - n), &words, columns);
    }
    if !alone.is_empty() {
        push_wrapped(&mut text, "   -  ", &alone, columns);
    }
    text
}

/// A circle as words between which a line may break.
fn circle_words(circle: &[String]) -> Vec<String> {
    let mut words: Vec<_> = circle.iter().map(|node| format!("⇄ {node}")).collect();
    words[0] = format!("({}", circle[0]);
    words.last_mut().expect("invariant: a circle has nodes").push(')');
    words
}

/// Adds words after a label, in lines of at most this width if the words allow it.
fn push_wrapped(text: &mut String, label: &str, words: &[String], columns: usize) {
    let mut line = label.to_owned();
    for word in words {
        if line.chars().count() + word.chars().count() > columns && line.len() > label.len() {
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(label.len());
        }
        // Within a circle one space separates the names.
        let gap = if word.starts_with('⇄') { 1 } else { 2 };
        if line.len() > label.len() {
            line.push_str(&" ".repeat(gap));
        }
        line.push_str(word);
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph<String> {
        let mut graph = Graph::default();
        edges.iter().for_each(|(from, to)| graph.add((*from).to_owned(), (*to).to_owned()));
        graph
    }

    #[test]
    fn an_arrow_points_at_each_needed_node() {
        let graph = graph(&[
            ("server", "client"),
            ("server", "log"),
            ("server", "wire"),
            ("client", "wire"),
            ("log", "run"),
        ]);
        let expected = "\
server   ┐
client <─┤ ┐
log    <─┤ │ ┐
run    <─│─│─┘
wire   <─┴─┘
";
        assert_eq!(diagram(&graph), expected);
    }

    #[test]
    fn long_layers_are_wrapped_and_circles_and_single_nodes_marked() {
        let mut graph =
            graph(&[("lib", "a"), ("lib", "b"), ("b", "c"), ("c", "b"), ("lib", "long-name")]);
        graph.add_node("x".to_owned());
        let expected = "   2  lib\n   1  a  long-name  (b\n      ⇄ c)\n   -  x\n";
        assert_eq!(layers(&graph, 22), expected);
    }
}
