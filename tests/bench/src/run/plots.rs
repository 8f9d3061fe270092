//! A bar for every subject, with a line from the least to the most.

use std::path::Path;

use plotters::{
    prelude::{
        ChartBuilder, Color as _, IntoDrawingArea as _, IntoFont as _, PathElement, RGBColor,
        Rectangle, SVGBackend, Text, WHITE,
    },
    style::colors::BLACK,
};

use super::{
    report::columns,
    results::{Results, Rows, Spread, digits},
};
use crate::error::Result;

const WIDTH: u32 = 760;
const ROW: u32 = 46;
const OURS: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const OTHERS: RGBColor = RGBColor(0xb8, 0xc4, 0xd0);

pub(super) fn write(out: &Path, results: &Results) -> Result<()> {
    for rows in &results.0 {
        let path = out.join(format!("{}.svg", rows.table.name));
        // plotters' errors borrow what it draws on.
        draw(&path, rows).map_err(|error| error.to_string())?;
    }
    Ok(())
}

type DrawResult = Result<(), Box<dyn std::error::Error>>;

fn draw(path: &Path, rows: &Rows) -> DrawResult {
    let columns = columns(rows.table.unit);
    let (title, metric) = columns.first().ok_or("a table without columns")?;
    let bars: Vec<(&str, Spread)> = rows
        .rows
        .iter()
        .filter_map(|(subject, rounds)| Some((*subject, Spread::of(rounds, *metric)?)))
        .collect();
    let most = bars.iter().map(|(_, spread)| spread.max).fold(f64::MIN_POSITIVE, f64::max);

    let area = SVGBackend::new(path, (WIDTH, ROW * bars.len() as u32 + 80)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(44)
        .build_cartesian_2d(0.0..most * 1.15, 0.0..bars.len() as f64)?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_y_mesh().disable_y_axis().x_max_light_lines(0).x_desc(title).draw()?;
    let font = || ("sans-serif", 13).into_font().color(&BLACK);
    for (row, (subject, spread)) in bars.iter().rev().enumerate() {
        let low = row as f64 + 0.12;
        let color = if subject.starts_with("Quartet") { OURS } else { OTHERS };
        let bar = [(0.0, low), (spread.median, low + 0.42)];
        let line = vec![(spread.min, low + 0.21), (spread.max, low + 0.21)];
        let label = format!("{subject}: {}", digits(spread.median));
        chart.draw_series([Rectangle::new(bar, color.filled())])?;
        chart.draw_series([PathElement::new(line, BLACK.stroke_width(2))])?;
        chart.draw_series([Text::new(label, (most * 0.004, low + 0.8), font())])?;
    }
    area.present()?;
    Ok(())
}
