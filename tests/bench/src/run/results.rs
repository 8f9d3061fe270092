//! Figures of all rounds, and what is read from them.

use std::fmt;

use super::works::{Case, Table};
use crate::{error::Result, usage::Figures};

/// The tables in the order in which they were run.
#[derive(Debug, Default)]
pub(super) struct Results(pub(super) Vec<Rows>);

/// A table's subjects.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) table: &'static Table,
    pub(super) rows: Vec<(&'static str, Vec<Figures>)>,
}

impl Results {
    /// Every round, for those who want to look closer.
    pub(super) fn to_json(&self) -> Result<String> {
        let table = |rows: &Rows| (rows.table.name, rows.rows.clone());
        Ok(serde_json::to_string_pretty(&self.0.iter().map(table).collect::<Vec<_>>())?)
    }

    pub(super) fn add(&mut self, case: &Case, figures: Figures) {
        let rows = match self.0.iter().position(|rows| rows.table == case.table) {
            Some(at) => &mut self.0[at].rows,
            None => {
                self.0.push(Rows { table: case.table, rows: Vec::new() });
                let last = self.0.len() - 1;
                &mut self.0[last].rows
            }
        };
        match rows.iter_mut().find(|(subject, _)| *subject == case.subject) {
            Some((_, rounds)) => rounds.push(figures),
            None => rows.push((case.subject, vec![figures])),
        }
    }

    /// A figure of a subject, if it was run.
    pub(super) fn spread(&self, table: &Table, subject: &str, metric: Metric) -> Option<Spread> {
        let rows = self.0.iter().find(|rows| rows.table == table)?;
        let (_, rounds) = rows.rows.iter().find(|(name, _)| *name == subject)?;
        Spread::of(rounds, metric)
    }

    /// The median of one subject over that of another.
    pub(super) fn ratio(
        &self,
        table: &Table,
        over: &str,
        under: &str,
        metric: Metric,
    ) -> Option<f64> {
        let over = self.spread(table, over, metric)?.median;
        Some(over / self.spread(table, under, metric)?.median)
    }
}

/// A figure that is derived from a round, if the round has it.
pub(super) type Metric = fn(&Figures) -> Option<f64>;

pub(super) fn count(figures: &Figures) -> Option<f64> {
    Some(figures.count as f64)
}

/// Seconds per million.
pub(super) fn server_cpu(figures: &Figures) -> Option<f64> {
    Some(figures.server_cpu / figures.count as f64 * 1e6)
}

pub(super) fn load_cpu(figures: &Figures) -> Option<f64> {
    Some(figures.load_cpu / figures.count as f64 * 1e6)
}

/// Thousands per second.
pub(super) fn rate(figures: &Figures) -> Option<f64> {
    Some(figures.count as f64 / figures.seconds / 1e3)
}

/// How many cores the server kept busy.
pub(super) fn cores(figures: &Figures) -> Option<f64> {
    Some(figures.server_cpu / figures.seconds)
}

pub(super) fn p50(figures: &Figures) -> Option<f64> {
    figures.p50_ms
}

pub(super) fn p99(figures: &Figures) -> Option<f64> {
    figures.p99_ms
}

/// Per cent.
pub(super) fn delivered(figures: &Figures) -> Option<f64> {
    figures.delivered.map(|part| part * 100.0)
}

/// Bytes on the device per byte of post.
pub(super) fn amplification(figures: &Figures) -> Option<f64> {
    (figures.bytes > 0 && figures.written > 0)
        .then(|| figures.written as f64 / figures.bytes as f64)
}

pub(super) fn peak_mib(figures: &Figures) -> Option<f64> {
    Some(figures.peak_kib as f64 / 1024.0)
}

/// What each of the things that were opened holds.
pub(super) fn kib_each(figures: &Figures) -> Option<f64> {
    Some((figures.after_kib as f64 - figures.before_kib as f64) / figures.count as f64)
}

/// The rounds of a figure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    pub(super) fn of(rounds: &[Figures], metric: Metric) -> Option<Self> {
        let mut values = rounds.iter().map(metric).collect::<Option<Vec<f64>>>()?;
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self { median, min, max })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", digits(self.median))?;
        if self.min < self.max {
            write!(f, " [{}-{}]", digits(self.min), digits(self.max))?;
        }
        Ok(())
    }
}

/// Three digits of it, as far as that is after the point.
pub(super) fn digits(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_with_the_extremes() {
        let round = |seconds| Figures { seconds, ..Figures::default() };
        let spread = |rounds: &[f64]| {
            let rounds: Vec<_> = rounds.iter().copied().map(round).collect();
            Spread::of(&rounds, |figures| Some(figures.seconds)).unwrap().to_string()
        };
        assert_eq!(spread(&[3.0]), "3.00");
        assert_eq!(spread(&[3.0, 0.5, 120.0]), "3.00 [0.500-120]");
        assert_eq!(spread(&[4.0, 1.0, 2.0, 30.0]), "3.00 [1.00-30.0]");
    }
}
