//! The page: what was reached, every table, and on what machine.

use std::{fmt::Write as _, fs, path::Path};

use super::{
    goals::{Bound, goals},
    results::{
        Metric, Results, Rows, Spread, amplification, cores, delivered, digits, kib_each, load_cpu,
        p50, p99, peak_mib, rate, server_cpu,
    },
    toolchains::Built,
    works::STORES,
};
use crate::error::Result;

/// What the figures depend on.
#[derive(Debug)]
pub(super) struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    versions: String,
    command: String,
}

impl Machine {
    pub(super) fn read(arguments: &str, built: &Built) -> Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
        let mut versions = env!("VERSIONS").to_owned();
        for version in built.versions() {
            versions.push_str(", ");
            versions.push_str(version);
        }
        Ok(Self {
            cpu: model.unwrap_or("unknown").trim_start_matches([' ', '\t', ':']).to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            versions,
            command: format!("target/release/bench {arguments}").trim().to_owned(),
        })
    }
}

pub(super) fn write(out: &Path, results: &Results, machine: &Machine) -> Result<()> {
    let mut page = String::new();
    introduce(&mut page, machine)?;
    put_goals(&mut page, results)?;
    for rows in &results.0 {
        put_table(&mut page, rows)?;
    }
    fs::write(out.join("results.md"), page)?;
    Ok(fs::write(out.join("rounds.json"), results.to_json()?)?)
}

fn introduce(page: &mut String, machine: &Machine) -> std::fmt::Result {
    let Machine { cpu, cores, kernel, versions, command } = machine;
    writeln!(page, "# Results\n")?;
    writeln!(page, "Made by:\n\n```text")?;
    let stores = if STORES.is_empty() { "" } else { " --features quartet-bench/stores" };
    writeln!(page, "cargo build --release --workspace --bin server --bin bench{stores}")?;
    writeln!(page, "{command}\n```\n")?;
    writeln!(page, "{cpu}, {cores} cores, Linux {kernel}; {versions}.\n")?;
    writeln!(
        page,
        "Server and load are processes of the same machine, over loopback, without TLS unless it \
         is named. Each figure is"
    )?;
    writeln!(page, "the median over the rounds with [least-most]. CPU time is the server's.")
}

fn put_goals(page: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(page, "\n## Goals\n")?;
    writeln!(page, "| work | figure | goal | reached | |\n|---|---|---|---|---|")?;
    for goal in goals(results) {
        let Some((reached, met)) = goal.reached.zip(goal.met()) else { continue };
        let bound = match goal.bound {
            Bound::AtLeast(bound) => format!("at least {bound}"),
            Bound::AtMost(bound) => format!("at most {bound}"),
        };
        let met = if met { "yes" } else { "no" };
        writeln!(
            page,
            "| {} | {} | {bound} | {} | {met} |",
            goal.work,
            goal.what,
            digits(reached)
        )?;
    }
    Ok(())
}

fn put_table(page: &mut String, rows: &Rows) -> std::fmt::Result {
    let table = rows.table;
    writeln!(page, "\n## {}\n\n![{}]({}.svg)\n", table.title, table.title, table.name)?;
    let mut columns = columns(table.unit);
    columns.retain(|(_, metric)| rows.rows.iter().any(|(_, it)| Spread::of(it, *metric).is_some()));
    let titles: Vec<_> = columns.iter().map(|(title, _)| title.as_str()).collect();
    writeln!(page, "| | {} |", titles.join(" | "))?;
    writeln!(page, "|---|{}", "---|".repeat(columns.len()))?;
    for (subject, rounds) in &rows.rows {
        let cell = |(_, metric): &(String, Metric)| {
            Spread::of(rounds, *metric).map_or("-".to_owned(), |spread| spread.to_string())
        };
        let cells: Vec<_> = columns.iter().map(cell).collect();
        writeln!(page, "| {subject} | {} |", cells.join(" | "))?;
    }
    Ok(())
}

/// The first one is what a plot shows.
pub(super) fn columns(unit: &str) -> Vec<(String, Metric)> {
    let column = |title: &str, metric: Metric| (title.to_owned(), metric);
    if matches!(unit, "feeds" | "connections") {
        let each = unit.trim_end_matches('s');
        return vec![
            column(&format!("KiB per {each}"), kib_each),
            column("server's peak, MiB", peak_mib),
        ];
    }
    vec![
        column(&format!("CPU s per 1 M {unit}"), server_cpu),
        column(&format!("1,000 {unit}/s"), rate),
        column("delivered, %", delivered),
        column("p50 ms", p50),
        column("p99 ms", p99),
        column("device bytes per byte", amplification),
        column("cores busy", cores),
        column("load's CPU s per 1 M", load_cpu),
        column("server's peak, MiB", peak_mib),
    ]
}
