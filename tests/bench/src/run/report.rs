//! The page of results: the goals, every table, and the machine.

use std::{fmt::Write as _, fs, path::Path};

use super::{
    goals::{Bound, goals},
    results::{
        Metric, Results, Rows, Spread, amplification, cores, delivered, digits, kib_each, load_cpu,
        p50, p99, peak_mib, rate, server_cpu,
    },
    toolchains::Built,
    works::{BEFORE, STORES},
};
use crate::error::Result;

/// The environment on which the figures depend.
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
    put_before(&mut page, results)?;
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
        "Server and load are processes on the same machine, connected over loopback, without TLS \
         unless stated.\n\
         Each figure is the median over the rounds with [least-most]. CPU time is the server's."
    )
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

/// Every subject that was also measured with the build before, as ratios.
fn put_before(page: &mut String, results: &Results) -> std::fmt::Result {
    let mut lines = String::new();
    for rows in &results.0 {
        for (before, rounds) in &rows.rows {
            let Some(now) = before.strip_suffix(BEFORE) else { continue };
            for (title, metric) in compared(rows.table.unit) {
                let Some(before) = Spread::of(rounds, metric) else { continue };
                let Some(after) = results.spread(rows.table, now, metric) else { continue };
                let ratio = digits(after.median / before.median);
                let work = rows.table.title;
                writeln!(lines, "| {work}: {now} | {title} | {before} | {after} | {ratio} |")?;
            }
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(page, "\n## The build before\n")?;
    writeln!(
        page,
        "| work | figure | before | now | now / before |\n|---|---|---|---|---|\n{lines}"
    )
}

/// What a change of the server can change.
fn compared(unit: &str) -> Vec<(String, Metric)> {
    let mut columns = columns(unit);
    columns.retain(|(title, _)| {
        ["CPU s", "1,000 ", "p99", "KiB"].iter().any(|start| title.starts_with(start))
    });
    columns
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

/// The columns of a table; a plot shows the first one.
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
