//! What more rows will need, by a power of the rows fitted to what was measured at several sizes.

use serde::Serialize;

/// `factor * rows ^ exponent`, the least squares of the logarithms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fit {
    /// The factor.
    pub factor: f64,
    /// 1 is in proportion to the rows.
    pub exponent: f64,
    /// How far the fit through all sizes but the largest misses the largest, as a share of it; none of fewer than three sizes.
    pub held_out_error: Option<f64>,
}

impl Fit {
    /// At so many rows.
    pub fn at(&self, rows: u64) -> f64 {
        self.factor * (rows as f64).powf(self.exponent)
    }
}

/// Fits pairs of rows and figure; none of fewer than two sizes.
pub fn fit(measured: &[(u64, f64)]) -> Option<Fit> {
    let mut measured: Vec<(u64, f64)> = measured
        .iter()
        .copied()
        .filter(|(rows, figure)| *rows > 0 && *figure > 0.0)
        .collect();
    measured.sort_by_key(|(rows, _)| *rows);
    let (factor, exponent) = line(&measured)?;
    let held_out_error = measured.split_last().and_then(|((rows, figure), rest)| {
        let (factor, exponent) = line(rest)?;
        Some((factor * (*rows as f64).powf(exponent) / figure - 1.0).abs())
    });
    Some(Fit {
        factor,
        exponent,
        held_out_error,
    })
}

/// The factor and exponent of the least squares.
fn line(measured: &[(u64, f64)]) -> Option<(f64, f64)> {
    let points: Vec<(f64, f64)> = measured
        .iter()
        .map(|(rows, figure)| ((*rows as f64).ln(), figure.ln()))
        .collect();
    let count = points.len() as f64;
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let width: f64 = points.iter().map(|point| (point.0 - mean_x).powi(2)).sum();
    // One size, or none, has no slope.
    if points.len() < 2 || width < 1e-9 {
        return None;
    }
    let rise: f64 = points
        .iter()
        .map(|point| (point.0 - mean_x) * (point.1 - mean_y))
        .sum();
    let exponent = rise / width;
    Some(((mean_y - exponent * mean_x).exp(), exponent))
}
