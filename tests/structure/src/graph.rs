//! Directed graphs: circles and layers.

use std::collections::{BTreeMap, BTreeSet};

/// A directed graph of named nodes. An edge points from a node to one that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph<N: Ord>(BTreeMap<N, BTreeSet<N>>);

impl<N: Ord> Default for Graph<N> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<N: Ord + Clone> Graph<N> {
    /// Adds a node without edges, unless it is there.
    pub fn add_node(&mut self, node: N) {
        self.0.entry(node).or_default();
    }

    /// Adds an edge and its nodes. An edge from a node to itself is left out.
    pub fn add(&mut self, from: N, to: N) {
        self.add_node(to.clone());
        self.add_node(from.clone());
        if from != to {
            self.0.entry(from).or_default().insert(to);
        }
    }

    /// All nodes, sorted.
    pub fn nodes(&self) -> impl Iterator<Item = &N> {
        self.0.keys()
    }

    /// The nodes that a node needs, sorted.
    pub fn needs(&self, node: &N) -> impl Iterator<Item = &N> {
        self.0.get(node).into_iter().flatten()
    }

    /// Whether a node neither needs another nor is needed.
    pub fn is_alone(&self, node: &N) -> bool {
        self.needs(node).next().is_none() && !self.0.values().any(|needs| needs.contains(node))
    }

    /// The circles: each is the largest set of nodes that all reach each other, sorted.
    pub fn circles(&self) -> Vec<Vec<N>> {
        self.components().into_iter().filter(|component| component.len() > 1).collect()
    }

    /// The nodes in layers, top first. A node needs only nodes of lower layers, except that the
    /// nodes of a circle stand in one layer. Each node stands as low as possible.
    pub fn layers(&self) -> Vec<Vec<N>> {
        let mut levels = BTreeMap::<&N, usize>::new();
        let components = self.components();
        // Lower components come first.
        for component in &components {
            let below = component.iter().flat_map(|node| self.needs(node));
            let level = below.filter_map(|node| levels.get(node)).map(|level| level + 1).max();
            levels.extend(component.iter().map(|node| (node, level.unwrap_or(0))));
        }
        let mut layers = vec![Vec::new(); levels.values().max().map_or(0, |top| top + 1)];
        for (node, level) in levels {
            layers[level].push(node.clone());
        }
        layers.reverse();
        layers
    }

    /// The strongly connected components by Tarjan's algorithm, each after those that it needs.
    fn components(&self) -> Vec<Vec<N>> {
        let mut search =
            Search { graph: self, seen: BTreeMap::new(), stack: Vec::new(), found: Vec::new() };
        for node in self.0.keys() {
            if !search.seen.contains_key(node) {
                search.visit(node);
            }
        }
        search.found
    }
}

/// The state of Tarjan's algorithm.
struct Search<'a, N: Ord> {
    graph: &'a Graph<N>,
    /// The order in which nodes were visited; `None` once their component is found.
    seen: BTreeMap<&'a N, Option<usize>>,
    stack: Vec<&'a N>,
    found: Vec<Vec<N>>,
}

impl<'a, N: Ord + Clone> Search<'a, N> {
    /// Visits a node and returns the lowest number on the stack that it reaches.
    fn visit(&mut self, node: &'a N) -> usize {
        let number = self.seen.len();
        self.seen.insert(node, Some(number));
        self.stack.push(node);
        let mut lowest = number;
        for next in self.graph.needs(node) {
            match self.seen.get(next) {
                None => lowest = lowest.min(self.visit(next)),
                Some(Some(other)) => lowest = lowest.min(*other),
                Some(None) => {}
            }
        }
        if lowest == number {
            self.finish(node);
        }
        lowest
    }

    /// Takes the component of its first visited node from the stack.
    fn finish(&mut self, first: &N) {
        let start = self.stack.iter().rposition(|node| *node == first).unwrap_or_default();
        let mut component: Vec<_> = self.stack.drain(start..).collect();
        component.sort();
        for node in &component {
            self.seen.insert(node, None);
        }
        self.found.push(component.into_iter().cloned().collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&'static str, &'static str)]) -> Graph<&'static str> {
        let mut graph = Graph::default();
        edges.iter().for_each(|(from, to)| graph.add(*from, *to));
        graph
    }

    #[test]
    fn a_node_stands_above_all_that_it_needs() {
        let graph = graph(&[("a", "b"), ("a", "d"), ("b", "c"), ("c", "d"), ("e", "d")]);
        assert_eq!(graph.layers(), [vec!["a"], vec!["b"], vec!["c", "e"], vec!["d"]]);
        assert!(graph.circles().is_empty());
    }

    #[test]
    fn two_circles_that_reach_each_other_in_one_direction_are_two() {
        let graph =
            graph(&[("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "c")]);
        assert_eq!(graph.circles(), [vec!["c", "d", "e"], vec!["a", "b"]]);
        assert_eq!(graph.layers(), [vec!["a", "b"], vec!["c", "d", "e"]]);
    }

    #[test]
    fn circles_that_share_a_node_are_one() {
        let graph = graph(&[("a", "b"), ("b", "a"), ("b", "c"), ("c", "b"), ("a", "x")]);
        assert_eq!(graph.circles(), [vec!["a", "b", "c"]]);
    }
}
